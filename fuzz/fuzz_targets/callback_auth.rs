//! What owners give to authenticate with: never a panic, the same again from what is sealed, and no secret in what is shown.
#![no_main]

use hookcast_core::callback_auth::{CallbackAuth, ClientTls, CustomHeaders, HEADERS_MAX, HEADERS_MAX_BYTES};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    if let Ok(auth) = CallbackAuth::parse("auth", value.clone(), |_| Ok(())) {
        let kept = auth.to_secret_json();
        let back = CallbackAuth::from_secret_json(kept.clone()).expect("what is kept reads back");
        // Tokens' URLs are whole in what is kept alone.
        assert_eq!(back.to_secret_json(), kept);
        assert_eq!(back.public_view(), auth.public_view());
        for secret in ["token", "password", "value", "client_secret"] {
            assert!(auth.public_view().get(secret).is_none(), "{secret} is shown");
        }
    }
    if let Ok(tls) = ClientTls::parse("tls", value.clone()) {
        let back = ClientTls::from_secret_json(tls.to_secret_json()).expect("what is kept reads back");
        assert_eq!(back.digest(), tls.digest());
        assert!(tls.public_view().get("private_key").is_none(), "the key is shown");
    }
    if let Ok(headers) = CustomHeaders::parse("headers", &value) {
        assert!(headers.iter().count() <= HEADERS_MAX);
        assert!(headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= HEADERS_MAX_BYTES);
        for (name, value) in headers.iter() {
            assert!(!name.bytes().chain(value.bytes()).any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "a header in two");
        }
        let kept = serde_json::to_value(&headers).expect("headers are JSON");
        assert_eq!(CustomHeaders::parse("headers", &kept), Ok(headers));
    }
});
