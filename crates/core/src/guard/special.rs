//! Which addresses are no hosts on the public internet: the registries as tables.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{Ipv4Net, Ipv6Net};

/// What an address is for, if not for hosts on the public internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// A cloud's service that tells secrets to whoever asks from inside.
    Metadata,
    /// The host itself, or "this network".
    Unspecified,
    /// The host itself.
    Loopback,
    /// A private network, including IPv6's unique local and (deprecated) site-local addresses.
    Private,
    /// A carrier's network behind its address translation (RFC 6598).
    CarrierNat,
    /// The link that the host is on.
    LinkLocal,
    /// Examples in documentation.
    Documentation,
    /// Tests of network devices.
    Benchmarking,
    /// A protocol's own use, such as an anycast service.
    Protocol,
    /// A mechanism that carries IPv4 in IPv6 or the other way round.
    Transition,
    /// A group of hosts.
    Multicast,
    /// All hosts of the link.
    Broadcast,
    /// Nothing yet.
    Reserved,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "the address of a cloud metadata service",
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::CarrierNat => "a carrier's shared address",
            Self::LinkLocal => "a link-local address",
            Self::Documentation => "an address for documentation",
            Self::Benchmarking => "an address for benchmarks",
            Self::Protocol => "an address that belongs to a protocol",
            Self::Transition => "an address of an IPv6 transition mechanism",
            Self::Multicast => "a multicast address",
            Self::Broadcast => "a broadcast address",
            Self::Reserved => "a reserved address",
        })
    }
}

/// What is special about an address as it is, whatever it carries; `None` for globally reachable unicast.
pub(super) fn special_kind(address: IpAddr) -> Option<AddressKind> {
    match address {
        IpAddr::V4(v4) => SPECIAL_V4.iter().find(|(network, _)| network.contains(&v4)).map(|(_, kind)| *kind),
        IpAddr::V6(v6) => {
            let listed = SPECIAL_V6.iter().find(|(network, _)| network.contains(&v6)).map(|(_, kind)| *kind);
            // IANA gives out global unicast addresses from here only.
            listed.or_else(|| (!GLOBAL_UNICAST_V6.contains(&v6)).then_some(AddressKind::Reserved))
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

const GLOBAL_UNICAST_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// IANA's IPv4 Special-Purpose Address Registry (RFC 6890 and its successors), multicast, and metadata services. The
/// first match counts. Blocks that the registry calls globally reachable are here too: no receiver lives in them.
pub(super) const SPECIAL_V4: &[(Ipv4Net, AddressKind)] = &[
    (v4(169, 254, 169, 254, 32), AddressKind::Metadata), // AWS, Azure, Google Cloud and most others
    (v4(169, 254, 170, 2, 32), AddressKind::Metadata),   // credentials of AWS's containers
    (v4(169, 254, 170, 23, 32), AddressKind::Metadata),  // credentials of AWS's Kubernetes pods
    (v4(169, 254, 0, 23, 32), AddressKind::Metadata),    // Tencent Cloud
    (v4(169, 254, 42, 42, 32), AddressKind::Metadata),   // Scaleway
    (v4(100, 100, 100, 200, 32), AddressKind::Metadata), // Alibaba Cloud
    (v4(168, 63, 129, 16, 32), AddressKind::Metadata),   // Azure's wire server, at a public address
    (v4(192, 0, 0, 192, 32), AddressKind::Metadata),     // Oracle Cloud Classic
    (v4(0, 0, 0, 0, 8), AddressKind::Unspecified),       // RFC 791
    (v4(10, 0, 0, 0, 8), AddressKind::Private),          // RFC 1918
    (v4(100, 64, 0, 0, 10), AddressKind::CarrierNat),    // RFC 6598
    (v4(127, 0, 0, 0, 8), AddressKind::Loopback),        // RFC 1122
    (v4(169, 254, 0, 0, 16), AddressKind::LinkLocal),    // RFC 3927
    (v4(172, 16, 0, 0, 12), AddressKind::Private),       // RFC 1918
    (v4(192, 0, 0, 0, 24), AddressKind::Protocol),       // RFC 6890
    (v4(192, 0, 2, 0, 24), AddressKind::Documentation),  // RFC 5737
    (v4(192, 31, 196, 0, 24), AddressKind::Protocol),    // AS112, RFC 7535
    (v4(192, 52, 193, 0, 24), AddressKind::Protocol),    // AMT, RFC 7450
    (v4(192, 88, 99, 0, 24), AddressKind::Transition),   // 6to4 relays, RFC 7526
    (v4(192, 168, 0, 0, 16), AddressKind::Private),      // RFC 1918
    (v4(192, 175, 48, 0, 24), AddressKind::Protocol),    // AS112, RFC 7534
    (v4(198, 18, 0, 0, 15), AddressKind::Benchmarking),  // RFC 2544
    (v4(198, 51, 100, 0, 24), AddressKind::Documentation), // RFC 5737
    (v4(203, 0, 113, 0, 24), AddressKind::Documentation), // RFC 5737
    (v4(224, 0, 0, 0, 4), AddressKind::Multicast),       // RFC 5771
    (v4(255, 255, 255, 255, 32), AddressKind::Broadcast), // RFC 919
    (v4(240, 0, 0, 0, 4), AddressKind::Reserved),        // RFC 1112
];

/// The same for IPv6. What lies outside [`GLOBAL_UNICAST_V6`] is listed only where there is more to say than
/// "reserved".
pub(super) const SPECIAL_V6: &[(Ipv6Net, AddressKind)] = &[
    (v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254], 128), AddressKind::Metadata), // AWS
    (v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023], 128), AddressKind::Metadata), // credentials of AWS's Kubernetes pods
    (v6([0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042], 128), AddressKind::Metadata), // Scaleway
    (v6([0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254], 128), AddressKind::Metadata), // Google Cloud
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 128), AddressKind::Unspecified),             // RFC 4291
    (v6([0, 0, 0, 0, 0, 0, 0, 1], 128), AddressKind::Loopback),                // RFC 4291
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 96), AddressKind::Transition),               // IPv4-compatible, RFC 4291
    (v6([0x0064, 0xff9b, 1, 0, 0, 0, 0, 0], 48), AddressKind::Transition),     // local NAT64, RFC 8215
    (v6([0x0100, 0, 0, 0, 0, 0, 0, 0], 64), AddressKind::Protocol),            // discard-only, RFC 6666
    (v6([0x0100, 0, 0, 1, 0, 0, 0, 0], 64), AddressKind::Protocol),            // dummy prefix, RFC 9780
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32), AddressKind::Transition),          // Teredo, RFC 4380
    (v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48), AddressKind::Benchmarking),        // RFC 5180
    (v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), AddressKind::Protocol),            // RFC 2928
    (v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32), AddressKind::Documentation),  // RFC 3849
    (v6([0x2620, 0x004f, 0x8000, 0, 0, 0, 0, 0], 48), AddressKind::Protocol),  // AS112, RFC 7534
    (v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), AddressKind::Documentation),       // RFC 9637
    (v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16), AddressKind::Protocol),            // segment routing, RFC 9602
    (v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7), AddressKind::Private),              // RFC 4193
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), AddressKind::LinkLocal),           // RFC 4291
    (v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10), AddressKind::Private),             // RFC 3879
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), AddressKind::Multicast),            // RFC 4291
];
