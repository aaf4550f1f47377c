use super::*;

const SECRET: &str = "hunter2-secret";

fn parse(value: Value) -> Result<CallbackAuth, Refused> {
    CallbackAuth::parse("auth", value, |_| Ok(()))
}

fn every_kind() -> [Value; 5] {
    [
        json!({ "type": "bearer", "token": SECRET }),
        json!({ "type": "basic", "username": "ada", "password": SECRET }),
        json!({ "type": "header", "name": "x-api-key", "value": SECRET }),
        json!({ "type": "oauth2", "token_url": format!("https://id.example/token?key={SECRET}"), "client_id": "a b",
                "client_secret": SECRET, "scope": "read write", "audience": "urn:hooks" }),
        json!({ "type": "oauth2", "token_url": "https://id.example/", "client_id": "a", "client_secret": SECRET }),
    ]
}

fn pem(label: &str) -> String {
    format!("-----BEGIN {label}-----\naGVsbG8=\n-----END {label}-----\n")
}

#[test]
fn each_kind_reads_back_with_its_secrets() {
    for given in every_kind() {
        let auth = parse(given.clone()).unwrap();
        assert_eq!(auth.to_secret_json(), given);
        assert_eq!(CallbackAuth::from_secret_json(given.clone()).unwrap().to_secret_json(), given);
        assert_eq!(auth.kind(), given["type"]);
    }
}

#[test]
fn what_may_be_shown_has_no_secret() {
    let views = every_kind().map(|given| {
        let auth = parse(given).unwrap();
        assert!(!format!("{auth:?} {auth:#?}").contains(SECRET));
        auth.public_view()
    });
    let expected = [
        json!({ "type": "bearer" }),
        json!({ "type": "basic", "username": "ada" }),
        json!({ "type": "header", "name": "x-api-key" }),
        json!({ "type": "oauth2", "token_url": "https://id.example/token?key=***", "client_id": "a b",
                "scope": "read write", "audience": "urn:hooks" }),
        json!({ "type": "oauth2", "token_url": "https://id.example/", "client_id": "a" }),
    ];
    assert_eq!(views, expected);
}

#[test]
fn errors_name_the_member_and_the_rule_and_no_secret() {
    for (given, expected) in [
        (json!(SECRET), "`auth` must be an object"),
        (json!({ "token": SECRET }), "`auth.type` is missing"),
        (json!({ "type": SECRET }), "`auth.type` must be one of `bearer`, `basic`, `header` and `oauth2`"),
        (json!({ "type": "bearer" }), "`auth.token` is missing"),
        (json!({ "type": "bearer", "token": [SECRET] }), "`auth.token` must be a string"),
        (
            json!({ "type": "bearer", "token": format!("{SECRET}\r\nx: y") }),
            "`auth.token` must be 1 to 8192 bytes of visible ASCII characters without spaces",
        ),
        (
            json!({ "type": "bearer", "token": "t", SECRET: 1 }),
            "`auth` has an unknown member; known here are `type` and `token`",
        ),
        (
            json!({ "type": "basic", "username": format!("a:{SECRET}"), "password": "" }),
            "`auth.username` must be 0 to 1024 bytes of text without colons and control characters",
        ),
        (
            json!({ "type": "header", "name": "Webhook-Id", "value": SECRET }),
            "`auth.name` is a header that Hookcast sets itself or never sends",
        ),
        (
            json!({ "type": "header", "name": "x-key", "value": format!(" {SECRET}") }),
            "`auth.value` must be visible ASCII characters, with spaces and tabs between them only",
        ),
        (json!({ "type": "header", "name": "x-key", "value": "" }), "`auth.value` must have 1 to 8192 bytes"),
        (
            json!({ "type": "oauth2", "token_url": "https://a.example", "client_id": "", "client_secret": SECRET }),
            "`auth.client_id` must be 1 to 1024 bytes of visible ASCII characters and spaces",
        ),
    ] {
        let refused = parse(given).unwrap_err();
        assert_eq!(refused.to_string(), expected);
        assert!(!format!("{refused:?}").contains(SECRET));
    }
}

#[test]
fn the_url_of_tokens_is_judged() {
    let judge = |url: &str| if url.contains("id.example") { Err("not there".into()) } else { Ok(()) };
    let [bearer, .., oauth2] = every_kind();
    assert!(CallbackAuth::parse("auth", bearer, judge).is_ok());
    let refused = CallbackAuth::parse("auth", oauth2, judge).unwrap_err();
    assert_eq!(refused.to_string(), "`auth.token_url` is refused: not there");
}

#[test]
fn credentials_headers_may_carry_authentication_only() {
    for name in ["Authorization", "cookie"] {
        assert!(parse(json!({ "type": "header", "name": name, "value": "a=b" })).is_ok());
        let rule = CustomHeaders::parse("headers", &json!({ name: "a=b" })).unwrap_err().rule;
        assert_eq!(rule, "carries a secret; give it as the subscription's authentication");
    }
}

#[test]
fn custom_headers_read_back_in_lower_case_and_debug_hides_values() {
    let headers = CustomHeaders::parse("headers", &json!({ "X-Team": SECRET, "x-empty": "" })).unwrap();
    assert_eq!(headers.iter().collect::<Vec<_>>(), [("x-empty", ""), ("x-team", SECRET)]);
    assert_eq!(format!("{headers:?}"), r#"{"x-empty", "x-team"}"#);
    let text = serde_json::to_string(&headers).unwrap();
    assert_eq!(serde_json::from_str::<CustomHeaders>(&text).unwrap(), headers);
    assert!(serde_json::from_str::<CustomHeaders>(r#"{"host":"a"}"#).is_err());
    assert!(CustomHeaders::default().is_empty());
}

#[test]
fn custom_headers_leave_alone_what_is_not_theirs() {
    for name in [
        "Host",
        "content-length",
        "Content-Type",
        "content-encoding",
        "transfer-encoding",
        "connection",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-authorization",
        "expect",
        "user-agent",
        "webhook-id",
        "Webhook-Signature",
        "ce-type",
        "x-forwarded-for",
        "signature",
        "a b",
        "a:b",
        "ä",
        "",
        "x\r\ny",
    ] {
        assert!(CustomHeaders::parse("headers", &json!({ name: "v" })).is_err(), "{name}");
    }
    for value in ["a\r\nb", "a\nb", "a\0b", " a", "a\t", "ä", "a\u{7f}"] {
        assert!(CustomHeaders::parse("headers", &json!({ "x-a": value })).is_err(), "{value:?}");
    }
    for value in [json!(["x-a"]), json!({ "x-a": 1 }), json!({ "x-a": "1", "X-A": "2" })] {
        assert!(CustomHeaders::parse("headers", &value).is_err(), "{value}");
    }
}

#[test]
fn custom_headers_are_bounded() {
    let many = |count: usize, length: usize| {
        let headers: Map<_, _> = (0..count).map(|n| (format!("x-{n:02}"), "v".repeat(length).into())).collect();
        CustomHeaders::parse("headers", &Value::Object(headers))
    };
    assert!(many(32, 252).is_ok());
    assert_eq!(many(33, 1).unwrap_err().to_string(), "`headers` must have at most 32 headers");
    assert_eq!(many(32, 253).unwrap_err().to_string(), "`headers` must have at most 8192 bytes in all");
    assert!(many(1, 1024).is_ok());
    assert_eq!(many(1, 1025).unwrap_err().to_string(), "`headers.x-00` must have at most 1024 bytes");
    let long = CustomHeaders::parse("headers", &json!({ "x".repeat(1025): "v" })).unwrap_err();
    assert_eq!(long.member.len(), "headers.".len() + 64);
}

#[test]
fn client_certificates_read_back_and_show_fingerprints() {
    for (kind, ca) in [("PRIVATE KEY", None), ("EC PRIVATE KEY", Some(pem("CERTIFICATE"))), ("RSA PRIVATE KEY", None)] {
        let given = json!({ "certificate": pem("CERTIFICATE"), "private_key": pem(kind), "ca": ca });
        let tls = ClientTls::parse("client_tls", given.clone()).unwrap();
        assert_eq!(tls.to_secret_json(), given);
        let again = ClientTls::from_secret_json(given).unwrap();
        assert_eq!(again.digest(), tls.digest());
        assert_eq!(format!("{tls:?}"), "ClientTls(…)");
        // `printf hello | sha256sum`
        let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let mut view = json!({ "certificate_sha256": hello });
        if ca.is_some() {
            view["ca_sha256"] = json!([hello]);
        }
        assert_eq!(tls.public_view(), view);
    }
}

#[test]
fn whatever_differs_makes_another_client() {
    let certificate = || pem("CERTIFICATE");
    let digest = |certificate: String, key: &str, ca: Option<String>| {
        let given = json!({ "certificate": certificate, "private_key": pem(key), "ca": ca });
        ClientTls::parse("client_tls", given).unwrap().digest()
    };
    let digests = std::collections::BTreeSet::from([
        digest(certificate(), "PRIVATE KEY", None),
        digest(certificate(), "EC PRIVATE KEY", None),
        digest(certificate(), "PRIVATE KEY", Some(certificate())),
        digest(certificate() + &certificate(), "PRIVATE KEY", None),
    ]);
    assert_eq!(digests.len(), 4);
}

#[test]
fn client_certificates_of_the_wrong_kind_are_refused() {
    let (certificate, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
    let certificates = "must be certificates in PEM (`-----BEGIN CERTIFICATE-----`)";
    let keys = "must be one private key in PEM, as PKCS#8, SEC1 or PKCS#1";
    for (given, member, rule) in [
        (json!({ "private_key": key }), "certificate", "is missing"),
        (json!({ "certificate": key, "private_key": key }), "certificate", certificates),
        (json!({ "certificate": "-----BEGIN CERTIFICATE-----\n!", "private_key": key }), "certificate", certificates),
        (
            json!({ "certificate": "c".repeat(PEM_MAX + 1), "private_key": key }),
            "certificate",
            "must have at most 32768 bytes",
        ),
        (json!({ "certificate": certificate }), "private_key", "is missing"),
        (json!({ "certificate": certificate, "private_key": certificate }), "private_key", keys),
        (json!({ "certificate": certificate, "private_key": format!("{key}{key}") }), "private_key", keys),
        (
            json!({ "certificate": certificate, "private_key": pem("ENCRYPTED PRIVATE KEY") }),
            "private_key",
            "must not be encrypted; nobody could enter its passphrase",
        ),
        (json!({ "certificate": certificate, "private_key": key, "ca": "" }), "ca", certificates),
    ] {
        let refused = ClientTls::parse("client_tls", given).unwrap_err();
        assert_eq!((refused.member, refused.rule.as_ref()), (format!("client_tls.{member}"), rule));
    }
}
