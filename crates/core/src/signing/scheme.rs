//! The ways to sign.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How a subscription's deliveries are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Not at all.
    None,
    /// By HMAC-SHA256 under a secret that both sides know (`v1`).
    #[default]
    HmacSha256,
    /// By Ed25519: the receiver needs the public key alone (`v1a`).
    Ed25519,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 3] = [Self::None, Self::HmacSha256, Self::Ed25519];

    /// The scheme's name, as the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|scheme| scheme.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|scheme| format!("`{scheme}`")).collect();
            format!("a signature scheme is one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_have_one_name_everywhere() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.to_string().parse(), Ok(scheme));
            assert_eq!(serde_json::to_value(scheme).unwrap(), scheme.as_str());
            assert_eq!(serde_json::from_value::<Scheme>(scheme.as_str().into()).unwrap(), scheme);
        }
        let error = "rsa".parse::<Scheme>().unwrap_err();
        assert_eq!(error, "a signature scheme is one of `none`, `hmac-sha256`, `ed25519`");
    }
}
