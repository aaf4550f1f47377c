//! Proxies on loopback: small, and true to their protocols.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// The credentials that a proxy asks for.
pub(super) const USER: &str = "ada";
pub(super) const PASSWORD: &str = "se:cr@t";
/// The two as they stand in a URL.
pub(super) const IN_URL: &str = "ada:se%3Acr%40t@";

/// A proxy and what it was asked for.
pub(super) struct ProxyPeer {
    scheme: &'static str,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Agrees with a client on where to go, and answers the connection to there.
type Handshake = fn(&mut TcpStream, is_private: bool, asked: &mut dyn FnMut(String)) -> io::Result<TcpStream>;

impl ProxyPeer {
    /// A proxy for `http://`; a private one asks for credentials.
    pub(super) fn http(is_private: bool) -> Self {
        Self::start("http", connect, is_private)
    }

    /// The same for `socks5://`.
    pub(super) fn socks5(is_private: bool) -> Self {
        Self::start("socks5", socks5, is_private)
    }

    fn start(scheme: &'static str, handshake: Handshake, is_private: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = Self { scheme, address: listener.local_addr().unwrap(), asked: Arc::default() };
        let asked = Arc::clone(&peer.asked);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, asked) = (client.unwrap(), Arc::clone(&asked));
                thread::spawn(move || {
                    let server = handshake(&mut client, is_private, &mut |what| asked.lock().unwrap().push(what));
                    if let Ok(server) = server {
                        relay(client, server);
                    }
                });
            }
        });
        peer
    }

    /// The proxy's URL with these credentials, which are empty or end with `@`.
    pub(super) fn url(&self, credentials: &str) -> String {
        format!("{}://{credentials}{}", self.scheme, self.address)
    }

    /// What clients asked for, in order: addresses or names, each with its port.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Takes bytes both ways until both ends have ended.
fn relay(client: TcpStream, server: TcpStream) {
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || carry(back.0, back.1));
    carry(client, server);
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why)
}

/// HTTP's `CONNECT` (RFC 9110, section 9.3.6).
fn connect(client: &mut TcpStream, is_private: bool, asked: &mut dyn FnMut(String)) -> io::Result<TcpStream> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(read::<1>(client)?[0]));
    }
    // "ada:se:cr@t" in base64.
    if is_private && !head.contains("Proxy-Authorization: Basic YWRhOnNlOmNyQHQ=\r\n") {
        client.write_all(b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n")?;
        return Err(refused("no credentials"));
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).ok_or(refused("not CONNECT"))?;
    assert!(head.contains(&format!("\r\nHost: {target}\r\n")), "{head}");
    asked(target.to_owned());
    match TcpStream::connect(target) {
        Ok(server) => client.write_all(b"HTTP/1.1 200 Connected\r\nVia: test\r\n\r\n").map(|()| server),
        Err(error) => client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").and(Err(error)),
    }
}

/// SOCKS 5 (RFC 1928) with user name and password (RFC 1929).
fn socks5(client: &mut TcpStream, is_private: bool, asked: &mut dyn FnMut(String)) -> io::Result<TcpStream> {
    let [5, count] = read(client)? else { return Err(refused("not SOCKS 5")) };
    let methods = text(client, count)?;
    let method = if is_private { 2 } else { 0 };
    if !methods.as_bytes().contains(&method) {
        client.write_all(&[5, 0xff])?;
        return Err(refused("no method in common"));
    }
    client.write_all(&[5, method])?;
    if is_private {
        let [1, length] = read(client)? else { return Err(refused("no user name")) };
        let user = text(client, length)?;
        let [length] = read(client)?;
        let is_right = (user.as_str(), text(client, length)?.as_str()) == (USER, PASSWORD);
        client.write_all(&[1, u8::from(!is_right)])?;
        if !is_right {
            return Err(refused("wrong credentials"));
        }
    }
    let [5, 1, 0, kind] = read(client)? else { return Err(refused("not a request to connect")) };
    let host = match kind {
        1 => Ipv4Addr::from(read::<4>(client)?).to_string(),
        4 => format!("[{}]", Ipv6Addr::from(read::<16>(client)?)),
        _ => {
            let [length] = read(client)?;
            text(client, length)?
        }
    };
    let target = format!("{host}:{}", u16::from_be_bytes(read(client)?));
    asked(target.clone());
    let connected = TcpStream::connect(target);
    let reply = if connected.is_ok() { 0 } else { 5 };
    client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).and(connected)
}

fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).map(|()| bytes)
}

fn text(client: &mut TcpStream, length: u8) -> io::Result<String> {
    let mut bytes = vec![0; usize::from(length)];
    client.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
