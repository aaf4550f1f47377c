//! What a store may hold in place of sealed secrets: never a panic, and nothing that was not sealed with the key for this record is
//! taken for it.
#![no_main]

use hookcast_core::sealing::{MasterKey, MasterKeys, OpenError, Opened, Sealed};
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret as _;

/// The master key of 32 bytes of 7.
const KEY: &str = "hcmk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fuzz_target!(|input: (&[u8], [u8; 24], u16)| {
    let (bytes, nonce, place) = input;
    let keys = MasterKeys::new(MasterKey::parse(KEY).expect("a key"), Vec::new());

    // Anything at all.
    let foreign = Sealed::from_bytes(bytes.to_vec());
    for keys in [None, Some(&keys)] {
        match foreign.open(keys, b"record") {
            Ok(Opened::Legacy(secret)) => assert_eq!(secret.expose_secret(), bytes),
            Ok(Opened::Document(document)) => assert_eq!([&[0], document.expose_secret()].concat(), bytes),
            Err(error) => assert_ne!(error.to_string(), ""),
        }
    }

    // What was sealed comes back, with one byte changed it does not, and neither in another record.
    let sealed = Sealed::seal(Some(&keys), b"record", bytes, nonce);
    let opened = sealed.open(Some(&keys), b"record").expect("what was sealed opens");
    assert!(matches!(opened, Opened::Document(document) if document.expose_secret() == bytes));
    assert!(matches!(sealed.open(Some(&keys), b"other"), Err(OpenError::Broken(_))));
    let mut damaged = sealed.into_bytes();
    let at = 1 + usize::from(place) % (damaged.len() - 1);
    damaged[at] ^= 1;
    assert!(Sealed::from_bytes(damaged).open(Some(&keys), b"record").is_err());
});
