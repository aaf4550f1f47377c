//! Requests by way of a proxy.

use std::net::{SocketAddr, TcpListener};

use super::{
    proxy::{IN_URL, PASSWORD, ProxyPeer},
    trust::{file, https, vouched_for},
    *,
};
use crate::client::Proxy;

fn through(proxy: &str, timeout: Duration) -> ClientSettings {
    ClientSettings { proxy: Some(Proxy::parse(proxy).unwrap()), ..settings(timeout) }
}

fn client_through(proxy: &str) -> Client {
    client_with(through(proxy, Duration::from_secs(60)))
}

#[tokio::test]
async fn the_proxy_is_asked_for_the_address_once_and_the_receiver_sees_the_url() {
    for proxy in [ProxyPeer::http(false), ProxyPeer::socks5(false)] {
        let receiver = Receiver::answering(OK);
        let client = client_through(&proxy.url(""));
        for _ in 0..3 {
            assert_eq!(answered(send(&client, &receiver.uri()).await).excerpt, "hello");
        }
        assert_eq!(proxy.asked(), [receiver.address.to_string()]);
        let request = receiver.requests().remove(0).text;
        assert!(request.starts_with("POST /hook?token=secret HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {}\r\n", receiver.address)), "{request}");
        assert!(!request.to_ascii_lowercase().contains("proxy"), "{request}");
    }
}

/// The certificate is for the name, while the proxy hears of the address alone.
#[tokio::test]
async fn tls_is_with_the_name_and_the_proxy_sees_none() {
    for proxy in [ProxyPeer::http(true), ProxyPeer::socks5(true)] {
        let (authority, receiver) = vouched_for();
        let (_directory, path) = file(&authority);
        let settings = through(&proxy.url(IN_URL), Duration::from_secs(60));
        let client = client_with(ClientSettings { extra_authorities: Some(path), ..settings });
        assert_eq!(answered(send(&client, &https(&receiver, "localhost")).await).excerpt, "hello");
        let host = format!("host: localhost:{}\r\n", receiver.address.port());
        assert!(receiver.requests()[0].text.contains(&host));
        // One for each address of `localhost`, until one lets connect.
        let asked: Vec<SocketAddr> = proxy.asked().iter().map(|asked| asked.parse().unwrap()).collect();
        assert_eq!(asked.last(), Some(&receiver.address));

        let (failure, detail) = unanswered(send(&client, &https(&receiver, "127.0.0.1")).await);
        assert_eq!(failure, Failure::Tls, "{detail}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_a_failure_to_connect_that_does_not_tell_them() {
    for proxy in [ProxyPeer::http(true), ProxyPeer::socks5(true)] {
        let receiver = Receiver::answering(OK);
        for credentials in ["", "ada:wrong@", "bob:se%3Acr%40t@"] {
            let client = client_through(&proxy.url(credentials));
            let (failure, detail) = unanswered(send(&client, &receiver.uri()).await);
            assert_eq!(failure, Failure::Connect, "{detail}");
            let shown = format!("{detail} {client:?}");
            assert!(!shown.contains("wrong") && !shown.contains(PASSWORD) && !shown.contains("bob"), "{shown}");
        }
        assert!(proxy.asked().is_empty() && receiver.requests().is_empty());
        answered(send(&client_through(&proxy.url(IN_URL)), &receiver.uri()).await);
    }
}

#[tokio::test]
async fn the_proxy_is_not_even_asked_for_what_the_guard_refuses() {
    for proxy in [ProxyPeer::http(false), ProxyPeer::socks5(false)] {
        let settings = through(&proxy.url(""), Duration::from_secs(60));
        let client = client_with(ClientSettings { rules: Rules::default(), ..settings });
        for host in ["127.0.0.1", "localhost", "169.254.169.254", "[::ffff:10.0.0.1]", "8.8.8.8:25"] {
            let uri = format!("http://{host}/").parse().unwrap();
            assert_eq!(unanswered(send(&client, &uri).await).0, Failure::AddressRefused, "{host}");
        }
        assert!(proxy.asked().is_empty());
    }
}

#[tokio::test]
async fn whom_the_proxy_cannot_reach_is_a_failure_to_connect() {
    let deserted = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uri = format!("http://{deserted}/").parse().unwrap();
    for proxy in [ProxyPeer::http(false), ProxyPeer::socks5(false)] {
        let (failure, detail) = unanswered(send(&client_through(&proxy.url("")), &uri).await);
        assert_eq!(failure, Failure::Connect);
        assert!(detail.starts_with(&format!("the proxy makes no connection to {deserted}: ")), "{detail}");
        assert_eq!(proxy.asked(), [deserted.to_string()]);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_keeps_its_address_to_itself() {
    let receiver = Receiver::answering(OK);
    let deserted = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["http", "socks5"] {
        for host in [deserted.to_string(), "proxy.invalid:80".to_owned()] {
            let client = client_through(&format!("{scheme}://{IN_URL}{host}"));
            let (failure, detail) = unanswered(send(&client, &receiver.uri()).await);
            assert_eq!(failure, Failure::Connect);
            assert!(detail.starts_with("no connection to the proxy: "), "{detail}");
            assert!(!detail.contains(&deserted.to_string()) && !detail.contains("invalid"), "{detail}");
        }
    }
    assert!(receiver.requests().is_empty());
}

#[tokio::test]
async fn a_proxy_that_stalls_or_never_ends_costs_no_more_than_the_time_to_connect() {
    let silent = Receiver::start(|connection| connection.wait_for_end());
    let endless = Receiver::start(|connection| {
        connection.write("HTTP/1.1 200 OK\r\n");
        while connection.write("X: y\r\n") {}
    });
    let receiver = Receiver::answering(OK);
    for (proxy, scheme, expected) in [
        (&silent, "http", Failure::Timeout),
        (&silent, "socks5", Failure::Timeout),
        (&endless, "http", Failure::Connect),
        (&endless, "socks5", Failure::Connect),
    ] {
        let settings = through(&format!("{scheme}://{}", proxy.address), Duration::from_secs(60));
        let client = client_with(ClientSettings { connect_timeout: Duration::from_millis(300), ..settings });
        let (failure, detail) = unanswered(send(&client, &receiver.uri()).await);
        assert_eq!(failure, expected, "{scheme}: {detail}");
    }
    assert!(receiver.requests().is_empty());
}
