//! What is written in mails.

use std::time::{Duration, SystemTime};

use hookcast_core::{
    clock::Timestamp,
    notice::{Notice, NoticeKind},
};
use lettre::{
    Address, Message,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0},
    },
};

use super::MailError;

/// What the service is called where the sender's address has no name.
const SERVICE: &str = "Hookcast";

/// The last second that a mail's date can tell, in milliseconds since the epoch.
const LAST_DATE: u64 = 253_402_300_799_000;

/// Reads an address, with or without a name before it: `Hookcast <hooks@example.org>`.
#[must_use]
pub fn parse_mailbox(text: &str) -> Option<Mailbox> {
    let (name, address) = match text.strip_suffix('>') {
        Some(text) => text.split_once('<')?,
        None => ("", text),
    };
    let name = name.trim().trim_matches('"');
    let name = (!name.is_empty()).then(|| name.to_owned());
    let is_plain = name.as_ref().is_none_or(|name| !name.contains(|c: char| c.is_control() || "<>@\"".contains(c)));
    Some(Mailbox::new(name, address.parse().ok()?)).filter(|_| is_plain)
}

/// The mail to `to` that tells of a notice. The service is called what the sender is.
///
/// Its message id is made from the notice's, so that one that comes twice is recognised.
///
/// # Errors
/// `to` is no address.
pub fn notice_mail(notice: &Notice, to: &str, from: &Mailbox) -> Result<Message, MailError> {
    let service = service(from);
    let subject = match notice.kind {
        NoticeKind::Failing => format!("{service}: your callback is failing"),
        NoticeKind::Recovered => format!("{service}: your callback is well again"),
        NoticeKind::Deactivated => format!("{service}: your subscription is inactive"),
    };
    letter(from, to, &subject, &notice.id.to_string(), notice.time, notice_text(notice, &service))
}

/// A mail to `to` that only shows that mails arrive. `id` makes it another one than those before.
///
/// # Errors
/// `to` is no address.
pub fn test_mail(to: &str, from: &Mailbox, id: &str, time: Timestamp) -> Result<Message, MailError> {
    let service = service(from);
    let text = format!(
        "This is a test. When a callback fails, recovers or is given up, {service}\n\
         tells its owner in a mail like this one. There is nothing to do.\n"
    );
    letter(from, to, &format!("{service}: a test"), id, time, text)
}

fn service(from: &Mailbox) -> String {
    one_line(from.name.as_deref().unwrap_or(SERVICE))
}

fn letter(
    from: &Mailbox,
    to: &str,
    subject: &str,
    id: &str,
    time: Timestamp,
    text: String,
) -> Result<Message, MailError> {
    let to: Address = to.parse().map_err(|error| MailError::Refused(format!("the address cannot be used: {error}")))?;
    let date = Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(0).min(LAST_DATE));
    // The library would refuse to write a name with control characters by a panic.
    let from = Mailbox::new(from.name.as_deref().map(one_line), from.email.clone());
    Message::builder()
        .from(from.clone())
        .to(to.into())
        .subject(subject)
        .date(SystemTime::UNIX_EPOCH + date)
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        // RFC 3834: so that nobody's absence is answered to a machine.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .body(text)
        .map_err(|error| MailError::Refused(format!("the mail cannot be written: {error}")))
}

fn notice_text(notice: &Notice, service: &str) -> String {
    let (happened, next) = match notice.kind {
        NoticeKind::Failing => (
            "Your callback does not answer as it should, so for a while little is sent\nthere.",
            format!(
                "Nothing is lost: what could not be delivered waits and is tried again until\n\
                 your callback answers with 200. Please look at what receives at this URL.\n\
                 If it goes on failing, {service} will make the subscription inactive."
            ),
        ),
        NoticeKind::Recovered => {
            ("Your callback answers again.", "What waited is being delivered now. There is nothing to do.".to_owned())
        }
        NoticeKind::Deactivated => (
            "Your subscription was made inactive, and nothing is sent to your callback any\nmore.",
            format!(
                "What comes for it meanwhile waits. To get it:\n\
                 \n\
                 1. See to it that your callback answers with 200.\n\
                 2. Make the subscription active again, with your access token:\n\
                 \n\
                 PATCH /webhooks/subscriptions/{}\n\
                 {{\"is_active\": true}}",
                notice.subscription
            ),
        ),
    };
    format!("{happened}\n\n{}\n{next}\n\n-- \n{service} wrote this by itself (notice {}).\n", facts(notice), notice.id)
}

fn facts(notice: &Notice) -> String {
    let failures = match (notice.failure_count, notice.failing_since) {
        (0, _) | (_, None) => "none in a row".to_owned(),
        (1, Some(since)) => format!("one, at {since}"),
        (count, Some(since)) => format!("{count} in a row, since {since}"),
    };
    let lines = [
        ("Callback", notice.url.as_str()),
        ("Events", &notice.events),
        ("Account", &notice.user_id),
        ("Subscription", &notice.subscription.to_string()),
        ("Time", &notice.time.to_string()),
        ("Reason", &notice.reason),
        ("Failures", &failures),
    ];
    lines.iter().map(|(name, value)| format!("  {:<14}{}\n", format!("{name}:"), one_line(value))).collect()
}

/// Foreign text must not look like ours on lines of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use hookcast_core::id::{AccountId, NoticeId, SubscriptionId};

    use super::*;

    fn notice(kind: NoticeKind) -> Notice {
        Notice {
            id: NoticeId::from_bytes([4; 16]),
            subscription: SubscriptionId::from_bytes([1; 16]),
            account: AccountId::from_bytes([2; 16]),
            user_id: "ada".to_owned(),
            kind,
            time: Timestamp::from_millis(1_769_860_860_000),
            reason: "it answered 500".to_owned(),
            failure_count: 7,
            failing_since: Some(Timestamp::from_millis(1_769_860_800_000)),
            events: "relation_added".to_owned(),
            url: "https://example.org/hook?token=***".to_owned(),
        }
    }

    fn from() -> Mailbox {
        Mailbox::new(Some("Citations".to_owned()), "hooks@example.org".parse().unwrap())
    }

    fn written(notice: &Notice) -> String {
        let mail = notice_mail(notice, "ada@example.org", &from()).unwrap();
        // Long lines are broken and `=` is written as a code (RFC 2045, section 6.7).
        String::from_utf8(mail.formatted()).unwrap().replace("=\r\n", "").replace("=3D", "=")
    }

    #[test]
    fn a_mail_says_what_happened_and_what_to_do() {
        for (kind, subject, advice) in [
            (NoticeKind::Failing, "Citations: your callback is failing", "If it goes on failing, Citations will make"),
            (NoticeKind::Recovered, "Citations: your callback is well again", "There is nothing to do."),
            (
                NoticeKind::Deactivated,
                "Citations: your subscription is inactive",
                "PATCH /webhooks/subscriptions/sub_01010101010101010101010101010101\r\n{\"is_active\": true}",
            ),
        ] {
            let mail = written(&notice(kind));
            let (head, text) = mail.split_once("\r\n\r\n").unwrap();
            for line in [
                &format!("Subject: {subject}"),
                "To: ada@example.org",
                "Date: Sat, 31 Jan 2026 12:01:00 +0000",
                "Message-ID: <ntc_04040404040404040404040404040404@example.org>",
                "Auto-Submitted: auto-generated",
            ] {
                assert!(head.lines().any(|found| found.trim_end() == line), "{line} is not in:\n{head}");
            }
            assert!(text.contains(advice), "{text}");
            for fact in
                ["https://example.org/hook?token=***", "it answered 500", "7 in a row, since 2026-01-31T12:00:00"]
            {
                assert!(text.contains(fact), "{fact} is not in:\n{text}");
            }
        }
    }

    #[test]
    fn foreign_text_cannot_add_headers_or_lines() {
        let evil = "x\r\nBcc: eve@example.org\r\n\r\nforged";
        let mut notice = notice(NoticeKind::Failing);
        notice.reason = evil.to_owned();
        notice.user_id = evil.to_owned();
        notice.events = evil.to_owned();
        notice.url = evil.to_owned();
        let from = Mailbox::new(Some(evil.to_owned()), "hooks@example.org".parse().unwrap());
        let mail = notice_mail(&notice, "ada@example.org", &from).unwrap();
        let mail = String::from_utf8(mail.formatted()).unwrap();
        assert!(!mail.lines().any(|line| line.starts_with("Bcc")), "{mail}");
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nContent-Type: text/plain"), "{mail}");
        for address in ["ada@example.org\r\nBcc: eve@example.org", "ada@example.org>", "ada", "", "a b@example.org"] {
            assert!(matches!(notice_mail(&notice, address, &from), Err(MailError::Refused(_))), "{address}");
        }
    }

    #[test]
    fn senders_have_an_address_and_perhaps_a_name() {
        for (text, name) in [
            ("hooks@example.org", None),
            ("<hooks@example.org>", None),
            ("Citations <hooks@example.org>", Some("Citations")),
            ("\"Citations, daily\" <hooks@example.org>", Some("Citations, daily")),
        ] {
            let expected = Mailbox::new(name.map(str::to_owned), "hooks@example.org".parse().unwrap());
            assert_eq!(parse_mailbox(text), Some(expected), "{text}");
        }
        for text in
            ["", "Citations", "<>", "hooks@example.org>", "a@b.org, c@d.org", "x\r\ny <a@b.org>", "a <a@b.org> c"]
        {
            assert_eq!(parse_mailbox(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_that_no_date_can_tell_is_no_reason_to_fail() {
        for millis in [i64::MIN, -1, i64::MAX] {
            assert!(test_mail("ada@example.org", &from(), "x", Timestamp::from_millis(millis)).is_ok());
        }
    }
}
