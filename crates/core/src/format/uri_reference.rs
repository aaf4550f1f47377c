//! Any text as a URI-reference (RFC 3986, section 4.1).

use iri_string::types::UriReferenceStr;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// What no URI-reference holds anywhere, besides what is not ASCII.
const NOWHERE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// What may not be everywhere in a path, or means something there.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// `text` itself if it is a URI-reference. Otherwise one that people still recognise: the text with as little of it
/// percent-encoded as will do, and as a path if it is no URI-reference even so.
pub fn uri_reference(text: &str) -> String {
    let mended = utf8_percent_encode(text, NOWHERE).to_string();
    if UriReferenceStr::new(&mended).is_ok() { mended } else { utf8_percent_encode(text, RESERVED).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_reference_stays_as_it_is() {
        for text in [
            "hookcast",
            "/events/citations",
            "https://user@hookcast.example:8443/a%20b?c=d/e#f",
            "http://[2001:db8::1]/",
            "urn:example:hookcast",
            "mailto:hookcast@example.org",
            "//host/path",
            "",
        ] {
            assert_eq!(uri_reference(text), text);
        }
    }

    #[test]
    fn other_texts_become_one() {
        assert_eq!(uri_reference("hookcast of the library"), "hookcast%20of%20the%20library");
        assert_eq!(uri_reference("Bücher"), "B%C3%BCcher");
        assert_eq!(uri_reference("https://hookcast.example/my feed"), "https://hookcast.example/my%20feed");
        assert_eq!(uri_reference("100%"), "100%25");
        assert_eq!(uri_reference("a#b#c"), "a%23b%23c");
        assert_eq!(uri_reference("1a:b/[c]"), "1a%3Ab/%5Bc%5D");
        assert_eq!(uri_reference("http://host:port/"), "http%3A//host%3Aport/");
    }

    proptest::proptest! {
        #[test]
        fn every_text_becomes_one_and_stays_one(text in proptest::prelude::any::<String>()) {
            let made = uri_reference(&text);
            proptest::prop_assert!(UriReferenceStr::new(&made).is_ok(), "{:?}", made);
            proptest::prop_assert_eq!(uri_reference(&made), made);
        }
    }
}
