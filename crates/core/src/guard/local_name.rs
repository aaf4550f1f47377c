//! Host names that lead into a local network by definition, wherever they are resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::AllowedNetworks;

/// What a local name stands for, which decides which exception lets it pass.
#[derive(Clone, Copy)]
enum Place {
    /// The host itself.
    Loopback,
    /// A cloud's metadata service.
    Metadata,
    /// Some host of the local network. Where is known only once the name is resolved, and judged then.
    Network,
}

/// The names, each with all names below it. The first match counts.
const LOCAL_NAMES: &[(&str, Place)] = &[
    ("localhost", Place::Loopback), // RFC 6761
    ("localhost.localdomain", Place::Loopback),
    ("localhost4", Place::Loopback),
    ("localhost4.localdomain4", Place::Loopback),
    ("localhost6", Place::Loopback),
    ("localhost6.localdomain6", Place::Loopback),
    ("ip6-localhost", Place::Loopback),
    ("ip6-loopback", Place::Loopback),
    ("metadata", Place::Metadata),
    ("metadata.google.internal", Place::Metadata),
    ("metadata.goog", Place::Metadata),
    ("instance-data", Place::Metadata),
    ("instance-data.ec2.internal", Place::Metadata),
    ("internal", Place::Network), // set aside by ICANN in 2024
    ("local", Place::Network),    // RFC 6762
    ("localdomain", Place::Network),
    ("home.arpa", Place::Network), // RFC 8375
];

/// Whether `name` is local and no exception lets it pass. It must be in lower case and without a root dot.
pub(super) fn is_refused(name: &str, allowed: &AllowedNetworks) -> bool {
    let Some((_, place)) = LOCAL_NAMES.iter().find(|(local, _)| is_within(name, local)) else {
        return false;
    };
    match place {
        Place::Loopback => {
            !allowed.contains(IpAddr::V4(Ipv4Addr::LOCALHOST)) && !allowed.contains(IpAddr::V6(Ipv6Addr::LOCALHOST))
        }
        Place::Metadata => !allowed.names(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))),
        Place::Network => allowed.is_empty(),
    }
}

/// Whether `name` is `parent` or lies below it.
fn is_within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|below| below.is_empty() || below.ends_with('.'))
}
