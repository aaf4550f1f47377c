//! How many requests may be made with one token: a bucket for each, which fills up evenly.
//!
//! The headers are those of the IETF's draft "RateLimit header fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10), sections 3
//! and 4.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use super::{ApiState, error::ApiError};

static POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
static LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The window of the quotas.
const WINDOW: Duration = Duration::from_secs(60);

/// So many buckets are kept before those that have filled up again, which are like new ones, are thrown away.
const BUCKETS: usize = 10_000;

/// The buckets of one quota.
pub struct Quota {
    /// Its name in headers.
    name: &'static str,
    /// Requests in a window; 0 for no limit.
    requests: u32,
    buckets: Mutex<HashMap<[u8; 32], Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    /// Requests that may be made at once.
    left: f64,
    at: Instant,
}

/// What is left of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The request may be made: so many more may be at once, and after so many seconds all of them.
    Go { left: u32, full_in: u64 },
    /// Not before so many seconds.
    Wait(u64),
}

impl Quota {
    /// A quota of so many requests a minute for each token; 0 for no limit.
    pub fn new(name: &'static str, requests: u32) -> Self {
        Self { name, requests, buckets: Mutex::default() }
    }

    fn take(&self, whose: [u8; 32], now: Instant) -> Verdict {
        let most = f64::from(self.requests);
        let rate = most / WINDOW.as_secs_f64();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |bucket: &Bucket| (bucket.left + now.duration_since(bucket.at).as_secs_f64() * rate).min(most);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&whose) {
            buckets.retain(|_, bucket| filled(bucket) < most);
        }
        let bucket = buckets.entry(whose).or_insert(Bucket { left: most, at: now });
        *bucket = Bucket { left: filled(bucket), at: now };
        if bucket.left < 1.0 {
            return Verdict::Wait(seconds((1.0 - bucket.left) / rate).max(1));
        }
        bucket.left -= 1.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and a u32")]
        let left = bucket.left as u32;
        Verdict::Go { left, full_in: seconds((most - bucket.left) / rate) }
    }

    fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.requests, WINDOW.as_secs())
    }
}

/// Whole seconds, rounded up.
fn seconds(seconds: f64) -> u64 {
    Duration::try_from_secs_f64(seconds.ceil().max(0.0)).map_or(u64::MAX, |duration| duration.as_secs())
}

/// Whose request it is: whoever has this token. Those without one share a bucket.
fn whose(headers: &HeaderMap) -> [u8; 32] {
    Sha256::digest(headers.get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes)).into()
}

/// Refuses requests beyond the quota of their token, and tells all others what is left of it. Events have a quota of their own; what
/// a server says of itself has none.
pub async fn limit<F: Future<Output = Response>>(
    state: &ApiState,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let path = request.uri().path();
    let quota = if path.trim_end_matches('/') == "/webhooks/trigger" { &state.trigger_quota } else { &state.quota };
    if quota.requests == 0 || !path.starts_with("/webhooks/") {
        return answer(request).await;
    }
    let (mut response, left, after) = match quota.take(whose(request.headers()), Instant::now()) {
        Verdict::Go { left, full_in } => (answer(request).await, left, full_in),
        Verdict::Wait(after) => {
            let problem =
                format!("{} requests a minute may be made with one token: wait for {after} s", quota.requests);
            let mut response = ApiError::too_many(problem).into_response();
            response.headers_mut().insert(header::RETRY_AFTER, after.into());
            (response, 0, after)
        }
    };
    let limit = format!("\"{}\";r={left};t={after}", quota.name);
    for (name, value) in [(&POLICY, quota.policy()), (&LIMIT, limit)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name.clone(), value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_and_fills_up_evenly() {
        let quota = Quota::new("requests", 60);
        let now = Instant::now();
        let take = |seconds: f64| quota.take([1; 32], now + Duration::from_secs_f64(seconds));
        assert_eq!(take(0.0), Verdict::Go { left: 59, full_in: 1 });
        for left in (0..59).rev() {
            assert!(matches!(take(0.0), Verdict::Go { left: found, .. } if found == left));
        }
        assert_eq!(take(0.0), Verdict::Wait(1));
        assert_eq!(quota.take([2; 32], now), Verdict::Go { left: 59, full_in: 1 }, "another token has its own");
        assert_eq!(take(0.5), Verdict::Wait(1));
        assert_eq!(take(3.0), Verdict::Go { left: 2, full_in: 58 });
        assert_eq!(take(1_000.0), Verdict::Go { left: 59, full_in: 1 });
    }

    #[test]
    fn what_is_rare_is_waited_for_long_enough() {
        let quota = Quota::new("requests", 1);
        let now = Instant::now();
        assert!(matches!(quota.take([1; 32], now), Verdict::Go { .. }));
        assert_eq!(quota.take([1; 32], now + Duration::from_secs(1)), Verdict::Wait(59));
    }

    #[test]
    fn full_buckets_are_thrown_away() {
        let quota = Quota::new("requests", 60);
        let now = Instant::now();
        for n in 0..BUCKETS {
            let mut whose = [0; 32];
            whose[..8].copy_from_slice(&n.to_be_bytes());
            quota.take(whose, now);
        }
        quota.take([9; 32], now + Duration::from_secs(5));
        assert_eq!(quota.buckets.lock().unwrap().len(), 1);
    }
}
