//! The mailer against a server that keeps to a script, the bad ones above all.

use std::time::Duration;

use hookcast_core::clock::Timestamp;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;

/// What the server does at a point of the conversation where it does not do as expected.
#[derive(Clone, Copy)]
enum Instead {
    Answer(&'static str),
    Hang,
    Close,
    /// Repeats the command as one that it does not know.
    Echo,
}

use Instead::{Answer, Close, Echo, Hang};

/// A server that takes every mail, but for what it is told to do instead at one point: a command's verb, `HELLO` for its
/// greeting or `TEXT` for its answer to a mail's text.
struct Scripted {
    port: u16,
    heard: mpsc::UnboundedReceiver<String>,
}

impl Scripted {
    async fn start(at: &'static str, instead: Instead) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (hear, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            converse(stream, at, instead, &hear).await;
        });
        Self { port, heard }
    }

    fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// All that was said to it, once it has hung up.
    async fn everything(mut self) -> String {
        let mut all = String::new();
        while let Some(line) = self.heard.recv().await {
            all += &line;
        }
        all
    }
}

async fn converse(stream: TcpStream, at: &str, instead: Instead, hear: &mpsc::UnboundedSender<String>) {
    let mut stream = BufReader::new(stream);
    let mut point = "HELLO".to_owned();
    let mut line = String::new();
    loop {
        let usual = match point.as_str() {
            "HELLO" => "220 at your service",
            "EHLO" => "250-here\r\n250 AUTH PLAIN LOGIN",
            "AUTH" => "235 welcome",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        let answer = match instead {
            _ if point != at => usual.to_owned(),
            Answer(answer) => answer.to_owned(),
            Echo => format!("500 what is {}?", line.trim()),
            Close => return,
            Hang => return std::future::pending().await,
        };
        // Who hangs up first does not read the answer.
        let _ = stream.write_all(format!("{answer}\r\n").as_bytes()).await;
        let is_text = point == "DATA" && answer.starts_with('3');
        loop {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let _ = hear.send(line.clone());
            if !is_text || line == ".\r\n" {
                break;
            }
        }
        point = if is_text { "TEXT".to_owned() } else { line.split([' ', '\r']).next().unwrap().to_owned() };
    }
}

fn settings(server: &str) -> MailSettings {
    MailSettings {
        server: server.parse().unwrap(),
        from: parse_mailbox("Hookcast <hooks@example.org>").unwrap(),
        requires_tls: false,
        extra_authorities: None,
        timeout: Duration::from_secs(60),
    }
}

async fn send(settings: MailSettings, to: &str) -> Result<(), MailError> {
    Mailer::new(settings).unwrap().send_test(to, "test", Timestamp::from_millis(0)).await
}

#[derive(Debug, PartialEq)]
enum Verdict {
    NotSent,
    Refused,
    PerhapsSent,
}

use Verdict::{NotSent, PerhapsSent, Refused};

fn verdict(error: &MailError) -> Verdict {
    match error {
        MailError::NotSent(_) => NotSent,
        MailError::Refused(_) => Refused,
        MailError::PerhapsSent(_) => PerhapsSent,
    }
}

#[tokio::test]
async fn a_mail_is_handed_over() {
    let server = Scripted::start("", Close).await;
    send(settings(&server.url()), "ada@example.org").await.unwrap();
    let heard = server.everything().await;
    assert!(heard.contains("MAIL FROM:<hooks@example.org>\r\nRCPT TO:<ada@example.org>\r\nDATA\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n.\r\nQUIT\r\n"), "{heard}");
}

#[tokio::test]
async fn what_went_wrong_tells_whether_the_mail_was_sent() {
    for (at, instead, expected) in [
        ("HELLO", Answer("554 not today"), NotSent),
        ("HELLO", Answer("421 busy"), NotSent),
        ("HELLO", Answer("HTTP/1.1 400 Bad Request"), NotSent),
        ("HELLO", Close, NotSent),
        ("EHLO", Close, NotSent),
        ("MAIL", Answer("550 not you"), NotSent),
        ("MAIL", Answer("451 later"), NotSent),
        ("RCPT", Answer("550 nobody of that name"), Refused),
        ("RCPT", Answer("450 greylisted"), NotSent),
        ("RCPT", Close, NotSent),
        ("DATA", Answer("554 no"), Refused),
        ("DATA", Answer("451 later"), NotSent),
        ("DATA", Close, NotSent),
        ("TEXT", Answer("552 too long"), Refused),
        ("TEXT", Answer("451 disk full"), NotSent),
        ("TEXT", Answer("nonsense"), PerhapsSent),
        ("TEXT", Close, PerhapsSent),
    ] {
        let server = Scripted::start(at, instead).await;
        let error = send(settings(&server.url()), "ada@example.org").await.unwrap_err();
        assert_eq!(verdict(&error), expected, "at {at}: {error}");
        if let Answer(answer) = instead {
            assert!(error.to_string().contains(answer.split_once(' ').map_or(answer, |(_, text)| text)), "{error}");
        }
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_for_it() {
    for (at, expected) in [("HELLO", NotSent), ("RCPT", NotSent), ("TEXT", PerhapsSent)] {
        let server = Scripted::start(at, Hang).await;
        let settings = MailSettings { timeout: Duration::from_millis(200), ..settings(&server.url()) };
        let error = send(settings, "ada@example.org").await.unwrap_err();
        assert_eq!(verdict(&error), expected, "at {at}: {error}");
        assert!(error.to_string().ends_with("there was no answer within 200ms"), "{error}");
    }
}

#[tokio::test]
async fn a_mail_that_was_taken_was_sent_whatever_the_farewell() {
    for instead in [Close, Answer("500 no")] {
        let server = Scripted::start("QUIT", instead).await;
        send(settings(&server.url()), "ada@example.org").await.unwrap();
    }
}

#[tokio::test]
async fn where_nothing_listens_nothing_is_sent() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = send(settings(&format!("smtp://{free}")), "ada@example.org").await.unwrap_err();
    assert_eq!(verdict(&error), NotSent);
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_password_is_not_told_by_a_server_that_repeats_it() {
    let server = Scripted::start("AUTH", Echo).await;
    let url = format!("smtp://ada:secret@127.0.0.1:{}", server.port);
    let error = send(settings(&url), "ada@example.org").await.unwrap_err();
    assert_eq!(verdict(&error), NotSent);
    let told = format!("{error} {error:?}");
    let heard = server.everything().await;
    let (_, sent) = heard.split_once("AUTH PLAIN ").unwrap();
    let sent = sent.split("\r\n").next().unwrap();
    assert!(told.contains("answered 500") && !sent.is_empty() && !told.contains(sent), "{told}");
}

#[tokio::test]
async fn nothing_goes_to_a_server_without_the_encryption_that_is_asked_for() {
    let server = Scripted::start("", Close).await;
    let url = format!("smtp://ada:secret@127.0.0.1:{}", server.port);
    let error = send(MailSettings { requires_tls: true, ..settings(&url) }, "ada@example.org").await.unwrap_err();
    assert_eq!(verdict(&error), NotSent);
    assert!(error.to_string().contains("STARTTLS"), "{error}");
    let heard = server.everything().await;
    assert!(heard.starts_with("EHLO ") && heard.lines().count() == 1, "{heard}");
}

#[tokio::test]
async fn letters_beyond_ascii_in_an_address_need_a_server_that_takes_them() {
    let server = Scripted::start("", Close).await;
    let error = send(settings(&server.url()), "ädä@example.org").await.unwrap_err();
    assert_eq!(verdict(&error), Refused);

    let server = Scripted::start("EHLO", Answer("250-here\r\n250-8BITMIME\r\n250 SMTPUTF8")).await;
    send(settings(&server.url()), "ädä@example.org").await.unwrap();
    let heard = server.everything().await;
    assert!(heard.contains("MAIL FROM:<hooks@example.org> SMTPUTF8 BODY=8BITMIME\r\n"), "{heard}");
    assert!(heard.contains("RCPT TO:<ädä@example.org>\r\n"), "{heard}");
}

#[test]
fn authorities_must_be_some() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, "nothing").unwrap();
    let settings = MailSettings { extra_authorities: Some(file), ..settings("smtps://127.0.0.1") };
    assert!(matches!(Mailer::new(settings), Err(ClientError::NoAuthority(_))));
}
