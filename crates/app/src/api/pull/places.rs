//! Places in the order of a subscription's events, and who waits for events.

use std::{
    collections::HashMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hookcast_core::id::AccountId;
use hookcast_store::pull::Sequence;
use serde::{Serialize, Serializer};

use super::ApiError;

/// Requests of one account that may wait at a time.
const AT_A_TIME: usize = 16;

/// A place behind an event, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub Sequence);

/// The text is no place that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a `cursor` or `next_cursor` of an earlier answer")]
pub struct NoPlace;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:x}", self.0.0)
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        // As many digits as a place can have; Redis counts in floating-point numbers.
        let is_hex = |hex: &&str| (1..=13).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hex = text.strip_prefix('p').filter(is_hex).ok_or(NoPlace)?;
        u64::from_str_radix(hex, 16).map(|place| Self(Sequence(place))).map_err(|_| NoPlace)
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Who waits for events: so many requests of an account at a time, since each keeps a connection and asks the store again and again.
#[derive(Clone, Default)]
pub struct Fetchers(Arc<Mutex<HashMap<AccountId, usize>>>);

/// A request waits for as long as this lives.
pub struct Fetcher(Fetchers, AccountId);

impl Fetchers {
    fn counts(&self) -> MutexGuard<'_, HashMap<AccountId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one more request of an account wait.
    ///
    /// # Errors
    /// 429 where too many do.
    pub fn begin(&self, account: AccountId) -> Result<Fetcher, ApiError> {
        let mut counts = self.counts();
        let count = counts.entry(account).or_default();
        if *count >= AT_A_TIME {
            let problem = format!("{AT_A_TIME} requests of yours wait for events: end one, or ask without `wait`");
            return Err(ApiError::too_many(problem));
        }
        *count += 1;
        drop(counts);
        Ok(Fetcher(self.clone(), account))
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hookcast_core::clock::Timestamp;

    use super::*;

    #[test]
    fn places_read_back_and_nothing_else_does() {
        for place in [0, 1, 42, (1 << 52) - 1] {
            let place = Place(Sequence(place));
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in ["", "p", "42", "p-1", "p+1", "pzz", "c1", "p10000000000000", "p 1"] {
            assert_eq!(bad.parse::<Place>(), Err(NoPlace), "{bad}");
        }
    }

    #[test]
    fn an_account_has_so_many_that_wait_and_others_have_theirs() {
        let fetchers = Fetchers::default();
        let [ada, bob] = [1, 2].map(|n| AccountId::new(Timestamp::from_millis(0), [n; 10]));
        let mut held: Vec<_> = (0..AT_A_TIME).map(|_| fetchers.begin(ada).unwrap()).collect();
        assert!(fetchers.begin(ada).is_err());
        assert!(fetchers.begin(bob).is_ok());
        held.pop();
        held.push(fetchers.begin(ada).unwrap());
        assert!(fetchers.begin(ada).is_err());
        drop(held);
        assert!(fetchers.counts().is_empty());
    }
}
