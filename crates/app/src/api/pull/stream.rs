//! Events as a stream (Server-Sent Events, HTML Living Standard, section 9.2).

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use hookcast_store::pull::Pulled;
use tokio::time::Instant;

use super::{
    ApiState, Wanted,
    places::{Fetcher, Place},
};

/// Then a stream ends: what it brought counts as delivered when its reader goes on behind it.
const LONGEST: Duration = Duration::from_secs(300);

/// How often something is sent, so that whoever is between does not take the connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long a reader whose stream has ended waits before it comes again.
const RETRY: Duration = Duration::from_millis(500);

struct Reading {
    state: ApiState,
    wanted: Wanted,
    until: Instant,
    read: VecDeque<Pulled>,
    _fetcher: Fetcher,
}

/// A stream of what is wanted. What it brings is not confirmed by it.
pub fn of(state: ApiState, wanted: Wanted, fetcher: Fetcher) -> Response {
    let until = Instant::now() + LONGEST;
    let reading = Reading { state, wanted, until, read: VecDeque::new(), _fetcher: fetcher };
    let begin = stream::iter([Ok(Event::default().retry(RETRY))]);
    let events = stream::unfold(reading, async |mut reading| {
        let event = reading.next().await?;
        Some((Ok::<_, Infallible>(event), reading))
    });
    Sse::new(stream::StreamExt::chain(begin, events)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Reading {
    /// The next event. `None` when the stream ends: its time is over, the server stops, or the store fails, of which its reader learns when
    /// it comes again.
    async fn next(&mut self) -> Option<Event> {
        if self.read.is_empty() {
            self.read = self.state.fetch(&self.wanted, self.until).await.ok()?.into();
        }
        let pulled = self.read.pop_front()?;
        let place = Place(pulled.sequence);
        self.wanted.read = Some(place);
        // A line break between tokens of JSON is as good as a space, and a stream knows no carriage return in its data.
        let data = self.state.body(&pulled, self.wanted.format).ok()?.replace('\r', " ");
        Some(Event::default().id(place.to_string()).event(pulled.event.event_type.as_str()).data(data))
    }
}
