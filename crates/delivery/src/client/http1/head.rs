//! The heads of answers.

use std::mem::MaybeUninit;

use bytes::{Buf as _, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};

use super::{HEAD_MAX, Http1Error};

/// The most headers of an answer.
const HEADERS_MAX: usize = 100;

/// Takes a head out of what has come, if it is there as a whole. Of what is not, `seen` bytes are known to have no end.
pub(super) fn read(unread: &mut BytesMut, seen: &mut usize) -> Result<Option<Response<()>>, Http1Error> {
    if unread.is_empty() || *seen > 0 && !has_end(&unread[seen.saturating_sub(3)..]) {
        *seen = unread.len();
        return bounded(unread);
    }
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, unread, &mut headers)
        .map_err(|error| Http1Error::malformed(&error))?;
    let httparse::Status::Complete(length) = status else {
        *seen = unread.len();
        return bounded(unread);
    };
    if length > HEAD_MAX {
        return Err(too_long());
    }
    let mut response = Response::new(());
    let code = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    *response.status_mut() = code.ok_or_else(|| Http1Error::malformed("its status is none"))?;
    *response.version_mut() = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *response.headers_mut() = headers_of(parsed.headers)?;
    unread.advance(length);
    *seen = 0;
    Ok(Some(response))
}

fn headers_of(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Http1Error> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|error| Http1Error::malformed(&error))?;
        headers.append(name, HeaderValue::from_bytes(header.value).map_err(|error| Http1Error::malformed(&error))?);
    }
    Ok(headers)
}

fn bounded(unread: &[u8]) -> Result<Option<Response<()>>, Http1Error> {
    if unread.len() > HEAD_MAX { Err(too_long()) } else { Ok(None) }
}

fn too_long() -> Http1Error {
    Http1Error::Malformed(format!("its head is longer than {HEAD_MAX} bytes"))
}

/// Whether a head may end here: at an empty line.
fn has_end(text: &[u8]) -> bool {
    text.windows(2).any(|two| two == b"\n\n") || text.windows(3).any(|three| three == b"\n\r\n")
}

/// Whether more requests may follow (RFC 9112, section 9.3).
pub(super) fn keeps_connection(head: &Response<()>) -> bool {
    let says = |wanted: &str| {
        let options = head.headers().get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        options.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case(wanted))
    };
    // RFC 9112, section 6.1: who tells two lengths may mean either.
    let has_two_lengths =
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().all(|name| head.headers().contains_key(name));
    let keeps_by_itself = head.version() != Version::HTTP_10 || says("keep-alive");
    keeps_by_itself && !says("close") && !has_two_lengths
}
