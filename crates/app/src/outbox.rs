//! Publishing what is in a producer's outbox: taking it out, posting it as any producer would, and only then deleting it there.

use std::{convert::Infallible, fmt::Write as _, path::PathBuf, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use hookcast_store::{
    StoreError,
    outbox::{self, Outbox, Taken},
};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

/// The pauses before something that failed is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The most bytes of an answer that are read.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

/// An outbox and how it is followed.
pub struct Settings {
    /// The producer's database, as a URL.
    pub from: String,
    /// The table or stream.
    pub name: String,
    /// A PEM file of certificate authorities that are trusted for that database besides the public ones.
    pub ca_file: Option<PathBuf>,
    /// How many events are posted in one request, at the most.
    pub limit: usize,
}

/// A server's answer to a batch.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Where events are posted.
pub trait Server: Send + Sync {
    /// Posts a body of JSON to `/webhooks/trigger` under an idempotency key.
    ///
    /// # Errors
    /// There was no answer, for this reason.
    fn post(&self, key: &str, body: Bytes) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// This process itself.
pub struct Here {
    /// Its API.
    pub router: Router,
    /// The token of producers.
    pub token: SecretString,
}

impl Server for Here {
    async fn post(&self, key: &str, body: Bytes) -> Result<Answer, String> {
        let request = Request::post("/webhooks/trigger")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose_secret()))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key)
            .body(Body::from(body))
            .map_err(|error| error.to_string())?;
        let response = self.router.clone().oneshot(request).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let body = http_body_util::Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok(Answer { status: head.status, body: body.to_bytes() })
    }
}

/// What is decided about a batch.
#[derive(Debug, PartialEq, Eq)]
enum Published {
    /// It is accepted, now or before.
    Yes,
    /// It cannot be, because of the event in this place.
    NotThis(usize, String),
    /// It is too much for one request.
    TooMuch,
}

impl Published {
    /// What an answer to so many events decides; where it decides nothing, why not.
    fn of(answer: &Answer, count: usize) -> Result<Self, String> {
        let problem = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("no reason given").to_owned();
        let index =
            problem["index"].as_u64().and_then(|index| usize::try_from(index).ok()).filter(|index| *index < count);
        match (answer.status, index) {
            // Where the key is known the batch was accepted, and since then its producer has changed a row of it.
            (StatusCode::ACCEPTED | StatusCode::CONFLICT, _) => Ok(Self::Yes),
            (StatusCode::FORBIDDEN | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY, Some(index)) => {
                Ok(Self::NotThis(index, detail))
            }
            (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY, _) => {
                Ok(if count == 1 { Self::NotThis(0, detail) } else { Self::TooMuch })
            }
            (status, _) => Err(format!("{}: {detail}", status.as_u16())),
        }
    }
}

/// Publishes what is in an outbox, for as long as the future lives. `told` hears how much was published. Ends only where the outbox
/// cannot be followed at all: its URL or its table is wrong.
pub async fn publish(settings: &Settings, server: &impl Server, told: impl Fn(usize)) -> StoreError {
    let follower = format!("{:032x}", rand::random::<u128>());
    let mut pause = FIRST_PAUSE;
    loop {
        let Err(error) = follow(settings, &follower, server, &told, &mut pause).await;
        if matches!(error, StoreError::Misconfigured(_)) {
            return error;
        }
        tracing::warn!(%error, "the outbox {} cannot be read now; it is tried again", settings.name);
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// Publishes until the outbox fails.
async fn follow(
    settings: &Settings,
    follower: &str,
    server: &impl Server,
    told: &impl Fn(usize),
    pause: &mut Duration,
) -> Result<Infallible, StoreError> {
    let mut outbox = outbox::follow(&settings.from, &settings.name, settings.ca_file.as_deref(), follower).await?;
    tracing::info!("following the outbox {}", settings.name);
    let mut limit = settings.limit;
    loop {
        let Some(taken) = outbox.take(limit).await? else { continue };
        *pause = FIRST_PAUSE;
        let count = taken.entries.len();
        match post(server, &taken).await {
            Published::Yes => {
                outbox.published(taken).await?;
                told(count);
                limit = settings.limit.min(limit * 2);
            }
            Published::NotThis(index, reason) => put_aside(&mut *outbox, taken, index, &reason).await?,
            Published::TooMuch => {
                limit = count.div_ceil(2);
                outbox.give_back(taken).await?;
            }
        }
    }
}

async fn put_aside(outbox: &mut dyn Outbox, taken: Taken, index: usize, reason: &str) -> Result<(), StoreError> {
    let id = taken.entries.get(index).map_or("", |entry| entry.id.as_str());
    tracing::error!("the event {id} of the outbox cannot be published and is put aside: {reason}");
    outbox.put_aside(taken, index, reason).await
}

/// Posts a batch until there is an answer that decides.
async fn post(server: &impl Server, taken: &Taken) -> Published {
    let key = key(&taken.name);
    let body = body(taken);
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = server.post(&key, body.clone()).await;
        let reason = match answer.and_then(|answer| Published::of(&answer, taken.entries.len())) {
            Ok(published) => return published,
            Err(reason) => reason,
        };
        tracing::warn!("events of the outbox cannot be published now, which is tried again: {reason}");
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// The idempotency key of a batch.
fn key(name: &str) -> String {
    Sha256::digest(name).iter().take(16).fold("outbox-".to_owned(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    })
}

fn body(taken: &Taken) -> Bytes {
    let events: Vec<&str> = taken.entries.iter().map(|entry| entry.event.as_str()).collect();
    format!("[{}]", events.join(",")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), body: body.to_owned().into() }
    }

    #[test]
    fn answers_decide_or_are_waited_for() {
        let not_this = |index, detail: &str| Ok(Published::NotThis(index, detail.into()));
        let (yes, too_much) = (|| Ok(Published::Yes), || Ok(Published::TooMuch));
        let undecided = |reason: &str| Err(reason.to_owned());
        for (status, body, count, expected) in [
            (202, "[]", 3, yes()),
            (409, "{}", 3, yes()),
            (422, r#"{"detail":"d","index":2}"#, 3, not_this(2, "d")),
            (422, r#"{"detail":"d","index":3}"#, 3, too_much()),
            (422, r#"{"detail":"d"}"#, 3, too_much()),
            (422, r#"{"detail":"d"}"#, 1, not_this(0, "d")),
            (413, "", 2, too_much()),
            (413, "", 1, not_this(0, "no reason given")),
            (400, r#"{"detail":"no JSON"}"#, 1, not_this(0, "no JSON")),
            (403, r#"{"detail":"d","index":0}"#, 2, not_this(0, "d")),
            (403, r#"{"detail":"d"}"#, 1, undecided("403: d")),
            (503, r#"{"detail":"full"}"#, 1, undecided("503: full")),
            (401, "", 1, undecided("401: no reason given")),
        ] {
            assert_eq!(Published::of(&answer(status, body), count), expected, "{status} {body} {count}");
        }
    }

    #[test]
    fn a_batch_is_a_list_under_a_key_of_its_own() {
        let entry = |event: &str| outbox::Entry { id: "1".into(), event: event.into() };
        let taken = Taken { name: "b".into(), entries: vec![entry("{\"n\":1.0}"), entry("{}")] };
        assert_eq!(body(&taken), "[{\"n\":1.0},{}]");
        assert_eq!(key("b").len(), 39);
        assert_ne!(key("b"), key("c"));
    }
}
