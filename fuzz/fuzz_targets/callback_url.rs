//! Callback URLs: never a panic, and no special address by any spelling.
#![no_main]

use hookcast_core::guard::{AllowedNetworks, CallbackUrl, Rules, check_address};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let nothing = AllowedNetworks::default();
    let Ok(url) = CallbackUrl::parse(text, &Rules::default()) else { return };
    assert_eq!(url.as_str(), text);
    assert!(matches!(url.url().scheme(), "http" | "https"));
    match url.url().host() {
        Some(url::Host::Ipv4(address)) => assert!(check_address(address.into(), &nothing).is_ok()),
        Some(url::Host::Ipv6(address)) => assert!(check_address(address.into(), &nothing).is_ok()),
        Some(url::Host::Domain(name)) => assert_ne!(name.trim_end_matches('.').rsplit('.').next(), Some("localhost")),
        None => panic!("no host"),
    }
});
