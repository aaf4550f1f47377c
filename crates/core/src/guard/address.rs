//! Which addresses a callback may go to: globally reachable unicast, and what the operator allows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AddressKind, AllowedNetworks, embedded, special::special_kind};

/// An address that callbacks may not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind}")]
pub struct SpecialAddress {
    /// The address as it was asked about, an IPv6 address that stands for an IPv4 address included.
    pub address: IpAddr,
    /// What makes it special, or an address inside it.
    pub kind: AddressKind,
}

/// Judges one address.
///
/// An IPv6 address that only stands for an IPv4 address (IPv4-mapped, NAT64's `64:ff9b::/96`, 6to4) is judged as that
/// one, and so are its exceptions. One that carries IPv4 addresses (local NAT64, Teredo, ISATAP, IPv4-compatible) is judged as
/// itself and as each of these. An address that is itself named in `allowed` passes in any case.
///
/// # Errors
///
/// Everything that is not globally reachable unicast, and metadata services at public addresses.
pub fn check_address(address: IpAddr, allowed: &AllowedNetworks) -> Result<(), SpecialAddress> {
    if allowed.names(address) {
        return Ok(());
    }
    let refused = |meant: IpAddr| special_kind(meant).filter(|kind| !allowed.permits(meant, *kind));
    let kind = match address {
        IpAddr::V4(_) => refused(address),
        IpAddr::V6(v6) => {
            let itself = embedded::stands_for(v6).map_or(address, IpAddr::V4);
            refused(itself).or_else(|| embedded::carries(v6).map(IpAddr::V4).find_map(refused))
        }
    };
    kind.map_or(Ok(()), |kind| Err(SpecialAddress { address, kind }))
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

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use proptest::prelude::*;

    use super::*;
    use crate::guard::special::{SPECIAL_V4, SPECIAL_V6};

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
            ("169.254.170.2", "169.254.170.23", Metadata),
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
            ("2a00::5efe:10.0.0.1", "2a00:1:2:3:200:5efe:10.255.255.255", Private),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Documentation),
            ("4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Protocol),
            ("6000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private),
            ("fd00:42::42", "fd00:42::42", Metadata),
            ("fd00:ec2::23", "fd00:ec2::254", Metadata),
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
            2001:4860:4860::8888 2a00::5efe:8.8.8.8 2001:db7:: 2001:db9:: 2002:808:808::1 2620:4f:8001:: 2a00:1450::1 3ffe:: \
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
    fn a_metadata_service_has_to_be_named_by_itself() {
        let around = networks(&["0.0.0.0/0", "::/0", "169.254.169.254/31", "169.254.169.252/30", "fd00:ec2::/127"]);
        let named = networks(&["169.254.169.254/32", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32"]);
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
        ] {
            let address = address.parse().unwrap();
            let refusal = SpecialAddress { address, kind: AddressKind::Metadata };
            assert_eq!(check_address(address, &around), Err(refusal));
            assert_eq!(check_address(address, &named), Ok(()), "{address}");
        }
        assert_eq!(check_address("169.254.169.253".parse().unwrap(), &around), Ok(()), "an ordinary neighbour");
    }

    #[test]
    fn an_allowed_network_says_nothing_of_addresses_inside_its_addresses() {
        let prefixes = networks(&["::/0"]);
        for (address, kind) in [
            ("::ffff:10.0.0.1", AddressKind::Private),
            ("::10.0.0.1", AddressKind::Private),
            ("64:ff9b::127.0.0.1", AddressKind::Loopback),
            ("64:ff9b:1::127.0.0.1", AddressKind::Loopback),
            ("64:ff9b:1:0:7f:0:100:0", AddressKind::Loopback),
            ("64:ff9b:1::", AddressKind::Unspecified),
            ("2002:a00:1::", AddressKind::Private),
            ("2001:0:a00:1::f7f7:f7f7", AddressKind::Private),
            ("2001:0:808:808::f5ff:fffe", AddressKind::Private),
            ("fd00::5efe:169.254.169.254", AddressKind::Metadata),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(check_address(address, &prefixes), Err(SpecialAddress { address, kind }));
            let exactly = AllowedNetworks::new(vec![IpNet::from(address)]);
            assert_eq!(check_address(address, &exactly), Ok(()), "{address} is named");
        }
        for address in ["64:ff9b:1::8.8.8.8", "64:ff9b:1:0:8:808:800:0", "2001:0:808:808::f7f7:f7f7", "fd00::1", "::1"]
        {
            assert_eq!(check_address(address.parse().unwrap(), &prefixes), Ok(()), "{address}");
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

    fn any_network() -> impl Strategy<Value = IpNet> {
        (any::<IpAddr>(), 0..=128_u8).prop_filter_map("a prefix too long", |(address, prefix)| {
            IpNet::new(address, prefix).ok().map(|network| network.trunc())
        })
    }

    proptest! {
        #[test]
        fn an_embedded_address_is_judged_like_itself(inner in ipv4(), low in any::<[u16; 5]>()) {
            let [a, b, c, d] = inner.octets();
            let (high, rest) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let expected = kind(inner);
            prop_assert_eq!(kind(inner.to_ipv6_mapped()), expected);
            prop_assert_eq!(kind(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, rest)), expected);
            prop_assume!(low[3] != 0x5efe);
            prop_assert_eq!(kind(Ipv6Addr::new(0x2002, high, rest, low[0], low[1], low[2], low[3], low[4])), expected);
        }

        #[test]
        fn a_carried_address_is_judged_too(inner in ipv4(), low in any::<[u16; 3]>()) {
            let [a, b, c, d] = inner.octets();
            let (high, rest) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let prefixes = networks(&["2000::/3", "64:ff9b:1::/48"]);
            for address in [
                Ipv6Addr::new(0x2a00, low[0], low[1], low[2], 0, 0x5efe, high, rest),
                Ipv6Addr::new(0x2a00, low[0], low[1], low[2], 0x0200, 0x5efe, high, rest),
                Ipv6Addr::new(0x64, 0xff9b, 1, low[0], low[1], 0, high, rest | 1),
                Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, low[0], low[1], !high, !rest),
                Ipv6Addr::new(0x2001, 0, high, rest, low[0], low[1], !0x0808, !0x0808),
            ] {
                let inner = if address.segments()[0] == 0x64 { Ipv4Addr::from_bits(inner.to_bits() | 1) } else { inner };
                let verdict = check_address(address.into(), &prefixes);
                prop_assert_eq!(verdict.err().map(|special| special.kind), kind(inner), "{} {}", address, inner);
            }
        }

        #[test]
        fn what_passes_without_exceptions_is_public_in_every_reading(address in any::<Ipv6Addr>()) {
            if kind(address).is_none() {
                let itself = embedded::stands_for(address).map_or(IpAddr::V6(address), IpAddr::V4);
                prop_assert_eq!(special_kind(itself), None);
                prop_assert!(embedded::carries(address).all(|inner| kind(inner).is_none()));
            }
        }

        #[test]
        fn exceptions_only_ever_allow_more(address in any::<IpAddr>(), network in any_network()) {
            let verdict = check_address(address, &AllowedNetworks::new(vec![network]));
            prop_assert!(verdict.is_ok() || kind(address).is_some());
        }

        #[test]
        fn no_network_allows_a_metadata_service(index in any::<prop::sample::Index>(), prefix in 0..32_u8) {
            let v4 = SPECIAL_V4.iter().map(|(network, kind)| (IpAddr::V4(network.addr()), *kind));
            let v6 = SPECIAL_V6.iter().map(|(network, kind)| (IpAddr::V6(network.addr()), *kind));
            let services: Vec<_> = v4.chain(v6).filter(|(_, kind)| *kind == AddressKind::Metadata).collect();
            let (address, kind) = *index.get(&services);
            let longest = IpNet::from(address).max_prefix_len();
            let network = IpNet::new(address, longest - 1 - prefix).unwrap().trunc();
            let refusal = SpecialAddress { address, kind };
            prop_assert_eq!(check_address(address, &AllowedNetworks::new(vec![network])), Err(refusal));
            prop_assert_eq!(check_address(address, &AllowedNetworks::new(vec![IpNet::from(address)])), Ok(()));
        }

        #[test]
        fn allowing_everything_allows_everything(address in any::<IpAddr>()) {
            prop_assert_eq!(check_address(address, &AllowedNetworks::everything()), Ok(()));
        }
    }
}
