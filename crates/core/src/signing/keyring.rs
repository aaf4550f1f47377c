//! The secrets of a subscription, and which of them sign now.

use std::time::Duration;

use super::{Scheme, Secret, secret::ReadyKey};
use crate::clock::Timestamp;

/// How many earlier secrets may go on signing; more would only lengthen a header that receivers must read.
pub const EARLIER_SECRETS_MAX: usize = 4;

/// The secrets of a subscription: the current one, if its deliveries are signed, and earlier ones, which go on signing for
/// a while so that a receiver may change over when it likes.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    current: Option<Member>,
    /// The latest first.
    earlier: Vec<(Member, Timestamp)>,
}

/// A secret that was replaced and still signs.
#[derive(Clone, Debug, PartialEq)]
pub struct EarlierSecret {
    /// The secret.
    pub secret: Secret,
    /// When it stops signing.
    pub until: Timestamp,
}

#[derive(Clone, Debug)]
struct Member {
    secret: Secret,
    key: ReadyKey,
}

impl Keyring {
    /// A keyring with one secret, or with none: nothing is signed.
    #[must_use]
    pub fn new(current: Option<Secret>) -> Self {
        Self { current: current.map(Member::new), earlier: Vec::new() }
    }

    /// A keyring that a store has kept. Of the earlier secrets, the latest first, no more than
    /// [`EARLIER_SECRETS_MAX`] are taken.
    #[must_use]
    pub fn from_parts(current: Option<Secret>, earlier: impl IntoIterator<Item = EarlierSecret>) -> Self {
        let earlier = earlier.into_iter().map(|earlier| (Member::new(earlier.secret), earlier.until));
        Self { current: current.map(Member::new), earlier: earlier.take(EARLIER_SECRETS_MAX).collect() }
    }

    /// The current secret; none where deliveries are not signed.
    #[must_use]
    pub fn current(&self) -> Option<&Secret> {
        self.current.as_ref().map(|member| &member.secret)
    }

    /// The earlier secrets and when each stops signing, the latest first. Some may have stopped already.
    pub fn earlier(&self) -> impl Iterator<Item = EarlierSecret> {
        self.earlier.iter().map(|(member, until)| EarlierSecret { secret: member.secret.clone(), until: *until })
    }

    /// How deliveries are signed: the current secret's scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.current().map_or(Scheme::None, Secret::scheme)
    }

    /// Makes `new` the current secret, or none. The one before it signs for `overlap` from now on; earlier ones sign until
    /// the time that they have, except that the oldest goes where there would be too many.
    ///
    /// A secret that comes back is not an earlier one any more, so that nothing signs twice.
    pub fn rotate(&mut self, new: Option<Secret>, overlap: Duration, now: Timestamp) {
        let until = now.plus(overlap);
        let replaced = std::mem::replace(&mut self.current, new.map(Member::new));
        self.earlier.splice(0..0, replaced.map(|member| (member, until)));
        let current = self.current.as_ref().map(|member| &member.secret);
        self.earlier.retain(|(member, until)| now < *until && Some(&member.secret) != current);
        self.earlier.truncate(EARLIER_SECRETS_MAX);
    }

    /// The value of `webhook-signature`: the current secret's signature, then those of earlier secrets that sign at `now`,
    /// with spaces between them. None where nothing signs, and so there is no such header.
    ///
    /// `timestamp` is in seconds since the epoch, as in `webhook-timestamp`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8], now: Timestamp) -> Option<String> {
        let earlier = self.earlier.iter().filter(|(_, until)| now < *until).map(|(member, _)| member);
        let mut signatures = self.current.iter().chain(earlier).map(|member| member.key.sign(id, timestamp, body));
        let first = signatures.next()?;
        Some(signatures.fold(first, |value, signature| value + " " + &signature))
    }
}

impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        self.current() == other.current() && self.earlier().eq(other.earlier())
    }
}

impl Member {
    fn new(secret: Secret) -> Self {
        Self { key: ReadyKey::new(&secret), secret }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::SigningKey;

    const HOUR: Duration = Duration::from_secs(3600);
    const NOW: Timestamp = Timestamp::from_millis(1_614_265_330_000);

    fn hmac(byte: u8) -> Secret {
        Secret::generate(Scheme::HmacSha256, [byte; 32]).unwrap()
    }

    fn ed25519(byte: u8) -> Secret {
        Secret::generate(Scheme::Ed25519, [byte; 32]).unwrap()
    }

    /// What one secret alone would sign.
    fn alone(secret: &Secret) -> String {
        match secret {
            Secret::Hmac(secret) => SigningKey::new(secret).sign("evt_1", 7, b"{}"),
            Secret::Ed25519(secret) => secret.sign("evt_1", 7, b"{}"),
        }
    }

    fn signed(keyring: &Keyring, now: Timestamp) -> Option<String> {
        keyring.sign("evt_1", 7, b"{}", now)
    }

    #[test]
    fn who_has_no_secret_signs_nothing() {
        let keyring = Keyring::default();
        assert_eq!(signed(&keyring, NOW), None);
        assert_eq!(keyring.scheme(), Scheme::None);
    }

    #[test]
    fn an_earlier_secret_of_another_scheme_signs_until_its_time() {
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(Some(ed25519(2)), HOUR, NOW);
        assert_eq!(keyring.scheme(), Scheme::Ed25519);
        let both = format!("{} {}", alone(&ed25519(2)), alone(&hmac(1)));
        assert_eq!(signed(&keyring, NOW), Some(both.clone()));
        let end = NOW.plus(HOUR);
        assert_eq!(signed(&keyring, end.minus(Duration::from_millis(1))), Some(both));
        assert_eq!(signed(&keyring, end), Some(alone(&ed25519(2))));
    }

    #[test]
    fn without_an_overlap_a_secret_is_gone_at_once() {
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(Some(hmac(2)), Duration::ZERO, NOW);
        assert_eq!(keyring, Keyring::new(Some(hmac(2))));
    }

    #[test]
    fn signing_may_end_gently_and_begin_again() {
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(None, HOUR, NOW);
        assert_eq!(signed(&keyring, NOW), Some(alone(&hmac(1))));
        assert_eq!(signed(&keyring, NOW.plus(HOUR)), None);
        keyring.rotate(Some(hmac(2)), HOUR, NOW.plus(HOUR));
        assert_eq!(keyring, Keyring::new(Some(hmac(2))));
    }

    #[test]
    fn the_oldest_of_too_many_goes() {
        let mut keyring = Keyring::new(Some(hmac(0)));
        for byte in 1..=6 {
            keyring.rotate(Some(hmac(byte)), HOUR, NOW);
        }
        let expected: Vec<_> = (2..=6).rev().map(|byte| alone(&hmac(byte))).collect();
        assert_eq!(signed(&keyring, NOW), Some(expected.join(" ")));
    }

    #[test]
    fn a_secret_that_comes_back_signs_once() {
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(Some(hmac(1)), HOUR, NOW);
        assert_eq!(keyring, Keyring::new(Some(hmac(1))));
        keyring.rotate(Some(hmac(2)), HOUR, NOW);
        keyring.rotate(Some(hmac(1)), HOUR, NOW);
        assert_eq!(signed(&keyring, NOW), Some(format!("{} {}", alone(&hmac(1)), alone(&hmac(2)))));
    }

    #[test]
    fn a_keyring_comes_back_from_its_parts_and_does_not_show() {
        let mut keyring = Keyring::new(Some(hmac(1)));
        keyring.rotate(Some(ed25519(2)), HOUR, NOW);
        let back = Keyring::from_parts(keyring.current().cloned(), keyring.earlier());
        assert_eq!(back, keyring);
        assert_eq!(signed(&back, NOW), signed(&keyring, NOW));
        assert_ne!(back, Keyring::new(Some(ed25519(2))));
        let shown = format!("{keyring:?}");
        for secret in [hmac(1), ed25519(2)] {
            let (_, encoded) = secret.reveal().split_once('_').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            assert!(!shown.contains(&encoded), "{shown}");
        }
        assert!(!shown.contains("2, 2, 2"), "{shown}");
    }
}
