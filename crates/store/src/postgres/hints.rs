//! Hints that there is work: a notification to all nodes when one has left something due that it does not hold. Only hints: who
//! misses one finds the work when he next looks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::poll_fn;
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, types::Type};

use super::{
    connect::Connector,
    pool::{Pool, Statement},
};

/// The least time between two notifications of one node. At their commit the server lets notifiers through one by one, so that
/// they must not be many.
const PAUSE: Duration = Duration::from_millis(20);

/// The pauses before a lost connection is made again.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

const NOTIFY: Statement = Statement { sql: "SELECT pg_notify('hookcast_work', $1)", types: &[Type::TEXT] };

/// The node's ear and mouth.
#[derive(Default)]
pub(super) struct Hints {
    heard: Notify,
    to_tell: Notify,
    is_listening: AtomicBool,
}

impl Hints {
    /// Lets other nodes know, soon.
    pub(super) fn tell(&self) {
        self.to_tell.notify_one();
    }

    /// Ends when another node has told.
    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Tells other nodes for as long as the future lives.
    pub(super) async fn keep_telling(self: Arc<Self>, pool: Pool, own_name: String) {
        loop {
            self.to_tell.notified().await;
            if let Err(error) = pool.query(&NOTIFY, &[&own_name]).await {
                tracing::debug!(%error, "other nodes were not told of work");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether this is the first who wants to hear, and so has to listen.
    pub(super) fn begin_to_listen(&self) -> bool {
        !self.is_listening.swap(true, Ordering::Relaxed)
    }

    /// Listens on a connection of its own, made again when it is lost, for as long as the future lives.
    pub(super) async fn keep_listening(self: Arc<Self>, connector: Connector, own_name: String) {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Err(error) = self.listen(&connector, &own_name, &mut pause).await {
                tracing::debug!(%error, "no notifications from other nodes for a while");
            }
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Listens until the connection is lost. Once it does, the next pause is the first again.
    async fn listen(
        &self,
        connector: &Connector,
        own_name: &str,
        pause: &mut Duration,
    ) -> Result<(), tokio_postgres::Error> {
        let (client, mut connection) = connector.config.connect(connector.tls.clone()).await?;
        let messages = async {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(told))) if told.payload() != own_name => {
                        self.heard.notify_one();
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    None => return Ok(()),
                }
            }
        };
        let listen = async {
            client.batch_execute("LISTEN hookcast_work").await?;
            *pause = FIRST_PAUSE;
            // What came before it listened was told to nobody.
            self.heard.notify_one();
            std::future::pending::<Result<(), tokio_postgres::Error>>().await
        };
        tokio::select! {
            ended = messages => ended,
            failed = listen => failed,
        }
    }
}
