//! Each stage at which an attempt can fail.

use std::{net::TcpListener, thread};

use tokio::net::{TcpSocket, TcpStream};

use super::*;

fn impatient() -> Client {
    client_with(settings(Duration::from_millis(200)))
}

/// A URL of a port where nobody listens.
fn deserted() -> Uri {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}/?token=secret").parse().unwrap()
}

async fn failure(client: &Client, uri: &Uri) -> Failure {
    let (failure, detail) = unanswered(send(client, uri).await);
    assert!(!detail.is_empty() && !detail.contains("secret"), "{detail}");
    failure
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_a_timeout() {
    let receiver = Receiver::start(|connection| {
        connection.wait_for_end();
    });
    assert_eq!(failure(&impatient(), &receiver.uri()).await, Failure::Timeout);
}

#[tokio::test]
async fn a_body_that_drips_past_the_deadline_is_a_timeout() {
    let receiver = Receiver::start(|connection| {
        connection.read_request();
        connection.write("HTTP/1.1 200 OK\r\n\r\n");
        while connection.write("x") {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(failure(&impatient(), &receiver.uri()).await, Failure::Timeout);
}

/// A listener whose queue is full lets the kernel drop what would open another connection.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_does_not_come_about_is_a_timeout() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queue.push(connected.unwrap());
    }
    let connect_timeout = Duration::from_millis(100);
    let client = client_with(ClientSettings { connect_timeout, ..settings(Duration::from_secs(60)) });
    let uri = format!("http://{address}/?token=secret").parse().unwrap();
    assert_eq!(failure(&client, &uri).await, Failure::Timeout);
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_failure_to_connect() {
    let uri = deserted();
    let (failure, detail) = unanswered(send(&client(), &uri).await);
    assert_eq!(failure, Failure::Connect);
    let expected = format!("no connection to {}: Connection refused", uri.authority().unwrap());
    assert!(detail.starts_with(&expected), "{detail}");
}

#[tokio::test]
async fn a_name_that_nobody_has_does_not_resolve() {
    let uri = Uri::from_static("https://nonexistent.invalid/?token=secret");
    assert_eq!(failure(&client(), &uri).await, Failure::Dns);
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_however_they_are_written() {
    let guarded = ClientSettings { rules: Rules::default(), ..settings(Duration::from_secs(60)) };
    let client = client_with(guarded);
    let port = Receiver::answering(OK).address.port();
    let hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"];
    let both = hosts.map(|host| [format!("http://{host}"), format!("https://{host}")]);
    // Resolvers take these for addresses; TLS has no name for them.
    let odd = ["http://2130706433", "http://0x7f.1", "http://0"].map(str::to_owned);
    for origin in both.into_iter().flatten().chain(odd) {
        let uri = format!("{origin}:{port}/?token=secret").parse().unwrap();
        assert_eq!(failure(&client, &uri).await, Failure::AddressRefused, "{uri}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_failure() {
    for answer in ["SSH-2.0-OpenSSH_10.0\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "\0"] {
        let receiver = Receiver::start(move |connection| {
            connection.read_request();
            connection.write(answer);
        });
        assert_eq!(failure(&client(), &receiver.uri()).await, Failure::Protocol, "{answer}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_a_protocol_failure() {
    let receiver = Receiver::start(|connection| {
        connection.read_request();
        connection.write("HTTP/1.1 200 OK\r\n");
        while connection.write("X: y\r\n") {}
    });
    assert_eq!(failure(&client(), &receiver.uri()).await, Failure::Protocol);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_protocol_failure() {
    let receiver = Receiver::start(|connection| {
        connection.read_request();
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    });
    assert_eq!(failure(&client(), &receiver.uri()).await, Failure::Protocol);
}

#[tokio::test]
async fn a_new_connection_that_ends_unanswered_is_a_failure_at_once() {
    let receiver = Receiver::start(|connection| {
        connection.read_request();
    });
    assert_eq!(failure(&client(), &receiver.uri()).await, Failure::Protocol);
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn urls_that_are_none_for_http_are_protocol_failures() {
    for uri in ["ftp://127.0.0.1/?token=secret", "/?token=secret", "127.0.0.1:80"] {
        assert_eq!(failure(&client(), &Uri::from_static(uri)).await, Failure::Protocol, "{uri}");
    }
}

#[tokio::test]
async fn an_exchange_tells_why_it_failed() {
    let request = Request::post(deserted()).body(Bytes::new()).unwrap();
    let failed = client().exchange(request, 1024).await.unwrap_err();
    assert_eq!(failed.failure, Failure::Connect);
    assert!(failed.to_string().starts_with("no connection to 127.0.0.1:"), "{failed}");
}
