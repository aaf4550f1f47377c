//! The connection: one, on which all requests travel one after the other without waiting for each other, so that the server can
//! write the work of many with one fsync. It is made when it is needed, and made again when it is lost.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, PushInfo, PushKind, TlsCertificates, Value,
    aio::MultiplexedConnection,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::{Mutex, Notify};

use super::{
    errors::{breaks_connection, is_forbidden},
    location::RedisLocation,
    reply::Reply,
    scripts::Call,
};
use crate::error::StoreError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a failure to connect is told to everybody before it is tried again: this at first, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The way to the server.
pub(super) struct Link {
    client: Client,
    /// Where other processes tell that there is work.
    channel: String,
    state: Mutex<State>,
    work: Arc<Notify>,
}

enum State {
    Open(Open),
    /// Not connected, and if that has been tried, why not and until when it is not tried again.
    Down(Option<Failure>),
    Closed,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    is_lost: Arc<AtomicBool>,
}

struct Failure {
    error: StoreError,
    pause: Duration,
    again_at: Instant,
}

impl Link {
    pub(super) fn new(location: RedisLocation, ca_file: Option<&Path>, channel: String) -> Result<Self, StoreError> {
        let client = client(location.server, ca_file)?;
        Ok(Self { client, channel, state: Mutex::new(State::Down(None)), work: Arc::new(Notify::new()) })
    }

    /// Runs a script and reads its answer's status.
    pub(super) async fn ask(&self, call: &Call) -> Result<Reply, StoreError> {
        let mut open = self.connection().await?;
        let result = call.invoke_async(&mut open.connection).await;
        Reply::new(open.judge(result)?)
    }

    /// Runs a command; answers nothing where the server does not let its user do so.
    pub(super) async fn command(&self, command: &Cmd) -> Result<Option<Value>, StoreError> {
        let mut open = self.connection().await?;
        match command.query_async(&mut open.connection).await {
            Err(error) if is_forbidden(&error) => Ok(None),
            result => open.judge(result).map(Some),
        }
    }

    /// Ends when another process says that there is work, or has said so since the last call.
    pub(super) async fn work(&self) {
        self.work.notified().await;
    }

    pub(super) async fn close(&self) {
        *self.state.lock().await = State::Closed;
    }

    /// The connection, made anew where need be. Whoever comes while it is being made waits for the same one.
    async fn connection(&self) -> Result<Open, StoreError> {
        let mut state = self.state.lock().await;
        let failure = match &*state {
            State::Open(open) if !open.is_lost.load(Ordering::Acquire) => return Ok(open.clone()),
            State::Open(_) => None,
            State::Down(failure) => failure.as_ref(),
            State::Closed => return Err(StoreError::Unavailable("it is closed".into())),
        };
        if let Some(failure) = failure
            && Instant::now() < failure.again_at
        {
            return Err(failure.error.clone());
        }
        let pause = failure.map_or(FIRST_PAUSE, |failure| LONGEST_PAUSE.min(failure.pause * 2));
        match self.connect().await {
            Ok(open) => {
                *state = State::Open(open.clone());
                Ok(open)
            }
            Err(error) => {
                let again_at = Instant::now() + pause;
                *state = State::Down(Some(Failure { error: error.clone(), pause, again_at }));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Open, StoreError> {
        let is_lost = Arc::new(AtomicBool::new(false));
        let (lost, work) = (Arc::clone(&is_lost), Arc::clone(&self.work));
        let pushed = move |push: PushInfo| {
            match push.kind {
                PushKind::Disconnection => lost.store(true, Ordering::Release),
                PushKind::Message => work.notify_one(),
                _ => {}
            }
            Ok::<(), ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT))
            .set_push_sender(pushed);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // Polling finds work without it, so that a user who may not subscribe does no harm.
        if let Err(error) = connection.subscribe(&self.channel).await {
            tracing::debug!(%error, "other processes' hints at work are not heard");
        }
        Ok(Open { connection, is_lost })
    }
}

impl Open {
    fn judge<T>(&self, result: redis::RedisResult<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            if breaks_connection(&error) {
                self.is_lost.store(true, Ordering::Release);
            }
            error.into()
        })
    }
}

/// What connects to a server, which with TLS may also be vouched for by an authority in this file.
pub(crate) fn client(server: ConnectionInfo, ca_file: Option<&Path>) -> Result<Client, StoreError> {
    let is_tls = matches!(server.addr(), ConnectionAddr::TcpTls { .. });
    let client = match ca_file.filter(|_| is_tls) {
        Some(file) => {
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities(file)?) };
            Client::build_with_tls(server, certificates)
        }
        None => Client::open(server),
    };
    client.map_err(|error| StoreError::Misconfigured(error.to_string()))
}

/// The public certificate authorities and those of a PEM file, as PEM: the library takes either its own or a whole list.
fn authorities(file: &Path) -> Result<Vec<u8>, StoreError> {
    let wrong = |reason: &dyn std::fmt::Display| {
        StoreError::Misconfigured(format!("the certificate authorities in {}: {reason}", file.display()))
    };
    let own: Vec<_> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|error| wrong(&error))?;
    if own.is_empty() {
        return Err(wrong(&"there is none"));
    }
    let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(&own).map(|authority| {
        let text = BASE64_STANDARD.encode(authority);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    });
    Ok(all.collect::<String>().into_bytes())
}
