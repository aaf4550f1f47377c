//! A delivery's attempts as they are kept: a line of JSON each, in one text, so that they are written with the delivery's own
//! row and read with it.

use hookcast_core::{
    clock::Timestamp,
    delivery::{Answer, Attempt, AttemptResult, Failure},
};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    number: u32,
    time: i64,
    latency_ms: u32,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none", default, borrow)]
    failure: Option<&'a str>,
    detail: std::borrow::Cow<'a, str>,
}

/// The line of an attempt.
pub(super) fn write(attempt: &Attempt) -> Result<String, StoreError> {
    let (status, failure, detail) = match &attempt.result {
        AttemptResult::Answered(answer) => (Some(answer.status), None, &answer.excerpt),
        AttemptResult::Unanswered { failure, detail } => (None, Some(failure.as_str()), detail),
    };
    let (time, detail) = (attempt.time.as_millis(), detail.into());
    let line = Line { number: attempt.number, time, latency_ms: attempt.latency_ms, status, failure, detail };
    let mut text = serde_json::to_string(&line).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    text.push('\n');
    Ok(text)
}

/// All attempts of a log, the first one first.
pub(super) fn read(log: &str) -> Result<Vec<Attempt>, StoreError> {
    log.lines().map(read_line).collect()
}

fn read_line(text: &str) -> Result<Attempt, StoreError> {
    let corrupt = |reason: String| StoreError::Corrupt(format!("an attempt cannot be read: {reason}"));
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| corrupt(error.to_string()))?;
    let detail = line.detail.into_owned();
    let result = match (line.status, line.failure) {
        (Some(status), _) => AttemptResult::Answered(Answer { status, excerpt: detail, retry_after: None }),
        (None, Some(name)) => {
            let failure = Failure::ALL.into_iter().find(|failure| failure.as_str() == name);
            AttemptResult::Unanswered {
                failure: failure.ok_or_else(|| corrupt(format!("unknown failure `{name}`")))?,
                detail,
            }
        }
        (None, None) => return Err(corrupt("neither an answer nor a failure".into())),
    };
    Ok(Attempt { number: line.number, time: Timestamp::from_millis(line.time), latency_ms: line.latency_ms, result })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_read_back_whatever_the_callback_said() {
        let answered = |status, excerpt: &str| {
            AttemptResult::Answered(Answer { status, excerpt: excerpt.into(), retry_after: None })
        };
        let results = [
            answered(200, "ok"),
            answered(500, "two\nlines, a \"quote\", a \0 and ü"),
            AttemptResult::Unanswered { failure: Failure::Timeout, detail: "no answer\u{2028}at all".into() },
        ];
        let attempts: Vec<_> = (1..)
            .zip(results)
            .map(|(number, result)| Attempt { number, time: Timestamp::from_millis(77), latency_ms: 3, result })
            .collect();
        let log: String = attempts.iter().map(|attempt| write(attempt).unwrap()).collect();
        assert!(!log.contains('\0'), "PostgreSQL's text takes none");
        assert_eq!(read(&log).unwrap(), attempts);
        assert!(read("nonsense").is_err());
    }
}
