use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<CallbackUrl, UrlRefused> {
    CallbackUrl::parse(text, &Rules::default())
}

fn parse_allowing(text: &str, networks: &[&str]) -> Result<CallbackUrl, UrlRefused> {
    let networks = AllowedNetworks::new(networks.iter().map(|network| network.parse().unwrap()).collect());
    CallbackUrl::parse(text, &Rules { networks, ..Rules::default() })
}

/// The name of a refusal's variant.
fn verdict(text: &str) -> String {
    match parse(text) {
        Ok(_) => "accepted".to_owned(),
        Err(refused) => format!("{refused:?}").split(['(', ' ']).next().unwrap().to_owned(),
    }
}

/// Hostile URLs by the refusal that they must meet.
const HOSTILE: &[(&str, &str)] = &[
    (
        "Scheme",
        "example.com //example.com localhost:8000 ftp://example.com file:///etc/passwd gopher://127.0.0.1:6379/_ \
         javascript:alert(1) data:text/html,x httpss://example.com ws://example.com h\u{ff54}tp://example.com \
         ://example.com unix:///var/run/docker.sock view-source:http://example.com url:http://example.com \
         http%3a//example.com",
    ),
    (
        "Slashes",
        "http:example.com http:/example.com http:///example.com https:////example.com http: https:?x http:@127.0.0.1 \
         https:/127.0.0.1",
    ),
    (
        "Backslash",
        "http:\\\\127.0.0.1 http://example.com\\@127.0.0.1 http://example.com/\\ \\\\127.0.0.1\\share \
         http:/\\127.0.0.1 http://example.com?\\",
    ),
    (
        "UserInfo",
        "http://user@example.com http://user:pass@example.com http://@example.com http://:@example.com \
         http://example.com@127.0.0.1 http://127.0.0.1:80@example.com http://a@b@c http://[::1]@example.com \
         http://example.com:80@ http://1.1.1.1%40@127.0.0.1/",
    ),
    ("NoHost", "http:// https://?x=y http://#x http://:80 https://:443/ http://::1/"),
    ("ZoneId", "http://[fe80::1%25eth0] http://[fe80::1%eth0]/ http://[2606:4700::1111%251]:80/"),
    (
        "EncodedHost",
        "http://%6c%6f%63alhost http://127%2e0.0.1 http://example.com%00 http://% http://a%2fb/ http://x:%38",
    ),
    (
        "Port",
        "http://example.com: http://example.com:0 http://example.com:00 http://example.com:080 \
         http://example.com:65536 http://example.com:-1 http://example.com:+80 http://example.com:http \
         http://example.com:80:80 http://[2606:4700::1111]:0 http://[2606:4700::1111]: \
         http://example.com:\u{ff18}0 http://example.com:99999999999999999999",
    ),
    (
        "Rule",
        "http://example.com:22 https://example.com:25/ http://example.com:53 http://8.8.8.8:110 https://example.com:143 \
         http://[2606:4700::1111]:587/ http://example.com:2049 http://example.com:6667 http://example.com:6000/ \
         http://example.com:10080/x?y",
    ),
    ("Fragment", "http://example.com#x http://example.com/# https://example.com/a?b#c http://example.com#@x"),
    (
        "HostName",
        "http://. http://.. http://.example.com http://example..com http://example.com.. http://127.0.0.1.. \
         http://a\u{3002}\u{3002}b http://.localhost http://localhost.. \
         http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com",
    ),
    (
        "LocalName",
        "http://localhost https://localhost:8443/x http://LOCALHOST http://localhost. http://LocalHost.:80 \
         http://a.localhost http://a.b.localhost. http://localhost.localdomain http://db.localdomain \
         http://localhost6.localdomain6 http://ip6-localhost http://ip6-loopback http://printer.local \
         http://PRINTER.LOCAL. http://nas.home.arpa http://api.internal http://metadata.google.internal \
         http://METADATA.google.internal./computeMetadata/v1/ http://metadata http://metadata.goog \
         http://instance-data/latest http://instance-data.ec2.internal http://\u{24db}ocalhost \
         http://\u{ff4c}\u{ff4f}\u{ff43}\u{ff41}\u{ff4c}\u{ff48}\u{ff4f}\u{ff53}\u{ff54} http://printer\u{3002}local \
         http://loca\u{17f}\u{34f}.local",
    ),
    (
        "Address",
        "http://127.0.0.1 http://127.0.0.1. http://127.1 http://127.0.1 http://2130706433 http://0x7f000001 \
         http://0x7F.1 http://0177.0.0.1 http://017700000001 http://0x7f.0.0.0x1 http://00000000000000000000000177.1 \
         http://0 http://0.0.0.0:80 http://0x http://10.0.0.1 http://012.1 http://172.16.0.1 http://192.168.1 \
         http://169.254.169.254/latest/meta-data/ http://2852039166 http://0xa9fea9fe http://0251.0376.0251.0376 \
         http://100.100.100.200 http://168.63.129.16 http://192.0.0.192 \
         http://255.255.255.255 http://224.0.0.1 http://100.64.0.1 http://\u{ff11}\u{ff12}\u{ff17}.0.0.1 \
         http://127\u{3002}0\u{3002}0\u{3002}1 http://127\u{ff0e}1 http://\u{2460}27.0.0.1 http://\u{1d7cf}27.1 \
         http://[::1] http://[::]:80/ http://[0:0:0:0:0:0:0:1] http://[::ffff:127.0.0.1] http://[::ffff:7f00:1] \
         http://[::127.0.0.1] http://[0000::1]:80 http://[64:ff9b::10.0.0.1] http://[64:ff9b:1::1] \
         http://[2002:7f00:1::] http://[2001:0:4136:e378::1] http://[fe80::1] http://[fc00::1] \
         http://[fd00:ec2::254]/ http://[FEC0::1] http://[ff02::1] http://[2001:db8::1] http://[100::1] \
         http://[4000::1] http://[2a00::5efe:10.0.0.1] http://[2a00::200:5efe:169.254.169.254]/ http://[::10.0.0.1] \
         http://169.254.170.2/v2/credentials http://169.254.170.23/v1/credentials http://[fd00:ec2::23] \
         http://[::ffff:169.254.169.254] http://[::ffff:a9fe:a9fe] http://[64:ff9b::a9fe:a9fe] http://[2002:a9fe:a9fe::1]",
    ),
    (
        "Malformed",
        "http://[::1 http://[::1]x http://[ http://[] http://[127.0.0.1] http://256.256.256.256 \
         http://425.510.425.510. http://4294967296 http://1.2.3.4.5 http://127..1 http://0x7f.1.x.1 \
         http://exa<mple.com http://a^b http://a|b http://xn--a http://[::1]]:80 http://08.0.0.1 \
         http://[::ffff:127.1] http://[::ffff:0177.0.0.1] http://[1::2::3]",
    ),
];

/// The same for URLs with characters that cannot be seen.
const INVISIBLE: &[&str] = &[
    " http://example.com",
    "http://example.com ",
    "\thttp://example.com",
    "ht\ntp://example.com",
    "http://exam\tple.com",
    "http://example.com/a b",
    "http://example.com/\r\nHost:x",
    "http://127.0.0.1\u{0}",
    "\u{feff}http://example.com",
    "http://example.com/\u{a0}",
    "http://example\u{2003}.com",
    "http://example.com/\u{7f}",
    "http://example.com/\u{85}",
    "http://local\u{ad}host",
    "http://127\u{200b}.0.0.1",
    "http://local\u{2060}host",
    "http://example.com/\u{202e}gpj",
    "http://example.com/\u{3000}x",
    "http://a\u{2028}b",
    "\u{1}http://example.com",
];

#[test]
fn hostile_urls_are_refused() {
    let listed = HOSTILE.iter().flat_map(|(expected, urls)| urls.split(' ').map(move |url| (*expected, url)));
    let invisible = INVISIBLE.iter().map(|url| ("Invisible", *url));
    let all: Vec<_> = listed.chain(invisible).chain([("Scheme", "")]).collect();
    assert!(all.len() > 200, "{}", all.len());
    let wrong: Vec<_> = all.into_iter().filter(|(expected, url)| verdict(url) != *expected).collect();
    assert!(wrong.is_empty(), "{:#?}", wrong.iter().map(|(_, url)| (url, verdict(url))).collect::<Vec<_>>());
}

#[test]
fn good_urls_are_accepted() {
    let domain = |name: &str| Host::Domain(name.to_owned());
    let ip = |address: &str| Host::Ip(address.parse().unwrap());
    for (text, host, port) in [
        ("https://example.com", domain("example.com"), 443),
        ("http://example.com/", domain("example.com"), 80),
        ("HTTPS://Example.COM/Path", domain("example.com"), 443),
        ("https://example.com:8443/hooks?a=b&c", domain("example.com"), 8443),
        ("http://example.com:443", domain("example.com"), 443),
        ("https://example.com:443/", domain("example.com"), 443),
        ("http://example.com:65535", domain("example.com"), 65535),
        ("https://example.com.", domain("example.com."), 443),
        ("https://example.com?x", domain("example.com"), 443),
        ("https://hooks.slack.com/services/T0/B0/x", domain("hooks.slack.com"), 443),
        ("https://bücher.example/ö", domain("xn--bcher-kva.example"), 443),
        ("https://xn--bcher-kva.example", domain("xn--bcher-kva.example"), 443),
        ("https://例え.テスト", domain("xn--r8jz45g.xn--zckzah"), 443),
        ("http://receiver:3000/", domain("receiver"), 3000),
        ("http://my_service", domain("my_service"), 80),
        ("https://mylocalhost", domain("mylocalhost"), 443),
        ("https://localhost.example.com", domain("localhost.example.com"), 443),
        ("https://internal.example.com", domain("internal.example.com"), 443),
        ("https://example.com/a/../b?url=http://127.0.0.1/@%20", domain("example.com"), 443),
        ("https://example.com//x:y@z", domain("example.com"), 443),
        ("https://1.2.3.4.example.com", domain("1.2.3.4.example.com"), 443),
        ("http://8.8.8.8", ip("8.8.8.8"), 80),
        ("http://134744072:8080", ip("8.8.8.8"), 8080),
        ("http://[2606:4700::1111]", ip("2606:4700::1111"), 80),
        ("https://[::ffff:8.8.8.8]:8443/", ip("::ffff:8.8.8.8"), 8443),
    ] {
        let url = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((url.as_str(), url.host(), url.port()), (text, &host, port));
    }
}

#[test]
fn the_length_is_bounded_in_bytes() {
    let of_length = |length| format!("https://example.com/{}", "x".repeat(length - 20));
    assert!(parse(&of_length(MAX_URL_LENGTH)).is_ok());
    assert_eq!(parse(&of_length(MAX_URL_LENGTH + 1)), Err(UrlRefused::TooLong(MAX_URL_LENGTH + 1)));
    assert_eq!(verdict(&format!("https://example.com/{}", "é".repeat(1020))), "TooLong");
}

#[test]
fn allowed_networks_let_local_urls_pass() {
    for (text, networks, accepted) in [
        ("http://localhost:8000", &["127.0.0.0/8"][..], true),
        ("http://localhost:8000", &["::1/128"], true),
        ("http://LOCALHOST./", &["127.0.0.1/32"], true),
        ("http://app.localhost", &["127.0.0.0/8"], true),
        ("http://ip6-localhost", &["::1/128"], true),
        ("http://localhost", &["127.0.0.2/32"], false),
        ("http://localhost", &["10.0.0.0/8"], false),
        ("http://printer.local", &["10.0.0.0/8"], true),
        ("http://api.internal", &["10.0.0.0/8"], true),
        ("http://metadata.google.internal", &["10.0.0.0/8"], false),
        ("http://metadata", &["10.0.0.0/8", "127.0.0.0/8"], false),
        ("http://metadata", &["169.254.169.254/32"], true),
        ("http://10.1.2.3", &["10.0.0.0/8"], true),
        ("http://[::ffff:10.1.2.3]", &["10.0.0.0/8"], true),
        ("http://0x7f.1", &["127.0.0.0/8"], true),
        ("http://192.168.0.1", &["10.0.0.0/8"], false),
        ("http://user@10.1.2.3", &["10.0.0.0/8"], false),
        ("http://10.1.2.3:6667", &["10.0.0.0/8"], false),
        ("http://169.254.169.254", &["169.254.0.0/16"], false),
        ("http://0xa9fea9fe", &["0.0.0.0/0"], false),
        ("http://169.254.169.254", &["169.254.169.254/32"], true),
        ("http://metadata.google.internal", &["0.0.0.0/0", "::/0"], false),
    ] {
        assert_eq!(parse_allowing(text, networks).is_ok(), accepted, "{text} {networks:?}");
    }
}

#[test]
fn the_operators_rules_judge_schemes_and_ports() {
    let rules = Rules { https_only: true, ports: AllowedPorts::Only(vec![443..=443, 8000..=8999]), ..Rules::default() };
    for (text, verdict) in [
        ("https://example.com", Ok(())),
        ("HTTPS://example.com:8443/", Ok(())),
        ("http://example.com", Err("the URL must begin with `https://`; nothing else is allowed here")),
        ("http://example.com:443", Err("the URL must begin with `https://`; nothing else is allowed here")),
        ("https://example.com:9000", Err("the URL has port 9000; use one that the operator allows")),
        ("https://example.com:80", Err("the URL has port 80; use one that the operator allows")),
    ] {
        let judged = CallbackUrl::parse(text, &rules).map(drop).map_err(|refused| refused.to_string());
        assert_eq!(judged, verdict.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn logs_do_not_show_the_query() {
    for (text, masked) in [
        ("https://example.com/a", "https://example.com/a"),
        ("https://example.com?", "https://example.com?"),
        ("https://example.com?secret", "https://example.com?***"),
        ("https://example.com/a?token=s3cret&x=1", "https://example.com/a?token=***&x=***"),
        ("https://example.com?a=b=c&&d&e=", "https://example.com?a=***&&***&e=***"),
        ("https://example.com?a=b?c=d", "https://example.com?a=***"),
    ] {
        let url = parse(text).unwrap();
        assert_eq!(url.masked(), masked);
        assert_eq!(format!("{url:?}"), format!("CallbackUrl({masked:?})"));
    }
}

#[test]
fn refusals_say_what_to_do() {
    for (text, message) in [
        (
            "http://127.1",
            "the URL's host 127.0.0.1 is a loopback address; use a public address, or ask the operator to allow its \
             network",
        ),
        (
            "http://LOCALHOST",
            "the URL's host `localhost` is a local name; use a public one, or ask the operator to allow its network",
        ),
        ("http://a\u{a0}b", "the URL contains \\u{a0}, which cannot be seen; remove it or percent-encode it"),
        ("http://[", "the URL cannot be understood: invalid IPv6 address"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }
}

fn private_ipv4() -> impl Strategy<Value = Ipv4Addr> {
    let private = ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"];
    (prop::sample::select(private.to_vec()), any::<u32>()).prop_map(|(network, host)| {
        let network: ipnet::Ipv4Net = network.parse().unwrap();
        Ipv4Addr::from_bits(network.network().to_bits() | (host & network.hostmask().to_bits()))
    })
}

/// Every way in which `inet_aton` and browsers read a part of an IPv4 address.
fn spell(value: u32, radix: u8, zeros: usize) -> String {
    match radix {
        0 => value.to_string(),
        1 => format!("0{}{value:o}", "0".repeat(zeros)),
        2 => format!("0x{}{value:x}", "0".repeat(zeros)),
        _ => format!("0X{}{value:X}", "0".repeat(zeros)),
    }
}

/// Mostly texts that come close to being URLs.
fn url_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "http",
        "https",
        ":",
        "//",
        "/",
        "@",
        "[",
        "]",
        "::1",
        "127.0.0.1",
        "0x7f",
        "1",
        ".",
        "localhost",
        "example",
        "com",
        "xn--",
        "%",
        "%2e",
        "?",
        "#",
        "\\",
        "\u{3002}",
        "\u{ff11}",
        "é",
        "_",
        "-",
        "80",
        "ß",
        "\u{200d}",
        "local",
    ]);
    let authority = prop::collection::vec(piece.clone(), 0..8).prop_map(|pieces| format!("http://{}", pieces.concat()));
    prop_oneof![authority, prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat()), any::<String>()]
}

proptest! {
    #[test]
    fn no_spelling_hides_a_private_address(
        address in private_ipv4(),
        parts in 1..=4_usize,
        radixes in any::<[u8; 4]>(),
        zeros in 0..4_usize,
        dot in any::<bool>(),
    ) {
        let bits = address.to_bits();
        let mut spelling = String::new();
        for (index, radix) in radixes.iter().enumerate().take(parts - 1) {
            spelling += &spell(bits >> (24 - 8 * index) & 0xff, radix % 4, zeros);
            spelling.push('.');
        }
        let rest = bits & (u32::MAX >> (8 * (parts - 1)));
        spelling += &spell(rest, radixes[parts - 1] % 4, zeros);
        if dot {
            spelling.push('.');
        }
        let full_width: String = spelling.chars().filter_map(|c| char::from_u32(u32::from(c) + 0xfee0)).collect();
        for host in [spelling, full_width] {
            match parse(&format!("http://{host}/")) {
                Err(UrlRefused::Address(special)) => prop_assert_eq!(special.address, IpAddr::V4(address), "{}", host),
                other => prop_assert!(false, "{}: {:?}", host, other),
            }
        }
    }

    #[test]
    fn an_accepted_url_is_what_was_checked(text in url_like()) {
        let Ok(url) = parse(&text) else { return Ok(()) };
        prop_assert_eq!(url.as_str(), &text);
        prop_assert_eq!(url.url().username(), "");
        prop_assert_eq!(url.url().password(), None);
        prop_assert_eq!(url.url().fragment(), None);
        // Once more from what the parser made of it, and by that from what a request would say.
        let again = parse(url.url().as_str());
        prop_assert!(again.is_ok(), "{:?}", again);
        let again = again.unwrap();
        prop_assert_eq!((again.host(), again.port(), again.url()), (url.host(), url.port(), url.url()));
        match (url::Url::parse(&text).unwrap().host().unwrap(), url.host()) {
            (url::Host::Domain(name), Host::Domain(checked)) => prop_assert_eq!(name, checked),
            (url::Host::Ipv4(address), Host::Ip(checked)) => prop_assert_eq!(IpAddr::V4(address), *checked),
            (url::Host::Ipv6(address), Host::Ip(checked)) => prop_assert_eq!(IpAddr::V6(address), *checked),
            (parsed, checked) => prop_assert!(false, "{:?} {:?}", parsed, checked),
        }
    }
}
