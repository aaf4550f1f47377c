//! Which addresses a callback may go to: globally reachable unicast, and what the operator allows.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The operator's exceptions: networks that callbacks may reach although they are not public.
///
/// An exception covers all that lies in it, such as a cloud's metadata service, so it should be as narrow as possible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Vec<IpNet>);

impl AllowedNetworks {
    /// Exceptions for these networks; none at all if the list is empty.
    #[must_use]
    pub const fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether one of the networks has this address. An IPv4-mapped address is not taken for its IPv4 address here.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is no exception.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An address that callbacks may not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind}")]
pub struct SpecialAddress {
    /// The address as it was asked about, an IPv6 address that stands for an IPv4 address included.
    pub address: IpAddr,
    /// What makes it special.
    pub kind: AddressKind,
}

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

/// Judges one address.
///
/// An IPv6 address that only stands for an IPv4 address (IPv4-mapped, NAT64's `64:ff9b::/96`, 6to4) is judged as that
/// one. An address in `allowed`, either as it is or as the IPv4 address it stands for, always passes.
///
/// # Errors
///
/// Everything that is not globally reachable unicast, and metadata services at public addresses.
pub fn check_address(address: IpAddr, allowed: &AllowedNetworks) -> Result<(), SpecialAddress> {
    let meant = match address {
        IpAddr::V6(v6) => embedded_v4(v6).map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    };
    match special_kind(meant) {
        Some(kind) if !allowed.contains(address) && !allowed.contains(meant) => Err(SpecialAddress { address, kind }),
        _ => Ok(()),
    }
}

/// Judges all addresses that a name resolved to, and answers those that may be dialled: a single bad one refuses the name,
/// because which of them is dialled is not the sender's to say. No address at all passes, as there is nothing to dial.
///
/// `localhost` often names both `127.0.0.1` and `::1`. Where only one of them is allowed the other is left out.
///
/// # Errors
///
/// The first address that [`check_address`] refuses.
pub fn check_resolved(addresses: &[IpAddr], allowed: &AllowedNetworks) -> Result<Vec<IpAddr>, SpecialAddress> {
    let is_allowed_localhost = |address: &IpAddr| LOCALHOST.contains(address) && allowed.contains(*address);
    let names_localhost = addresses.iter().any(is_allowed_localhost);
    addresses
        .iter()
        .filter(|address| !(names_localhost && LOCALHOST.contains(address) && !is_allowed_localhost(address)))
        .map(|address| check_address(*address, allowed).map(|()| *address))
        .collect()
}

const LOCALHOST: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The IPv4 address that packets to this address end up at.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        // IPv4-mapped (RFC 4291, section 2.5.5.2) and NAT64's well-known prefix (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => (g, h),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

fn special_kind(address: IpAddr) -> Option<AddressKind> {
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
const SPECIAL_V4: &[(Ipv4Net, AddressKind)] = &[
    (v4(169, 254, 169, 254, 32), AddressKind::Metadata), // AWS, Azure, Google Cloud and most others
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
const SPECIAL_V6: &[(Ipv6Net, AddressKind)] = &[
    (v6([0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254], 128), AddressKind::Metadata), // AWS
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(list: &[&str]) -> AllowedNetworks {
        AllowedNetworks::new(list.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn kind(address: impl Into<IpAddr>) -> Option<AddressKind> {
        check_address(address.into(), &AllowedNetworks::default()).err().map(|special| special.kind)
    }

    #[test]
    fn every_special_block_is_refused_from_end_to_end() {
        use AddressKind::*;
        for (first, last, expected) in [
            ("0.0.0.0", "0.255.255.255", Unspecified),
            ("10.0.0.0", "10.255.255.255", Private),
            ("100.64.0.0", "100.127.255.255", CarrierNat),
            ("100.100.100.200", "100.100.100.200", Metadata),
            ("127.0.0.0", "127.255.255.255", Loopback),
            ("168.63.129.16", "168.63.129.16", Metadata),
            ("169.254.0.0", "169.254.255.255", LinkLocal),
            ("169.254.169.254", "169.254.169.254", Metadata),
            ("172.16.0.0", "172.31.255.255", Private),
            ("192.0.0.0", "192.0.0.255", Protocol),
            ("192.0.0.9", "192.0.0.10", Protocol),
            ("192.0.0.192", "192.0.0.192", Metadata),
            ("192.0.2.0", "192.0.2.255", Documentation),
            ("192.31.196.0", "192.31.196.255", Protocol),
            ("192.52.193.0", "192.52.193.255", Protocol),
            ("192.88.99.0", "192.88.99.255", Transition),
            ("192.168.0.0", "192.168.255.255", Private),
            ("192.175.48.0", "192.175.48.255", Protocol),
            ("198.18.0.0", "198.19.255.255", Benchmarking),
            ("198.51.100.0", "198.51.100.255", Documentation),
            ("203.0.113.0", "203.0.113.255", Documentation),
            ("224.0.0.0", "239.255.255.255", Multicast),
            ("240.0.0.0", "255.255.255.254", Reserved),
            ("255.255.255.255", "255.255.255.255", Broadcast),
            ("::", "::", Unspecified),
            ("::1", "::1", Loopback),
            ("::2", "::ffff:ffff", Transition),
            ("::127.0.0.1", "::8.8.8.8", Transition),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", Loopback),
            ("::ffff:0:7f00:1", "::ffff:0:808:808", Reserved),
            ("::1:0:0:0", "64:ff9a:ffff::", Reserved),
            ("64:ff9b::10.0.0.0", "64:ff9b::10.255.255.255", Private),
            ("64:ff9b::1:0:0", "64:ff9b:0:ffff::", Reserved),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Transition),
            ("100::", "100::ffff:ffff:ffff:ffff", Protocol),
            ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", Protocol),
            ("100:0:0:2::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Transition),
            ("2001:1::1", "2001:1::3", Protocol),
            ("2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", Benchmarking),
            ("2001:10::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("2002:7f00:1::", "2002:7fff:ffff::1", Loopback),
            ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("6000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("fd00:ec2::254", "fd00:ec2::254", Metadata),
            ("fd20:ce::254", "fd20:ce::254", Metadata),
            ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LinkLocal),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Multicast),
        ] {
            for address in [first, last] {
                assert_eq!(kind(address.parse::<IpAddr>().unwrap()), Some(expected), "{address}");
            }
        }
    }

    #[test]
    fn the_neighbours_of_special_blocks_are_public() {
        let neighbours = "1.0.0.0 9.255.255.255 \
            11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15 \
            168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 \
            192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 \
            203.0.114.0 223.255.255.255 8.8.8.8 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2000:: 2001:200:: \
            2001:4860:4860::8888 2001:db7:: 2001:db9:: 2002:808:808::1 2620:4f:8001:: 2a00:1450::1 3ffe:: \
            3fff:1000::";
        for address in neighbours.split(' ') {
            assert_eq!(kind(address.parse::<IpAddr>().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn an_allowed_network_lets_its_addresses_pass() {
        let allowed = networks(&["127.0.0.0/8", "fd00:1::/32", "64:ff9b:1::/48"]);
        for address in
            ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.9.9.9", "fd00:1::9", "64:ff9b:1::8.8.8.8", "8.8.8.8"]
        {
            assert_eq!(check_address(address.parse().unwrap(), &allowed), Ok(()), "{address}");
        }
        for address in ["10.0.0.1", "::1", "fd00:2::1", "::ffff:10.0.0.1", "169.254.169.254"] {
            assert!(check_address(address.parse().unwrap(), &allowed).is_err(), "{address}");
        }
    }

    #[test]
    fn one_bad_address_refuses_a_name() {
        let [good, bad] = ["8.8.8.8", "10.0.0.1"].map(|address| address.parse().unwrap());
        let none = AllowedNetworks::default();
        assert_eq!(check_resolved(&[], &none), Ok(vec![]));
        assert_eq!(check_resolved(&[good, good], &none), Ok(vec![good, good]));
        let refusal = SpecialAddress { address: bad, kind: AddressKind::Private };
        assert_eq!(check_resolved(&[good, bad], &none), Err(refusal));
        assert_eq!(check_resolved(&[bad, good], &none), Err(refusal));
        assert_eq!(check_resolved(&[good, bad], &networks(&["10.0.0.0/8"])), Ok(vec![good, bad]));
        assert_eq!(refusal.to_string(), "10.0.0.1 is a private address");
    }

    #[test]
    fn of_the_two_addresses_of_localhost_the_allowed_one_suffices() {
        let allowed = networks(&["127.0.0.0/8"]);
        let [four, six, other] = ["127.0.0.1", "::1", "10.0.0.1"].map(|address| address.parse().unwrap());
        assert_eq!(check_resolved(&[six, four], &allowed), Ok(vec![four]));
        assert!(check_resolved(&[six], &allowed).is_err());
        assert!(check_resolved(&[four, other], &allowed).is_err());
        assert!(check_resolved(&[four, six], &AllowedNetworks::default()).is_err());
    }

    /// Mostly addresses near the edges of special blocks, where the verdict turns.
    fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
        let edge = (0..SPECIAL_V4.len(), -2_i64..3, any::<bool>()).prop_map(|(index, offset, last)| {
            let network = SPECIAL_V4[index].0;
            let edge = if last { network.broadcast() } else { network.network() };
            Ipv4Addr::from_bits((i64::from(edge.to_bits()) + offset) as u32)
        });
        prop_oneof![edge, any::<Ipv4Addr>()]
    }

    proptest! {
        #[test]
        fn an_embedded_address_is_judged_like_itself(inner in ipv4(), low in any::<[u16; 5]>()) {
            let [a, b, c, d] = inner.octets();
            let (high, rest) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let expected = kind(inner);
            prop_assert_eq!(kind(inner.to_ipv6_mapped()), expected);
            prop_assert_eq!(kind(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, rest)), expected);
            prop_assert_eq!(kind(Ipv6Addr::new(0x2002, high, rest, low[0], low[1], low[2], low[3], low[4])), expected);
        }

        #[test]
        fn allowing_everything_allows_everything(address in any::<IpAddr>()) {
            prop_assert_eq!(check_address(address, &networks(&["0.0.0.0/0", "::/0"])), Ok(()));
        }
    }
}
