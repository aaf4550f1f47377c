//! Request bodies: read within bounds of size, time and memory.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::{ApiState, error::ApiError};

/// The unit in which room for bodies is counted, in bytes.
pub const UNIT: usize = 1024;

/// How long a client may take to send a body.
const DEADLINE: Duration = Duration::from_secs(60);

/// What is read of a body that nobody wants, so that its client comes to read the answer.
const DRAIN_BYTES: usize = 256 * 1024 * 1024;
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// The largest body of requests that are small by nature, in bytes.
pub const SMALL: usize = 64 * 1024;

/// Bytes in [`UNIT`]s, rounded up.
pub fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

/// A body and the room that it takes.
pub struct Buffered {
    /// The body.
    pub bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// How a body says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// One JSON text.
    Json,
    /// A JSON text in each line.
    NdJson,
}

/// Reads the content type; none at all counts as JSON.
///
/// # Errors
/// 415 for anything else.
pub fn media_type(headers: &HeaderMap) -> Result<MediaType, ApiError> {
    let encoding = headers.get(header::CONTENT_ENCODING).map_or("identity", |value| value.to_str().unwrap_or_default());
    if !encoding.eq_ignore_ascii_case("identity") {
        return Err(ApiError::unsupported("send the body without a `content-encoding`"));
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(MediaType::Json) };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(MediaType::Json),
        "application/x-ndjson" | "application/ndjson" => Ok(MediaType::NdJson),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(MediaType::Json),
        _ => Err(ApiError::unsupported(
            "send `content-type: application/json`; triggers take `application/x-ndjson` too",
        )),
    }
}

/// Reads a body of JSON.
///
/// # Errors
/// 415 for another content type, and those of [`read`].
pub async fn read_json(state: &ApiState, request: Request, max: usize) -> Result<Buffered, ApiError> {
    match media_type(request.headers())? {
        MediaType::Json => read(state, request, max).await,
        MediaType::NdJson => Err(ApiError::unsupported("send `content-type: application/json` here")),
    }
}

/// Reads a body of JSON that may be left out.
///
/// # Errors
/// As [`read_json`].
pub async fn read_optional_json(state: &ApiState, request: Request, max: usize) -> Result<Option<Buffered>, ApiError> {
    if request.body().size_hint().exact() == Some(0) {
        return Ok(None);
    }
    read_json(state, request, max).await.map(Some)
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// 413 when it is larger, 408 when it is slow, 503 when too many others are being read.
pub async fn read(state: &ApiState, request: Request, max: usize) -> Result<Buffered, ApiError> {
    let too_large = || ApiError::too_large(format!("the body may have {max} bytes"));
    let mut body = request.into_body();
    let announced = body.size_hint();
    if announced.lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    // A body of unknown length gets the room that it may take.
    let room = announced.exact().and_then(|exact| usize::try_from(exact).ok()).unwrap_or(max);
    let permits = u32::try_from(units(room)).unwrap_or(u32::MAX);
    let permit = Arc::clone(&state.buffers)
        .try_acquire_many_owned(permits)
        .map_err(|_| ApiError::unavailable("too many requests are being read just now; try again"))?;

    let collect = async {
        let mut bytes = BytesMut::with_capacity(announced.exact().map_or(0, |_| room));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::malformed("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    };
    let bytes =
        tokio::time::timeout(DEADLINE, collect).await.map_err(|_| ApiError::too_slow("the body took too long"))??;
    Ok(Buffered { bytes, _room: permit })
}

/// Has what a handler leaves of its body read on, within bounds. A client that is still sending would otherwise find its connection
/// reset, and never see why.
pub fn drained(request: Request) -> Request {
    // Such a client waits to be told before it sends anything. And of what has come with the head nothing is left.
    if request.headers().contains_key(header::EXPECT) || request.body().is_end_stream() {
        return request;
    }
    request.map(|body| Body::new(DrainedOnDrop(Some(body))))
}

struct DrainedOnDrop(Option<Body>);

impl http_body::Body for DrainedOnDrop {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for DrainedOnDrop {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(DRAIN_DEADLINE, async move {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let size = frame.data_ref().map_or(0, Bytes::len);
                left = match left.checked_sub(size) {
                    Some(left) => left,
                    None => return,
                };
            }
        }));
    }
}
