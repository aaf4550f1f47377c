//! Accounts: the consumers.

use serde::Serialize;

use crate::{clock::Timestamp, id::AccountId};

/// The most characters that a `user_id` may have.
pub const USER_ID_MAX: usize = 256;

/// The most characters that a `user_email` may have (RFC 5321, section 4.5.3.1.3, less the angle brackets).
pub const USER_EMAIL_MAX: usize = 254;

/// A consumer of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Names the account inside the service.
    #[serde(skip)]
    pub id: AccountId,
    /// The name that whoever registered it gave it; unique.
    pub user_id: String,
    /// Where notices go.
    pub user_email: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
}

impl Account {
    /// What stands in the place of a deleted account wherever the history refers to it: nothing that anybody chose.
    #[must_use]
    pub fn without_person(self) -> Self {
        Self { user_id: self.id.to_string(), user_email: None, ..self }
    }
}

/// Says what is wrong with a `user_id`, if anything.
///
/// # Errors
/// The rule that it breaks, for people to read.
pub fn check_user_id(user_id: &str) -> Result<(), String> {
    if user_id.trim().is_empty() {
        return Err("must not be empty".into());
    }
    if user_id.chars().count() > USER_ID_MAX {
        return Err(format!("must have at most {USER_ID_MAX} characters"));
    }
    if user_id.chars().any(char::is_control) {
        return Err("must not hold control characters".into());
    }
    Ok(())
}

/// Says what is wrong with a `user_email`, if anything. Only the mail server can say whether it is right.
///
/// # Errors
/// The rule that it breaks, for people to read.
pub fn check_user_email(email: &str) -> Result<(), String> {
    if email.chars().count() > USER_EMAIL_MAX {
        return Err(format!("must have at most {USER_EMAIL_MAX} characters"));
    }
    let well_formed = email.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !email.chars().any(|c| c.is_control() || c.is_whitespace());
    if well_formed { Ok(()) } else { Err("must be an e-mail address, such as `ada@example.org`".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids_are_short_and_printable() {
        assert!(check_user_id("ada").is_ok());
        assert!(check_user_id("Ada Lovelace <ada@example.org>").is_ok());
        for bad in ["", "  ", "a\nb", &"x".repeat(USER_ID_MAX + 1)] {
            assert!(check_user_id(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn user_emails_have_two_sides() {
        assert!(check_user_email("ada@example.org").is_ok());
        for bad in ["", "ada", "@example.org", "ada@", "a da@example.org", "ada@example.org\r\nbcc: x@y"] {
            assert!(check_user_email(bad).is_err(), "{bad:?}");
        }
    }
}
