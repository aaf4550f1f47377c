//! Receivers that follow a script, each connection on a thread of its own. They write to the wire themselves, since a
//! well-behaved server library would not let them do wrong.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// A receiver and the requests that it has read.
#[derive(Clone)]
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// A request as it came.
#[derive(Clone)]
pub(super) struct Request {
    /// Which of the receiver's connections it came over; 0 is the first.
    pub(super) connection: usize,
    pub(super) text: String,
}

impl Receiver {
    /// Starts a receiver that runs `script` for each connection.
    pub(super) fn start(script: impl Fn(&mut Connection<'_, TcpStream>) + Send + Sync + 'static) -> Self {
        Self::start_over(script, |stream| stream)
    }

    /// Starts a receiver whose connections are wrapped, in TLS for example.
    pub(super) fn start_over<S: Read + Write>(
        script: impl Fn(&mut Connection<'_, S>) + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> S + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = Arc::clone(&receiver.requests);
        let behaviour = Arc::new((script, wrap));
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (stream, requests, behaviour) = (stream.unwrap(), Arc::clone(&requests), Arc::clone(&behaviour));
                thread::spawn(move || {
                    let mut stream = behaviour.1(stream);
                    behaviour.0(&mut Connection { number, stream: &mut stream, requests: &requests });
                });
            }
        });
        receiver
    }

    /// A receiver that answers every request with these bytes.
    pub(super) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |connection| while connection.read_request() && connection.write(&answer) {})
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// An `http` URL of this receiver.
    pub(super) fn uri(&self) -> http::Uri {
        format!("http://{}/hook?token=secret", self.address).parse().unwrap()
    }
}

/// One connection to a receiver.
pub(super) struct Connection<'a, S> {
    pub(super) number: usize,
    stream: &'a mut S,
    requests: &'a Mutex<Vec<Request>>,
}

impl<S: Read + Write> Connection<'_, S> {
    /// Reads a request to its end. False if the connection ended instead.
    pub(super) fn read_request(&mut self) -> bool {
        let mut text = String::new();
        let mut byte = [0];
        while !is_whole(&text) {
            match self.stream.read(&mut byte) {
                Ok(1) => text.push(char::from(byte[0])),
                _ => return false,
            }
        }
        self.requests.lock().unwrap().push(Request { connection: self.number, text });
        true
    }

    /// Writes and flushes. False if the other side is gone.
    pub(super) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Waits until the other side has closed.
    pub(super) fn wait_for_end(&mut self) {
        while self.stream.read(&mut [0; 256]).is_ok_and(|read| read > 0) {}
    }
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    body.len() == length.parse::<usize>().unwrap()
}
