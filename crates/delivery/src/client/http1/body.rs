//! The bodies of answers: where they end (RFC 9112, section 6.3), and chunks (section 7.1).

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode, header};

use super::Http1Error;

/// The most bytes of the line before a chunk, and of the trailers.
const LINE_MAX: usize = 16 * 1024;
const TRAILERS_MAX: usize = 16 * 1024;

/// What is left of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing.
    Ended,
    /// So many bytes.
    Length(u64),
    /// Everything up to the connection's end.
    UntilClosed,
    /// What follows of one in chunks.
    Chunked(Part),
}

/// A part of a body in chunks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The line that says how long the next one is.
    Line,
    /// So many bytes of one.
    Data(u64),
    /// The end of its line.
    DataEnd,
    /// What comes behind the last one, of which so many bytes have come.
    Trailers(usize),
}

impl Body {
    /// That of an answer to a request of this method.
    pub(super) fn of(method: &Method, head: &Response<()>) -> Result<Self, Http1Error> {
        let (status, headers) = (head.status(), head.headers());
        let has_none = method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_none {
            return Ok(Self::Ended);
        }
        if headers.contains_key(header::TRANSFER_ENCODING) {
            return Ok(if is_chunked(headers) { Self::Chunked(Part::Line) } else { Self::UntilClosed });
        }
        Ok(match content_length(headers)? {
            None => Self::UntilClosed,
            Some(0) => Self::Ended,
            Some(length) => Self::Length(length),
        })
    }

    /// Whether the connection's end is the only one that it has.
    pub(super) fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClosed)
    }

    /// The connection has ended.
    pub(super) fn close(&mut self) -> Result<(), Http1Error> {
        match self {
            Self::Ended => Ok(()),
            Self::UntilClosed => {
                *self = Self::Ended;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(Http1Error::Incomplete),
        }
    }

    /// Takes the next piece out of what has come. Without one, more must come, unless the body has ended.
    pub(super) fn take(&mut self, unread: &mut BytesMut) -> Result<Option<Bytes>, Http1Error> {
        match self {
            Self::Ended => Ok(None),
            Self::UntilClosed => Ok(up_to(unread, u64::MAX)),
            Self::Length(left) => {
                let piece = up_to(unread, *left);
                *left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                if *left == 0 {
                    *self = Self::Ended;
                }
                Ok(piece)
            }
            Self::Chunked(part) => {
                let piece = part.take(unread)?;
                if piece.is_none() && matches!(part, Part::Trailers(_)) && end_trailers(part, unread)? {
                    *self = Self::Ended;
                }
                Ok(piece)
            }
        }
    }
}

impl Part {
    /// Takes the next piece of a chunk, and goes on from part to part. It stops at the trailers.
    fn take(&mut self, unread: &mut BytesMut) -> Result<Option<Bytes>, Http1Error> {
        loop {
            match self {
                Self::Line => match httparse::parse_chunk_size(unread) {
                    Err(_) => return Err(Http1Error::malformed("a chunk's length is none")),
                    Ok(httparse::Status::Partial) if unread.len() > LINE_MAX => {
                        return Err(Http1Error::Malformed(format!(
                            "the line of a chunk is longer than {LINE_MAX} bytes"
                        )));
                    }
                    Ok(httparse::Status::Partial) => return Ok(None),
                    Ok(httparse::Status::Complete((line, length))) => {
                        unread.advance(line);
                        *self = if length == 0 { Self::Trailers(0) } else { Self::Data(length) };
                    }
                },
                Self::Data(left) => {
                    let piece = up_to(unread, *left);
                    *left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(piece);
                }
                Self::DataEnd if unread.len() < 2 => return Ok(None),
                Self::DataEnd if unread.starts_with(b"\r\n") => {
                    unread.advance(2);
                    *self = Self::Line;
                }
                Self::DataEnd => return Err(Http1Error::malformed("a chunk is longer than it says")),
                Self::Trailers(_) => return Ok(None),
            }
        }
    }
}

/// Takes trailers, which mean nothing here, line by line; answers whether the empty line came that ends them.
fn end_trailers(part: &mut Part, unread: &mut BytesMut) -> Result<bool, Http1Error> {
    let Part::Trailers(taken) = part else { return Ok(false) };
    while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
        let line = unread.split_to(end + 1);
        *taken += line.len();
        if matches!(&*line, b"\r\n" | b"\n") {
            return Ok(true);
        }
    }
    if *taken + unread.len() > TRAILERS_MAX {
        return Err(Http1Error::Malformed(format!("its trailers are longer than {TRAILERS_MAX} bytes")));
    }
    Ok(false)
}

/// What has come, up to so many bytes; nothing if nothing has.
fn up_to(unread: &mut BytesMut, most: u64) -> Option<Bytes> {
    let length = unread.len().min(usize::try_from(most).unwrap_or(usize::MAX));
    (length > 0).then(|| unread.split_to(length).freeze())
}

/// Whether the last coding is that in chunks.
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(header::TRANSFER_ENCODING).iter().next_back();
    let coding = last.and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next());
    coding.is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
}

/// The length that all values agree on.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Http1Error> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for text in value.as_bytes().split(|byte| *byte == b',') {
            let text = text.trim_ascii();
            let digits = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let found: Option<u64> = digits.and_then(|digits| digits.parse().ok());
            if found.is_none() || length.is_some_and(|length| Some(length) != found) {
                return Err(Http1Error::malformed("its Content-Length is no length"));
            }
            length = found;
        }
    }
    Ok(length)
}
