//! Mails: `hookcast test-mail`, and the settings that all mails are sent with.

use hookcast_core::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::support::{loopback_address, server::Home, smtp::MailServer};

const ADA: &str = "ada@example.org";

/// Settings for mails through the server at this URL.
fn home(url: &str) -> Home {
    Home::new().set("HOOKCAST_MAIL_SMTP", url).set("HOOKCAST_MAIL_FROM", "Citations <hooks@example.org>")
}

/// Writes a certificate for 127.0.0.1 that vouches for itself, and its key; where they are.
fn certificate(home: &Home) -> (String, String) {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    home.write("cert.pem", &own.cert.pem());
    home.write("key.pem", &own.signing_key.serialize_pem());
    let place = |name| home.path().join(name).to_str().unwrap().to_owned();
    (place("cert.pem"), place("key.pem"))
}

/// The one mail that has come.
#[track_caller]
fn only_mail(server: &MailServer) -> Value {
    let mails = server.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    mails[0].clone()
}

#[test]
fn a_test_mail_arrives() {
    let server = MailServer::start(&[]);
    let home = home(&server.url).set("HOOKCAST_MAIL_TLS", "off");
    let url = &server.url;
    assert_eq!(home.expect(&["test-mail", ADA]), format!("{url} took the mail to {ADA}\n"));
    let mail = only_mail(&server);
    assert_eq!((&mail["from"], &mail["to"]), (&json!("hooks@example.org"), &json!([ADA])));
    assert_eq!(mail["is_encrypted"], false);
    let headers = &mail["headers"];
    for (name, value) in [
        ("from", "Citations <hooks@example.org>"),
        ("to", ADA),
        ("subject", "Citations: a test"),
        ("auto-submitted", "auto-generated"),
        ("content-type", "text/plain; charset=\"utf-8\""),
    ] {
        assert_eq!(headers[name], value, "{headers}");
    }
    let date = jiff::fmt::rfc2822::parse(headers["date"].as_str().unwrap()).unwrap();
    let age = SystemClock.now().as_millis() - date.timestamp().as_millisecond();
    assert!((0..60_000).contains(&age), "{headers}");
    assert!(mail["text"].as_str().unwrap().contains("recovers or is given up, Citations\r\ntells its owner"), "{mail}");

    // Another one is another mail.
    let told = home.hookcast(&["test-mail", ADA, "--json"]).expect(0).json();
    assert_eq!((&told["server"], &told["to"]), (&json!(url), &json!(ADA)));
    let mails = server.mails();
    let id = |mail: &Value| mail["headers"]["message-id"].as_str().unwrap().to_owned();
    assert_eq!(id(&mails[1]), format!("<{}@example.org>", told["id"].as_str().unwrap()));
    assert_ne!(id(&mails[0]), id(&mails[1]));
}

#[test]
fn mails_go_encrypted_to_a_server_that_proves_its_name() {
    for option in ["--starttls", "--tls"] {
        let folder = Home::new();
        let (cert, key) = certificate(&folder);
        let server = MailServer::start(&[option, &cert, &key, "--login", "ada@x", "p/w"]);
        let home = home(&server.url_with("ada%40x:p%2Fw"));
        let told = home.refusal(&["test-mail", ADA]);
        assert!(told.contains("it was not sent: invalid peer certificate"), "{told}");
        assert_eq!(server.mails(), Vec::<Value>::new());

        let home = home.set("HOOKCAST_MAIL_CA_FILE", &cert);
        home.expect(&["test-mail", ADA]);
        let mail = only_mail(&server);
        assert_eq!((&mail["is_encrypted"], &mail["is_logged_in"]), (&json!(true), &json!(true)));
    }
}

#[test]
fn nothing_goes_unencrypted_unless_that_is_set() {
    let server = MailServer::start(&["--login", "ada", "secret"]);
    let home = home(&server.url_with("ada:secret"));
    let told = home.refusal(&["test-mail", ADA]);
    assert!(told.contains("the server offers no encryption (STARTTLS)"), "{told}");
    assert_eq!(server.mails(), Vec::<Value>::new());
    home.set("HOOKCAST_MAIL_TLS", "off").expect(&["test-mail", ADA]);
    assert_eq!(only_mail(&server)["is_logged_in"], true);
}

#[test]
fn what_keeps_a_mail_from_being_sent_is_told_without_the_password() {
    let server = MailServer::start(&["--login", "ada", "secret", "--refuse", "bob@example.org"]);
    let down = format!("smtp://ada:hidden@{}", loopback_address());
    for (url, to, words) in [
        (&server.url_with("ada:hidden"), ADA, "does not take the name and the password: it answered 535"),
        (&server.url, ADA, "it was not sent: the server answered 530"),
        (&down, ADA, "it was not sent: Connection refused"),
        (
            &server.url_with("ada:secret"),
            "bob@example.org",
            "it was refused: the server answered 550: 5.1.1 there is no",
        ),
        (&server.url_with("ada:secret"), "nobody", "it was refused: the address cannot be used"),
    ] {
        let home = home(url).set("HOOKCAST_MAIL_TLS", "off").set("HOOKCAST_LOG_LEVEL", "trace");
        let told = home.refusal(&["test-mail", to]);
        assert!(told.contains(&format!("hookcast: the mail to {to} through smtp://127.")), "{told}");
        assert!(told.contains(words) && !told.contains("hidden") && !told.contains("secret"), "{told}");
    }
    assert_eq!(server.mails(), Vec::<Value>::new());
}

#[test]
fn a_server_that_hangs_is_given_up() {
    // It listens and accepts nothing, so that a connection is made and no greeting comes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let told = home(&url).set("HOOKCAST_MAIL_TIMEOUT", "200ms").refusal(&["test-mail", ADA]);
    assert!(told.contains("it was not sent: there was no answer within 200ms"), "{told}");
}

#[test]
fn settings_for_mails_must_fit() {
    let told = Home::new().refusal(&["test-mail", ADA]);
    assert!(told.contains("see mail.smtp and mail.from"), "{told}");
    let told = home("smtp://ada:hidden@host").unset("HOOKCAST_MAIL_FROM").refusal(&["check-config"]);
    assert!(told.contains("set mail.from to an address") && told.contains("smtp://ada:***@host"), "{told}");
    assert!(!told.contains("hidden"), "{told}");
    for url in ["mail.example.org", "smtp://ada:hid/den@host", "http://ada:hidden@host"] {
        let told = home(url).refusal(&["check-config"]);
        assert!(told.contains("HOOKCAST_MAIL_SMTP") && !told.contains("den@"), "{told}");
    }
    let told = home("smtp://host").set("HOOKCAST_MAIL_FROM", "a@b.org, c@d.org").refusal(&["check-config"]);
    assert!(told.contains("HOOKCAST_MAIL_FROM"), "{told}");

    let shown = home("smtps://ada:hidden@host").expect(&["check-config"]);
    assert!(shown.contains("smtps://ada:***@host") && !shown.contains("hidden"), "{shown}");
    let told = home("smtps://host").set("HOOKCAST_MAIL_CA_FILE", "none.pem").refusal(&["serve"]);
    assert!(told.contains("cannot read the certificates in none.pem"), "{told}");
}
