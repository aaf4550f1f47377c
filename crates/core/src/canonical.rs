//! The canonical form of an event's JSON, and the md5 that tells whether two events say the same.
//!
//! The form is that of RFC 8785 (JCS) in everything but numbers: members are sorted by the UTF-16 code units of their
//! names, strings are written in one way only, and there is no white space. Numbers stay as they were written, because
//! rounding them to doubles, as the RFC does, would make different contents the same.

use std::{borrow::Cow, cmp::Ordering, fmt, ops::Range};

use md5::{Digest, Md5};
use serde::{Serialize, Serializer};

#[cfg(test)]
mod tests;

/// How many arrays and objects may lie inside each other, the outermost included.
pub const MAX_DEPTH: usize = 128;

/// Why a JSON text has no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A `\u` escape names one half of a surrogate pair without the other, so the string is not Unicode text.
    #[error("the escape at byte {at} is half of a surrogate pair, which is not a character")]
    LoneSurrogate {
        /// Where in the text the escape begins.
        at: usize,
    },
    /// There are more than [`MAX_DEPTH`] levels.
    #[error("arrays and objects are nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// The text is not JSON (RFC 8259).
    #[error("the text is not valid JSON")]
    Malformed,
}

/// The canonical form of one JSON text.
///
/// Members that share a name all stay, in the order in which they came: which of them counts is the reader's choice, so
/// none may be dropped here.
///
/// # Errors
///
/// See [`CanonicalError`].
pub fn canonical_json(json: &str) -> Result<String, CanonicalError> {
    let mut out = Vec::with_capacity(json.len());
    write_canonical(json, &mut out)?;
    // Always UTF-8: the output is whole runs of the input and whole characters.
    String::from_utf8(out).map_err(|_| CanonicalError::Malformed)
}

/// The md5 (RFC 1321) of what an event says: of its type and its payload, but not of how the payload was written.
///
/// It finds events sent twice. It is no defence against a sender who wants two events to collide.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentMd5([u8; 16]);

impl ContentMd5 {
    /// The md5 of the canonical form of `{"event":<event_type>,"payload":<payload_json>}`.
    ///
    /// # Errors
    ///
    /// When the payload has no canonical form; see [`CanonicalError`].
    pub fn of(event_type: &str, payload_json: &str) -> Result<Self, CanonicalError> {
        let mut out = Vec::with_capacity(event_type.len() + payload_json.len() + 32);
        out.extend_from_slice(br#"{"event":"#);
        write_string(event_type.as_bytes(), &mut out);
        out.extend_from_slice(br#","payload":"#);
        write_canonical(payload_json, &mut out)?;
        out.push(b'}');
        Ok(Self(Md5::digest(&out).into()))
    }

    /// The md5 of this digest and of more.
    #[must_use]
    pub fn with(self, more: &[u8]) -> Self {
        Self(Md5::new_with_prefix(self.0).chain_update(more).finalize().into())
    }

    /// A digest that was kept as bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The digest as bytes, for keeping.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for ContentMd5 {
    /// 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ContentMd5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentMd5({self})")
    }
}

impl Serialize for ContentMd5 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn write_canonical(json: &str, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let mut scanner = Scanner { json: json.as_bytes(), at: 0, out, members: Vec::new(), sorted: Vec::new() };
    scanner.value(0)?;
    scanner.skip_white_space();
    if scanner.peek().is_none() { Ok(()) } else { Err(CanonicalError::Malformed) }
}

/// Reads JSON once and writes its canonical form as it goes. An object whose members arrive out of order is put in
/// order where it was written, when its end is reached.
struct Scanner<'json, 'out> {
    json: &'json [u8],
    at: usize,
    out: &'out mut Vec<u8>,
    /// The members of all objects that are still open, the innermost object's last.
    members: Vec<Member<'json>>,
    /// Room for putting an object's members in order.
    sorted: Vec<u8>,
}

struct Member<'json> {
    /// Without quotes and escapes.
    name: Cow<'json, [u8]>,
    /// Where `"name":value` stands in the output.
    written: Range<usize>,
}

impl<'json> Scanner<'json, '_> {
    /// Copies the next value, which lies inside `depth` arrays and objects.
    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.skip_white_space();
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(CanonicalError::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.copy(b'{')?;
        self.skip_white_space();
        if self.peek() == Some(b'}') {
            return self.copy(b'}');
        }
        let (first, body) = (self.members.len(), self.out.len());
        loop {
            self.skip_white_space();
            let start = self.out.len();
            let name = self.string()?;
            self.skip_white_space();
            self.copy(b':')?;
            self.value(depth)?;
            self.members.push(Member { name, written: start..self.out.len() });
            self.skip_white_space();
            if self.peek() != Some(b',') {
                break;
            }
            self.copy(b',')?;
        }
        self.sort_members(first, body);
        self.copy(b'}')
    }

    /// Puts the members from `first` on in order; their text begins at `body` in the output and ends with it.
    fn sort_members(&mut self, first: usize, body: usize) {
        let members = &mut self.members[first..];
        if !members.is_sorted_by(|a, b| utf16_order(&a.name, &b.name).is_le()) {
            members.sort_by(|a, b| utf16_order(&a.name, &b.name));
            self.sorted.clear();
            for member in members {
                if !self.sorted.is_empty() {
                    self.sorted.push(b',');
                }
                self.sorted.extend_from_slice(&self.out[member.written.clone()]);
            }
            self.out.truncate(body);
            self.out.extend_from_slice(&self.sorted);
        }
        self.members.truncate(first);
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.copy(b'[')?;
        self.skip_white_space();
        if self.peek() == Some(b']') {
            return self.copy(b']');
        }
        loop {
            self.value(depth)?;
            self.skip_white_space();
            if self.peek() != Some(b',') {
                return self.copy(b']');
            }
            self.copy(b',')?;
        }
    }

    /// Copies a string and returns its text, without quotes and escapes.
    fn string(&mut self) -> Result<Cow<'json, [u8]>, CanonicalError> {
        let open = self.at;
        self.expect(b'"')?;
        let plain = self.plain_text();
        if self.peek() == Some(b'"') {
            self.at += 1;
            self.out.extend_from_slice(&self.json[open..self.at]);
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_vec();
        while self.peek() != Some(b'"') {
            self.escape(&mut text)?;
            text.extend_from_slice(self.plain_text());
        }
        self.at += 1;
        write_string(&text, self.out);
        Ok(Cow::Owned(text))
    }

    /// The text up to the next byte that has a meaning of its own inside a string.
    fn plain_text(&mut self) -> &'json [u8] {
        let rest = &self.json[self.at..];
        let length = rest.iter().position(|byte| is_escaped(*byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Reads one escape (RFC 8259, section 7) and appends what it stands for.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), CanonicalError> {
        let at = self.at;
        self.expect(b'\\')?;
        let escape = self.peek();
        self.at += 1;
        text.push(match escape {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let character = self.unicode_escape()?.ok_or(CanonicalError::LoneSurrogate { at })?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(CanonicalError::Malformed),
        });
        Ok(())
    }

    /// Reads what follows `\u`, and the second half of a surrogate pair if there is one. `None` for a lone half.
    fn unicode_escape(&mut self) -> Result<Option<char>, CanonicalError> {
        let unit = self.hex4()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return Ok(char::from_u32(unit.into()));
        }
        if !self.json[self.at..].starts_with(br"\u") {
            return Ok(None);
        }
        self.at += 2;
        let low = self.hex4()?;
        Ok(char::decode_utf16([unit, low]).next().and_then(Result::ok))
    }

    fn hex4(&mut self) -> Result<u16, CanonicalError> {
        let digits = self.json.get(self.at..self.at + 4).ok_or(CanonicalError::Malformed)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| {
            let value = char::from(*digit).to_digit(16).and_then(|value| u16::try_from(value).ok());
            value.map(|value| unit << 4 | value).ok_or(CanonicalError::Malformed)
        })
    }

    fn number(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        self.skip_one_of(b"-");
        if !self.skip_one_of(b"0") {
            self.digits()?;
        }
        if self.skip_one_of(b".") {
            self.digits()?;
        }
        if self.skip_one_of(b"eE") {
            self.skip_one_of(b"+-");
            self.digits()?;
        }
        self.out.extend_from_slice(&self.json[start..self.at]);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(CanonicalError::Malformed) }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), CanonicalError> {
        if !self.json[self.at..].starts_with(word) {
            return Err(CanonicalError::Malformed);
        }
        self.at += word.len();
        self.out.extend_from_slice(word);
        Ok(())
    }

    fn skip_white_space(&mut self) {
        while self.skip_one_of(b" \t\n\r") {}
    }

    fn skip_one_of(&mut self, bytes: &[u8]) -> bool {
        let found = self.peek().is_some_and(|byte| bytes.contains(&byte));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), CanonicalError> {
        if self.skip_one_of(&[byte]) { Ok(()) } else { Err(CanonicalError::Malformed) }
    }

    fn copy(&mut self, byte: u8) -> Result<(), CanonicalError> {
        self.expect(byte)?;
        self.out.push(byte);
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }
}

/// Whether a byte of a string must be escaped in JSON; the rest stands for itself.
const fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// Writes a string as RFC 8785, section 3.2.2.2 wants it.
fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for run in text.split_inclusive(|byte| is_escaped(*byte)) {
        match run.split_last() {
            Some((last, plain)) if is_escaped(*last) => {
                out.extend_from_slice(plain);
                write_escape(*last, out);
            }
            _ => out.extend_from_slice(run),
        }
    }
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            let low = byte & 0x0f;
            let digit = if low < 10 { b'0' + low } else { b'a' + low - 10 };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), digit]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// Compares two UTF-8 texts by their UTF-16 code units.
///
/// The two orders agree except that surrogates (`d800..`), which UTF-8 writes with a lead byte from `f0`, come before
/// `e000..=ffff`, with the lead bytes `ee` and `ef`. Texts that differ first inside a character share its lead byte.
fn utf16_order(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: &u8| if matches!(byte, 0xee | 0xef) { byte + 0x10 } else { *byte };
    a.iter().map(rank).cmp(b.iter().map(rank))
}
