//! What became of a mail that did not arrive for certain.

use std::error::Error;

use lettre::transport::smtp;

/// The longest text of a server that is told, in characters.
const TEXT_MAX: usize = 300;

/// Why it is not certain that a mail is on its way. Each says what happened, a line for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The server has certainly not taken it: there was no connection, or it takes nothing for now, or nothing from here.
    /// It may be tried again.
    #[error("it was not sent: {0}")]
    NotSent(String),
    /// The server has refused this mail or its address, and would do so again.
    #[error("it was refused: {0}")]
    Refused(String),
    /// The connection was lost after the mail had gone out and before the server's answer came. Whether it was taken nobody
    /// knows, so that trying again may send it twice.
    #[error("it may have been sent: {0}")]
    PerhapsSent(String),
}

impl MailError {
    /// An error of connecting and greeting, before the server knows of a mail.
    pub(super) fn connecting(error: &smtp::Error) -> Self {
        Self::NotSent(describe(error))
    }

    /// An error of logging in. The server's words are left out: some repeat what they did not understand, the password in it.
    pub(super) fn logging_in(error: &smtp::Error) -> Self {
        Self::NotSent(match error.status() {
            Some(code) => format!("the server does not take the name and the password: it answered {code}"),
            None if error.is_client() => "the server offers neither of the ways to log in, PLAIN and LOGIN".to_owned(),
            None => "the connection failed while logging in".to_owned(),
        })
    }

    /// An error about this mail, before the server had all of it.
    pub(super) fn announcing(error: &smtp::Error) -> Self {
        if error.is_permanent() { Self::Refused(describe(error)) } else { Self::NotSent(describe(error)) }
    }

    /// An error after the mail had gone out, or a part of it. Who answers that it refuses has not taken it.
    pub(super) fn sending(error: &smtp::Error) -> Self {
        if error.status().is_some() { Self::announcing(error) } else { Self::PerhapsSent(describe(error)) }
    }
}

fn describe(error: &smtp::Error) -> String {
    // The last cause is the one that says most; those around it only name what they are.
    let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    let text = printable(&causes.last().map_or_else(String::new, ToString::to_string));
    match error.status() {
        Some(code) => format!("the server answered {code}: {text}"),
        None if error.is_response() => format!("the server did not answer as mail servers do ({text})"),
        None => text,
    }
}

/// Foreign text as one line that is not too long.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX).collect()
}
