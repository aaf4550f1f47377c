//! Answers, read with a bound: a receiver decides what it sends, not how much of it is kept.

use hookcast_core::{clock::Clock, delivery::Answer};
use http::{HeaderMap, Response};

use super::{http1::Http1Error, pool::Lent, retry_after::retry_after};

/// How much of a body is read, in bytes. After that its connection is dropped: what counts is the status.
const BODY_MAX: usize = 64 * 1024;

/// How much of a body is kept, in bytes.
const EXCERPT_MAX: usize = 1024;

/// How much is collected for the excerpt: so much more that a character which begins in it is whole.
const COLLECT_MAX: usize = EXCERPT_MAX + 3;

/// An answer with its headers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What is kept of it.
    pub answer: Answer,
    /// Its headers, as they came.
    pub headers: HeaderMap,
}

/// Reads an answer: its status, its beginning, when it wants to be asked again, and its headers.
///
/// # Errors
///
/// The connection breaks before the body's end or bound, or what comes is not HTTP.
pub(super) async fn read(
    response: Response<()>,
    connection: &mut Lent<'_>,
    clock: &dyn Clock,
) -> Result<Reply, Http1Error> {
    let (head, ()) = response.into_parts();
    let mut beginning = Vec::new();
    let mut length = 0;
    while let Some(data) = connection.data().await? {
        length += data.len();
        let collected = data.len().min(COLLECT_MAX - beginning.len());
        beginning.extend_from_slice(&data[..collected]);
        if length > BODY_MAX {
            break;
        }
    }
    let status = head.status.as_u16();
    let answer = Answer { status, excerpt: excerpt(&beginning), retry_after: retry_after(&head.headers, clock) };
    Ok(Reply { answer, headers: head.headers })
}

/// The text that is kept: at most [`EXCERPT_MAX`] bytes, and safe to show. Replaced is what is not UTF-8, and what
/// [`visible`] replaces.
fn excerpt(beginning: &[u8]) -> String {
    let mut text = String::with_capacity(beginning.len());
    for chunk in beginning.utf8_chunks() {
        text.extend(chunk.valid().chars().map(visible));
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text.truncate(text.floor_char_boundary(EXCERPT_MAX));
    text
}

/// A receiver's character, or its replacement if it is one that could deceive who reads it: a control character other than those
/// of lines and tabs, one that turns the direction of the text around it, or one that only some take for the end of a line.
pub(crate) fn visible(character: char) -> char {
    match character {
        '\n' | '\t' => character,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_text_that_is_safe_to_show() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt("größer\n\tals\0\x1b[31m\u{9b}".as_bytes()), "größer\n\tals\u{fffd}\u{fffd}[31m\u{fffd}");
        assert_eq!(excerpt("a\u{202e}b\u{2066}c\u{2028}d\r".as_bytes()), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}");
        assert_eq!(excerpt(b"a\xffb\xc3"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn an_excerpt_ends_between_characters_and_never_exceeds_its_bound() {
        let long = format!("{}{}", "x".repeat(EXCERPT_MAX - 1), "€€");
        assert_eq!(excerpt(&long.as_bytes()[..COLLECT_MAX]), "x".repeat(EXCERPT_MAX - 1));
        let exact = format!("{}€€", "x".repeat(EXCERPT_MAX - 3));
        assert_eq!(excerpt(&exact.as_bytes()[..COLLECT_MAX]), format!("{}€", "x".repeat(EXCERPT_MAX - 3)));
        assert_eq!(excerpt(&[0xff; COLLECT_MAX]).len(), EXCERPT_MAX / 3 * 3);
    }
}
