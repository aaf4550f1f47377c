//! The wall clock: the only one that several processes of a machine share to the microsecond.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures the real time; there is nothing to inject")]
pub fn now_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
