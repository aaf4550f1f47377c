//! IPv4 addresses inside IPv6 addresses: where packets end up once a mechanism has unwrapped them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The IPv4 address that an address is only another way to write.
pub(super) fn stands_for(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        // IPv4-mapped (RFC 4291, section 2.5.5.2) and NAT64's well-known prefix (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

/// The IPv4 addresses that an address carries: packets may end up there as well as at the address itself.
pub(super) fn carries(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let [_, _, c, d, e, f, g, h] = address.segments();
    let last = join(g, h);
    let by_prefix = match address.segments() {
        // IPv4-compatible (RFC 4291, section 2.5.5.1). What begins with zeros is no IPv4 host, and `::1` is itself.
        [0, 0, 0, 0, 0, 0, high, _] if high > 0 => [Some(last), None],
        // Local NAT64 (RFC 8215) puts the address last, or in the middle with zeros behind it (RFC 6052, section 2.2).
        [0x64, 0xff9b, 1, ..] => {
            let middle = u64::from(e) << 32 | u64::from(f) << 16 | u64::from(g);
            let [.., a, b, c, d] = (middle >> 8).to_be_bytes();
            [Some(last), (last.to_bits() << 8 == 0).then(|| Ipv4Addr::new(a, b, c, d))]
        }
        // Teredo (RFC 4380): the server, and the client with its bits turned over.
        [0x2001, 0, ..] => [Some(join(c, d)), Some(join(!g, !h))],
        _ => [None, None],
    };
    // ISATAP (RFC 5214) behind any prefix.
    let isatap = (e & !0x0200 == 0 && f == 0x5efe).then_some(last);
    by_prefix.into_iter().chain([isatap]).flatten()
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_where_each_mechanism_puts_them() {
        for (address, whole, parts) in [
            ("::ffff:192.0.2.33", Some("192.0.2.33"), &[][..]),
            ("64:ff9b::192.0.2.33", Some("192.0.2.33"), &[]),
            ("2002:c000:221::1", Some("192.0.2.33"), &[]),
            ("2002:808:808::5efe:192.0.2.33", Some("8.8.8.8"), &["192.0.2.33"]),
            ("::192.0.2.33", None, &["192.0.2.33"]),
            ("64:ff9b:1::192.0.2.33", None, &["192.0.2.33"]),
            ("64:ff9b:1:9:c0:2:2100:0", None, &["33.0.0.0", "192.0.2.33"]),
            ("2001:0:c000:221:8000:63bf:3fff:fdd2", None, &["192.0.2.33", "192.0.2.45"]),
            ("2a00::5efe:192.0.2.33", None, &["192.0.2.33"]),
            ("2a00:1:2:3:200:5efe:192.0.2.33", None, &["192.0.2.33"]),
            ("2a00::1:5efe:c000:221", None, &[]),
            ("2a00::c000:221", None, &[]),
            ("::", None, &[]),
            ("::1", None, &[]),
        ] {
            let address: Ipv6Addr = address.parse().unwrap();
            assert_eq!(stands_for(address), whole.map(|whole| whole.parse().unwrap()), "{address}");
            let expected: Vec<Ipv4Addr> = parts.iter().map(|part| part.parse().unwrap()).collect();
            assert_eq!(carries(address).collect::<Vec<_>>(), expected, "{address}");
        }
    }
}
