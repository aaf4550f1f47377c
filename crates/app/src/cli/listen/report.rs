//! What `hookcast listen` writes about each delivery, and in the end.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    io::{self, Write},
};

use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    json_text::{compact, lay_out, shown},
    paint::{BAD, FAINT, GOOD, NOTABLE, Paint, STRONG},
    repeats::{Repeats, ordinal},
};
use crate::receiver::{Received, Verdict};

/// The most lines that are shown of a payload.
const PAYLOAD_LINES: usize = 40;

/// So much of a body that is not JSON is looked at, in bytes.
const TEXT_MAX: usize = 16 * 1024;

/// How a delivery is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line and the payload.
    Blocks,
    /// A line.
    Lines,
    /// A JSON object in one line.
    Json,
}

/// Writes down what arrives, and counts it.
pub struct Reporter<W> {
    out: W,
    style: Style,
    paint: Paint,
    repeats: Repeats,
    totals: Totals,
}

/// What was answered.
pub struct Answered<'a> {
    /// The status.
    pub status: StatusCode,
    /// Why it is that one, if there is more to say.
    pub reason: Option<&'a str>,
}

impl<W: Write> Reporter<W> {
    /// One that has seen nothing so far.
    pub fn new(out: W, style: Style, paint: Paint) -> Self {
        Self { out, style, paint, repeats: Repeats::default(), totals: Totals::default() }
    }

    /// Writes a delivery down.
    ///
    /// # Errors
    /// Nobody reads what is written.
    pub fn report(&mut self, received: &Received, answered: &Answered<'_>) -> io::Result<()> {
        let times = received.id().map_or(1, |id| self.repeats.count(id));
        self.totals.count(received.verdict, answered.status, times);
        let envelope = Envelope::of(&received.body);
        let mut text = match self.style {
            Style::Json => serde_json::to_string(&Record::new(received, &envelope, answered))?,
            Style::Lines | Style::Blocks => self.line(received, &envelope, answered, times),
        };
        text.push('\n');
        if self.style == Style::Blocks {
            for line in payload_lines(&received.body, &envelope) {
                text.push_str("    ");
                text.push_str(&line);
                text.push('\n');
            }
            text.push('\n');
        }
        // In one piece, so that a reader gets it as a whole.
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// What it was in all.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    fn line(&self, received: &Received, envelope: &Envelope<'_>, answered: &Answered<'_>, times: u64) -> String {
        let paint = self.paint;
        let time = received.time.to_string();
        let mut parts = vec![paint.paint(FAINT, time.split_once('T').map_or(&*time, |(_, time)| time))];
        if received.method != Method::POST || received.uri.path() != "/" {
            parts.push(format!("{} {}", received.method, received.uri.path()));
        }
        let event = envelope.event.as_deref().unwrap_or("(no event type)");
        parts.push(paint.paint(STRONG, event.chars().map(shown).collect::<String>()));
        parts.push(received.id().unwrap_or("(no id)").chars().map(shown).collect());
        parts.push(match received.verdict {
            Verdict::Verified => paint.paint(GOOD, "verified ✓"),
            Verdict::WrongSignature => paint.paint(BAD, "WRONG SIGNATURE"),
            Verdict::WrongTime => paint.paint(BAD, "WRONG TIME (signed more than 5 minutes from now)"),
            Verdict::Unsigned => paint.paint(BAD, "NOT SIGNED"),
            Verdict::NoSecret => paint.paint(NOTABLE, "not verified (no secret given)"),
        });
        let style = if answered.status.is_success() { GOOD } else { BAD };
        parts.push(format!("→ {}", paint.paint(style, answered.status.as_u16())));
        if let Some(reason) = answered.reason {
            parts.push(format!("({reason})"));
        }
        if times > 1 {
            parts.push(paint.paint(NOTABLE, format!("(again: {} time)", ordinal(times))));
        }
        parts.join("  ")
    }
}

/// Counts of what arrived.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    deliveries: u64,
    repeated: u64,
    verified: u64,
    unproven: u64,
    refused: u64,
}

impl Totals {
    fn count(&mut self, verdict: Verdict, status: StatusCode, times: u64) {
        self.deliveries += 1;
        self.repeated += u64::from(times > 1);
        self.verified += u64::from(verdict == Verdict::Verified);
        self.unproven += u64::from(!matches!(verdict, Verdict::Verified | Verdict::NoSecret));
        self.refused += u64::from(!status.is_success());
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.deliveries == 1 { "delivery" } else { "deliveries" };
        write!(f, "{} {plural}, {} verified", self.deliveries, self.verified)?;
        for (count, what) in [
            (self.unproven, "without a right signature"),
            (self.repeated, "repeated"),
            (self.refused, "answered with a failure"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// The members of a body that are shown apart; all are missing if it is no envelope.
#[derive(Default, Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn of(body: &'a [u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// The payload for people: of JSON that is no envelope all, of anything else what can be read.
fn payload_lines(body: &[u8], envelope: &Envelope<'_>) -> Vec<String> {
    let json = envelope.payload.or_else(|| serde_json::from_slice(body).ok());
    let (mut lines, is_all) = match json {
        Some(json) => lay_out(json.get(), PAYLOAD_LINES),
        None => {
            let beginning = String::from_utf8_lossy(&body[..body.len().min(TEXT_MAX)]);
            let mut lines: Vec<_> = beginning.lines().map(|line| line.chars().map(shown).collect()).collect();
            let is_all = lines.len() <= PAYLOAD_LINES && body.len() <= TEXT_MAX;
            lines.truncate(PAYLOAD_LINES);
            (lines, is_all)
        }
    };
    if !is_all {
        lines.push(format!("… ({} bytes in all)", body.len()));
    }
    lines
}

/// A delivery as `--json` writes it.
#[derive(Serialize)]
struct Record<'a> {
    id: Option<&'a str>,
    event: Option<&'a str>,
    time: hookcast_core::clock::Timestamp,
    method: &'a str,
    path: &'a str,
    /// `null`: there was no secret to verify with.
    verified: Option<bool>,
    verdict: Verdict,
    status: u16,
    headers: BTreeMap<&'a str, String>,
    body: Body<'a>,
}

/// A JSON body as it is, anything else as text.
#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Json(Box<RawValue>),
    Text(Cow<'a, str>),
}

impl<'a> Record<'a> {
    fn new(received: &'a Received, envelope: &'a Envelope<'_>, answered: &Answered<'_>) -> Self {
        let body = serde_json::from_slice::<&RawValue>(&received.body)
            .and_then(|json| RawValue::from_string(compact(json.get())));
        Self {
            id: received.id(),
            event: envelope.event.as_deref(),
            time: received.time,
            method: received.method.as_str(),
            path: received.uri.path_and_query().map_or("/", |path| path.as_str()),
            verified: (received.verdict != Verdict::NoSecret).then_some(received.verdict == Verdict::Verified),
            verdict: received.verdict,
            status: answered.status.as_u16(),
            headers: joined(&received.headers),
            body: body.map_or_else(|_| Body::Text(String::from_utf8_lossy(&received.body)), Body::Json),
        }
    }
}

/// Headers with all values of a name in one, as RFC 9110, section 5.2 has it.
fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined = BTreeMap::<_, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.to_string());
    }
    joined
}

#[cfg(test)]
mod tests {
    use hookcast_core::clock::Timestamp;
    use tokio::time::Instant;

    use super::*;

    fn received(body: &'static str, verdict: Verdict) -> Received {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.append("x-many", "a".parse().unwrap());
        headers.append("x-many", "b".parse().unwrap());
        Received {
            time: Timestamp::from_millis(1_769_860_800_012),
            instant: Instant::now(),
            method: Method::POST,
            uri: "/".parse().unwrap(),
            headers,
            body: body.into(),
            verdict,
        }
    }

    fn reported(style: Style, all: &[(Received, u16)]) -> (String, Totals) {
        let mut reporter = Reporter::new(Vec::new(), style, Paint::plain());
        for (received, status) in all {
            let status = StatusCode::from_u16(*status).unwrap();
            reporter.report(received, &Answered { status, reason: None }).unwrap();
        }
        (String::from_utf8(reporter.out).unwrap(), reporter.totals)
    }

    const ENVELOPE: &str = "{\"id\":\"evt_1\",\n\"event\":\"relation_added\", \"payload\" : {\"n\": 1.0}}";

    #[test]
    fn a_line_says_what_came_and_that_it_came_again() {
        let all = [(received(ENVELOPE, Verdict::Verified), 500), (received(ENVELOPE, Verdict::Verified), 200)];
        let (text, totals) = reported(Style::Lines, &all);
        assert_eq!(
            text,
            "12:00:00.012Z  relation_added  evt_1  verified ✓  → 500\n\
             12:00:00.012Z  relation_added  evt_1  verified ✓  → 200  (again: 2nd time)\n"
        );
        assert_eq!(totals.to_string(), "2 deliveries, 2 verified, 1 repeated, 1 answered with a failure");
    }

    #[test]
    fn a_block_shows_the_payload_or_what_there_is_instead() {
        let block = |body| reported(Style::Blocks, &[(received(body, Verdict::NoSecret), 200)]).0;
        assert!(block(ENVELOPE).ends_with("\n    {\n      \"n\": 1.0\n    }\n\n"), "{}", block(ENVELOPE));
        assert!(block("[1]").ends_with("\n    [\n      1\n    ]\n\n"));
        assert!(block("some\x1b[31m\ntext").ends_with("\n    some\u{fffd}[31m\n    text\n\n"));
        assert!(block("").ends_with("→ 200\n\n"));
    }

    #[test]
    fn names_cannot_steer_a_terminal() {
        let (text, _) = reported(Style::Lines, &[(received(r#"{"event":"\u001b[31m"}"#, Verdict::Verified), 200)]);
        assert!(!text.contains('\x1b'), "{text:?}");
    }

    #[test]
    fn json_is_one_object_in_a_line() {
        let all = [
            (received(ENVELOPE, Verdict::NoSecret), 200),
            (received("text", Verdict::WrongSignature), 503),
            (received("", Verdict::Verified), 200),
        ];
        let (text, totals) = reported(Style::Json, &all);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["event"], "relation_added");
        assert_eq!(lines[0]["verified"], serde_json::Value::Null);
        assert_eq!(lines[0]["body"]["payload"]["n"], 1.0);
        assert_eq!(lines[0]["headers"]["x-many"], "a, b");
        assert_eq!(lines[0]["time"], "2026-01-31T12:00:00.012Z");
        assert!(text.contains(r#""payload":{"n":1.0}"#));
        assert_eq!((&lines[1]["verified"], &lines[1]["verdict"]), (&false.into(), &"wrong_signature".into()));
        assert_eq!((&lines[1]["body"], &lines[1]["status"]), (&"text".into(), &503.into()));
        assert_eq!((&lines[2]["verified"], &lines[2]["body"]), (&true.into(), &"".into()));
        assert!(totals.to_string().contains("1 without a right signature"));
    }
}
