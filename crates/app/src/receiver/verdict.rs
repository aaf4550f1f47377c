//! What a signature is worth, as the Standard Webhooks specification has it ("Verifying webhook authenticity").

use std::{sync::Arc, time::Duration};

use hookcast_core::{
    clock::Timestamp,
    signing::{SigningKey, SigningSecret},
};
use http::HeaderMap;
use serde::Serialize;

/// How far the time of a signature may be off. An old one may be a replay of what somebody recorded.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// What a signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was made with a secret that we know, just now.
    Verified,
    /// It was not made with a secret that we know, or for something else.
    WrongSignature,
    /// It is right, but its time is not now.
    WrongTime,
    /// There is none: one of the three headers is missing.
    Unsigned,
    /// We know no secret to verify it with.
    NoSecret,
}

/// Knows secrets, and verifies with them.
#[derive(Clone, Debug)]
pub struct Verifier(Arc<[SigningKey]>);

impl Verifier {
    /// One that accepts what was signed with any of these secrets.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a SigningSecret>) -> Self {
        Self(secrets.into_iter().map(SigningKey::new).collect())
    }

    /// Judges the signature of a webhook that arrived `now`.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Verdict {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(time), Some(signature)) =
            (text("webhook-id"), text("webhook-timestamp"), text("webhook-signature"))
        else {
            return Verdict::Unsigned;
        };
        if self.0.is_empty() {
            return Verdict::NoSecret;
        }
        match time.parse::<i64>() {
            Ok(seconds) if self.0.iter().any(|key| key.verify(id, seconds, body, signature)) => {
                let is_timely = now.as_seconds().abs_diff(seconds) <= TOLERANCE.as_secs();
                if is_timely { Verdict::Verified } else { Verdict::WrongTime }
            }
            _ => Verdict::WrongSignature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn signed(secret: &SigningSecret, seconds: i64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", seconds.into());
        headers.insert("webhook-signature", SigningKey::new(secret).sign("evt_1", seconds, BODY).parse().unwrap());
        headers
    }

    #[test]
    fn one_of_several_secrets_suffices() {
        let (first, second) = (SigningSecret::new([1; 32]), SigningSecret::new([2; 32]));
        let verifier = Verifier::new([&first, &second]);
        for secret in [&first, &second] {
            assert_eq!(verifier.verify(&signed(secret, NOW.as_seconds()), BODY, NOW), Verdict::Verified);
        }
        let other = signed(&SigningSecret::new([3; 32]), NOW.as_seconds());
        assert_eq!(verifier.verify(&other, BODY, NOW), Verdict::WrongSignature);
        assert_eq!(verifier.verify(&signed(&first, NOW.as_seconds()), b"{}", NOW), Verdict::WrongSignature);
    }

    #[test]
    fn a_right_signature_does_not_stay_right_for_ever() {
        let secret = SigningSecret::new([1; 32]);
        let verifier = Verifier::new([&secret]);
        for (off, verdict) in
            [(-301, Verdict::WrongTime), (-300, Verdict::Verified), (300, Verdict::Verified), (301, Verdict::WrongTime)]
        {
            assert_eq!(verifier.verify(&signed(&secret, NOW.as_seconds() + off), BODY, NOW), verdict, "{off}");
        }
        let far = Verifier::new([&secret]).verify(&signed(&secret, i64::MIN), BODY, NOW);
        assert_eq!(far, Verdict::WrongTime);
    }

    #[test]
    fn without_a_secret_or_without_a_signature_nothing_is_verified() {
        let secret = SigningSecret::new([1; 32]);
        let headers = signed(&secret, NOW.as_seconds());
        assert_eq!(Verifier::new([]).verify(&headers, BODY, NOW), Verdict::NoSecret);
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = headers.clone();
            headers.remove(name);
            assert_eq!(Verifier::new([&secret]).verify(&headers, BODY, NOW), Verdict::Unsigned, "{name}");
        }
    }

    #[test]
    fn nonsense_is_wrong() {
        let secret = SigningSecret::new([1; 32]);
        for (name, value) in [("webhook-timestamp", "yesterday"), ("webhook-signature", "v1,%%%"), ("webhook-id", "")] {
            let mut headers = signed(&secret, NOW.as_seconds());
            headers.insert(name, value.parse().unwrap());
            assert_eq!(Verifier::new([&secret]).verify(&headers, BODY, NOW), Verdict::WrongSignature, "{name}");
        }
    }
}
