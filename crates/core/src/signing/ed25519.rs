//! The asymmetric scheme `v1a`: Ed25519 with a private `whsk_` and a public `whpk_` key
//! (Standard Webhooks 1.0.0, "Signature scheme" and "Asymmetric keys").

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ed25519_dalek::{PUBLIC_KEY_LENGTH, Signature, SigningKey, VerifyingKey, ed25519::signature::MultipartSigner as _};
use secrecy::{ExposeSecret as _, SecretSlice};
use subtle::ConstantTimeEq as _;

use super::InvalidSecret;

pub(super) const PRIVATE_PREFIX: &str = "whsk_";
pub(super) const PUBLIC_PREFIX: &str = "whpk_";
const SIGNATURE_PREFIX: &str = "v1a,";

/// A private key. It is ready to sign as it is: its public half is computed once, and clones share both.
///
/// The key lies in one place of the heap, which is wiped when the last clone goes.
#[derive(Clone)]
pub struct Ed25519Secret(Arc<SigningKey>);

impl Ed25519Secret {
    /// The private key of these random bytes.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(Arc::new(SigningKey::from_bytes(&random)))
    }

    /// Reads the form that [`reveal`](Self::reveal) writes; the prefix may be left out, and the public key may follow the
    /// private one, as libsodium and others have it.
    ///
    /// # Errors
    /// [`InvalidSecret::Ed25519`] when the rest is not base64 of 32 or 64 bytes, [`InvalidSecret::Mismatch`] when the
    /// public key is of another private key.
    pub fn parse(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(PRIVATE_PREFIX).unwrap_or(text);
        let bytes: SecretSlice<u8> = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidSecret::Ed25519)?.into();
        let (private, public) = bytes.expose_secret().split_at_checked(32).ok_or(InvalidSecret::Ed25519)?;
        let key = SigningKey::try_from(private).map_err(|_| InvalidSecret::Ed25519)?;
        match public.len() {
            0 => {}
            PUBLIC_KEY_LENGTH if key.verifying_key().as_bytes() == public => {}
            PUBLIC_KEY_LENGTH => return Err(InvalidSecret::Mismatch),
            _ => return Err(InvalidSecret::Ed25519),
        }
        Ok(Self(Arc::new(key)))
    }

    /// The private key as its owner gets it: `whsk_` and base64 of 32 bytes.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PRIVATE_PREFIX}{}", BASE64_STANDARD.encode(self.0.as_bytes()))
    }

    /// The public half, by which receivers verify.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The value of `webhook-signature`: `v1a,` and the base64 of the signature of `id.timestamp.body`.
    ///
    /// `timestamp` is in seconds since the epoch, as in `webhook-timestamp`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signature = self.sign_parts(&[id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body]);
        let mut value = String::with_capacity(SIGNATURE_PREFIX.len() + 88);
        value.push_str(SIGNATURE_PREFIX);
        BASE64_STANDARD.encode_string(signature.to_bytes(), &mut value);
        value
    }

    /// Signs what the parts are together, without copying the body.
    fn sign_parts(&self, parts: &[&[u8]]) -> Signature {
        self.0.multipart_sign(parts)
    }
}

impl PartialEq for Ed25519Secret {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Ed25519Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ed25519Secret(…)")
    }
}

/// The half of a key that everybody may know. Its text is `whpk_` and base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// The text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is `whpk_` followed by the 32 bytes of an Ed25519 key in base64")]
pub struct InvalidPublicKey;

impl PublicKey {
    /// The key as RFC 8032 encodes it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_LENGTH] {
        self.0.as_bytes()
    }

    /// Whether a `webhook-signature` header, which may list several space-delimited signatures, holds one by this key.
    #[must_use]
    pub fn verify(&self, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
        let signed = [id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body].concat();
        let signatures = header.split(' ').filter_map(|given| given.strip_prefix(SIGNATURE_PREFIX));
        signatures
            .filter_map(|encoded| Signature::from_slice(&BASE64_STANDARD.decode(encoded).ok()?).ok())
            .any(|signature| self.0.verify_strict(&signed, &signature).is_ok())
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let encoded = text.strip_prefix(PUBLIC_PREFIX).ok_or(InvalidPublicKey)?;
        let bytes = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidPublicKey)?;
        VerifyingKey::try_from(bytes.as_slice()).map(Self).map_err(|_| InvalidPublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", BASE64_STANDARD.encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message that the libraries of the specification share in their tests.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    #[test]
    fn the_vectors_of_rfc_8032() {
        for (private, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                &[][..],
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
                &[0x72],
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                &[0xaf, 0x82],
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let secret = Ed25519Secret::new(bytes(private));
            assert_eq!(secret.public_key().as_bytes(), &bytes(public));
            assert_eq!(secret.sign_parts(&[message]).to_bytes(), bytes(signature));
            let parts: Vec<_> = message.chunks(1).collect();
            assert_eq!(secret.sign_parts(&parts).to_bytes(), bytes(signature));
        }
    }

    /// From the tests of the specification's library for Go.
    #[test]
    fn the_vector_of_the_reference_library() {
        let secret = Ed25519Secret::parse("VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=").unwrap();
        assert_eq!(
            secret.sign(ID, TIMESTAMP, BODY),
            "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
        );
    }

    /// From the tests of the Svix server, whose private keys carry their public half.
    #[test]
    fn the_vector_of_a_key_with_its_public_half() {
        let secret = Ed25519Secret::parse(
            "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        )
        .unwrap();
        assert_eq!(secret.public_key().to_string(), "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
        assert_eq!(secret.reveal(), "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=");
        assert_eq!(
            secret.sign(ID, TIMESTAMP, BODY),
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
    }

    #[test]
    fn a_signature_is_verified_among_several_and_a_wrong_one_refused() {
        let secret = Ed25519Secret::new([1; 32]);
        let other = Ed25519Secret::new([2; 32]).sign(ID, TIMESTAMP, BODY);
        let right = secret.sign(ID, TIMESTAMP, BODY);
        let header = format!("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,%% v1a, {other} {right}");
        let public = secret.public_key();
        assert!(public.verify(ID, TIMESTAMP, BODY, &header));
        assert!(!public.verify(ID, TIMESTAMP, BODY, &other));
        assert!(!public.verify(ID, TIMESTAMP + 1, BODY, &right));
        assert!(!public.verify("msg_2", TIMESTAMP, BODY, &right));
        assert!(!public.verify(ID, TIMESTAMP, b"{}", &right));
        assert!(!public.verify(ID, TIMESTAMP, BODY, ""));
    }

    #[test]
    fn public_keys_read_back_and_what_is_none_is_refused() {
        let public = Ed25519Secret::new([3; 32]).public_key();
        assert_eq!(public.to_string().parse(), Ok(public));
        assert_eq!(format!("{public:?}"), format!("PublicKey({public})"));
        let no_point = format!("whpk_{}", BASE64_STANDARD.encode([2; 32]));
        for text in ["", "whpk_", "whpk_c2hvcnQ=", "whsk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", &no_point] {
            assert_eq!(text.parse::<PublicKey>(), Err(InvalidPublicKey), "{text}");
        }
    }
}
