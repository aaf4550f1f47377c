//! What is sealed opens as it was, for those who may open it and for nobody else.

use proptest::{collection::vec, prelude::*};
use secrecy::ExposeSecret as _;

use super::*;

const CONTEXT: &[u8] = b"sub_1";
const DOCUMENT: &[u8] = br#"{"secret":"whsec_c2VjcmV0"}"#;
const NONCE: [u8; NONCE_LEN] = [9; NONCE_LEN];

fn key(byte: u8) -> MasterKey {
    MasterKey::parse(MasterKey::generate([byte; 32]).expose_secret()).unwrap()
}

fn keys(current: u8, earlier: &[u8]) -> MasterKeys {
    MasterKeys::new(key(current), earlier.iter().copied().map(key).collect())
}

fn document(opened: Result<Opened, OpenError>) -> Vec<u8> {
    match opened.unwrap() {
        Opened::Document(document) => document.expose_secret().to_vec(),
        Opened::Legacy(_) => panic!("taken for a bare secret"),
    }
}

/// The test vector of draft-irtf-cfrg-xchacha-03, appendix A.3.1, in this format.
#[test]
fn documents_are_encrypted_in_xchacha20_poly1305() {
    let random: [u8; 32] = std::array::from_fn(|at| 0x80 + u8::try_from(at).unwrap());
    let key = MasterKey::parse(MasterKey::generate(random).expose_secret()).unwrap();
    let id = *key.id().as_bytes();
    let keys = MasterKeys::new(key, Vec::new());
    let nonce = std::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap());
    let context = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
    let document = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";

    let sealed = Sealed::seal(Some(&keys), &context, document, nonce);
    let (head, rest) = sealed.as_bytes().split_at(29);
    assert_eq!(head, [&[1], &id[..], &nonce[..]].concat());
    let (encrypted, authenticator) = rest.split_at(document.len());
    assert_eq!(encrypted[..8], [0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]);
    assert_eq!(
        authenticator,
        [0xc0, 0x87, 0x59, 0x24, 0xc1, 0xc7, 0x98, 0x79, 0x47, 0xde, 0xaf, 0xd8, 0x78, 0x0a, 0xcf, 0x49]
    );
}

#[test]
fn without_a_master_key_the_document_is_kept_as_it_is() {
    let sealed = Sealed::seal(None, CONTEXT, DOCUMENT, NONCE);
    assert_eq!(sealed.as_bytes(), [b"\0", DOCUMENT].concat());
    assert_eq!(document(sealed.open(None, CONTEXT)), DOCUMENT);
    assert_eq!(document(sealed.open(Some(&keys(1, &[])), CONTEXT)), DOCUMENT);
}

#[test]
fn the_context_belongs_to_what_is_sealed() {
    let keys = keys(1, &[]);
    let sealed = Sealed::seal(Some(&keys), CONTEXT, DOCUMENT, NONCE);
    let error = sealed.open(Some(&keys), b"sub_2").unwrap_err();
    assert_eq!(error, OpenError::Broken(keys.current().id()));
}

#[test]
fn an_earlier_key_opens_what_it_sealed_and_a_key_that_is_gone_is_named() {
    let sealed = Sealed::seal(Some(&keys(1, &[])), CONTEXT, DOCUMENT, NONCE);
    assert_eq!(document(sealed.open(Some(&keys(3, &[2, 1])), CONTEXT)), DOCUMENT);

    let id = key(1).id();
    let error = sealed.open(Some(&keys(3, &[2])), CONTEXT).unwrap_err();
    assert_eq!(error, OpenError::UnknownKey(id));
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    let error = sealed.open(None, CONTEXT).unwrap_err();
    assert_eq!(error, OpenError::NoMasterKey(id));
    assert!(error.to_string().contains(&id.to_string()), "{error}");
}

#[test]
fn what_is_not_under_the_current_key_is_known() {
    let (first, second) = (keys(1, &[]), keys(2, &[1]));
    let plain = Sealed::seal(None, CONTEXT, DOCUMENT, NONCE);
    let sealed = Sealed::seal(Some(&first), CONTEXT, DOCUMENT, NONCE);
    assert!(plain.is_sealed_with(None) && !plain.is_sealed_with(Some(&first)));
    assert!(sealed.is_sealed_with(Some(&first)) && !sealed.is_sealed_with(Some(&second)));
    assert!(!sealed.is_sealed_with(None));
    for legacy in [Sealed::from_bytes(vec![0; 32]), Sealed::from_bytes(vec![1; 32])] {
        assert!(!legacy.is_sealed_with(None) && !legacy.is_sealed_with(Some(&first)));
    }
}

#[test]
fn a_bare_secret_of_an_earlier_version_is_told_from_a_document() {
    let bare: Vec<u8> = (0..32).collect();
    for keys in [None, Some(&keys(1, &[]))] {
        match Sealed::from_bytes(bare.clone()).open(keys, CONTEXT).unwrap() {
            Opened::Legacy(secret) => assert_eq!(secret.expose_secret(), bare),
            Opened::Document(_) => panic!("taken for a document"),
        }
    }
    let document_of_31 = [b'7'; 31];
    let kept = Sealed::seal(None, CONTEXT, &document_of_31, NONCE).into_bytes();
    assert_eq!(document(Sealed::from_bytes(kept).open(None, CONTEXT)), [&document_of_31[..], b" "].concat());
}

#[test]
fn what_was_never_sealed_does_not_open() {
    let keys = keys(1, &[]);
    let open = |bytes: &[u8]| Sealed::from_bytes(bytes.to_vec()).open(Some(&keys), CONTEXT).unwrap_err();
    assert_eq!(open(b""), OpenError::Truncated);
    assert_eq!(open(b"\x02{}"), OpenError::UnknownForm(2));
    let sealed = Sealed::seal(Some(&keys), CONTEXT, b"", NONCE);
    for length in (1..sealed.as_bytes().len()).filter(|length| *length != LEGACY_LEN) {
        assert_eq!(open(&sealed.as_bytes()[..length]), OpenError::Truncated, "{length}");
    }
}

#[test]
fn nothing_shows() {
    for keys in [None, Some(&keys(1, &[]))] {
        let sealed = Sealed::seal(keys, CONTEXT, DOCUMENT, NONCE);
        assert_eq!(format!("{sealed:?}"), "Sealed(…)");
        let opened = format!("{:?}", sealed.open(keys, CONTEXT).unwrap());
        assert!(!opened.contains("whsec") && !opened.contains("123"), "{opened}");
    }
}

proptest! {
    #[test]
    fn documents_read_back(bytes in vec(any::<u8>(), 0..200), context in vec(any::<u8>(), 0..40), nonce: [u8; NONCE_LEN]) {
        let keys = keys(1, &[]);
        for keys in [None, Some(&keys)] {
            let sealed = Sealed::seal(keys, &context, &bytes, nonce);
            let mut expected = bytes.clone();
            if keys.is_none() && bytes.len() == LEGACY_LEN - 1 {
                expected.push(b' ');
            }
            prop_assert_eq!(document(sealed.open(keys, &context)), expected);
        }
    }

    /// The first byte apart: made 0 it says that the rest is a document, and what is then read is no JSON.
    #[test]
    fn a_change_of_any_bit_is_noticed(bytes in vec(any::<u8>(), 0..60), at: prop::sample::Index, bit in 0..8_u8) {
        let keys = keys(1, &[]);
        let mut sealed = Sealed::seal(Some(&keys), CONTEXT, &bytes, NONCE).into_bytes();
        let at = 1 + at.index(sealed.len() - 1);
        sealed[at] ^= 1 << bit;
        prop_assert!(Sealed::from_bytes(sealed).open(Some(&keys), CONTEXT).is_err());
    }

    /// Nothing that lies in a store is taken for sealed by chance.
    #[test]
    fn of_any_bytes_those_that_say_so_are_plain(mut bytes in vec(any::<u8>(), 0..80), form in 0..3_u8) {
        let keys = keys(1, &[]);
        if let Some(first) = bytes.first_mut() {
            *first = form;
        }
        let readable = bytes.len() == LEGACY_LEN || bytes.first() == Some(&PLAIN);
        prop_assert_eq!(Sealed::from_bytes(bytes).open(Some(&keys), CONTEXT).is_ok(), readable);
    }
}
