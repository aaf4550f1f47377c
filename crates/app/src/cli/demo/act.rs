//! An act: somebody subscribes, events are triggered, callbacks arrive; and all of it is noted down.

use anyhow::ensure;
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    api::Api,
    screen::Screen,
    subscriber::{Arrival, Subscriber},
};
use crate::{
    cli::listen::paint::{BAD, FAINT, GOOD},
    receiver::Verdict,
};

/// What happened in an act.
#[derive(Debug, Default)]
pub struct Record {
    /// Its name.
    pub name: &'static str,
    /// How many callbacks its receiver means to fail.
    pub failures_meant: u64,
    /// The events that were triggered.
    pub triggered: Vec<Triggered>,
    /// The callbacks that arrived, in order.
    pub arrivals: Vec<Arrival>,
}

/// An event that was triggered.
#[derive(Debug)]
pub struct Triggered {
    /// Its id.
    pub id: String,
    /// What it brings.
    pub payload: Value,
    /// When it was about to be posted.
    pub at: Instant,
}

/// An act on its way.
pub struct Act<'a> {
    api: &'a Api,
    screen: &'a Screen,
    event: &'static str,
    subscriber: Subscriber,
    record: Record,
}

impl<'a> Act<'a> {
    /// Begins one: `user_id` subscribes to `event` with a receiver that fails so many times.
    pub async fn begin(
        (api, screen): (&'a Api, &'a Screen),
        name: &'static str,
        user_id: &str,
        event: &'static str,
        failures: u64,
    ) -> anyhow::Result<Self> {
        let subscriber = Subscriber::join(api, user_id, event, failures).await?;
        let record = Record { name, failures_meant: failures, ..Record::default() };
        Ok(Self { api, screen, event, subscriber, record })
    }

    /// Who subscribes.
    pub fn subscriber(&self) -> &Subscriber {
        &self.subscriber
    }

    /// Triggers an event for each payload, all in one request.
    pub async fn trigger(&mut self, payloads: &[Value]) -> anyhow::Result<()> {
        let at = Instant::now();
        let receipts = self.api.trigger(self.event, payloads).await?;
        ensure!(receipts.len() == payloads.len(), "{} events have {} receipts", payloads.len(), receipts.len());
        for (receipt, payload) in receipts.into_iter().zip(payloads) {
            ensure!(!receipt.duplicate, "{} was taken for a duplicate", receipt.id);
            ensure!(receipt.subscriptions == 1, "{} goes to {} subscriptions", receipt.id, receipt.subscriptions);
            self.record.triggered.push(Triggered { id: receipt.id, payload: payload.clone(), at });
        }
        Ok(())
    }

    /// Waits for so many callbacks, and shows each.
    pub async fn receive(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let arrival = self.subscriber.next().await?;
            self.screen.callback();
            self.screen.line(&self.describe(&arrival))?;
            self.record.arrivals.push(arrival);
        }
        Ok(())
    }

    /// Notes down what has arrived without having been waited for. Answers how much that was.
    pub fn receive_unexpected(&mut self) -> usize {
        let before = self.record.arrivals.len();
        self.record.arrivals.extend(std::iter::from_fn(|| self.subscriber.next_now()));
        self.record.arrivals.len() - before
    }

    /// Ends it.
    pub fn end(mut self) -> Record {
        self.receive_unexpected();
        self.record
    }

    /// `✓ 2019ApJ...871..218M  cites  10.5281/zenodo.2561483  (verified, 1.2 ms)`
    fn describe(&self, arrival: &Arrival) -> String {
        let paint = self.screen.paint();
        let is_taken = arrival.status == StatusCode::OK;
        let mark = if is_taken { paint.paint(GOOD, '✓') } else { paint.paint(BAD, '✗') };
        let verdict = match arrival.verdict {
            Verdict::Verified => "verified".to_owned(),
            _ => paint.paint(BAD, "NOT VERIFIED"),
        };
        let mut remarks = vec![verdict];
        let earlier = self.record.arrivals.iter().filter(|earlier| earlier.id == arrival.id).count();
        if earlier > 0 || !is_taken {
            remarks.push(format!("attempt {}", earlier + 1));
        }
        if !is_taken {
            remarks.push(format!("answered {}", arrival.status.as_u16()));
        }
        if let Some(triggered) = self.record.triggered.iter().find(|triggered| triggered.id == arrival.id) {
            let elapsed = arrival.at.duration_since(triggered.at);
            remarks.push(format!("{:.1} ms", elapsed.as_secs_f64() * 1_000.0));
        }
        format!("{mark} {}  {}", link(&arrival.payload), paint.paint(FAINT, format!("({})", remarks.join(", "))))
    }
}

/// A Scholix link in words: what relates how to what.
fn link(payload: &Value) -> String {
    let text = |path| payload.pointer(path).and_then(Value::as_str).unwrap_or("?");
    let (source, target) = (text("/Source/Identifier/ID"), text("/Target/Identifier/ID"));
    format!("{source:<28}  {:<16}  {target:<31}", words(text("/RelationshipType/SubType")))
}

/// `IsSupplementTo` is `is supplement to`.
fn words(camel: &str) -> String {
    let mut words = String::new();
    for character in camel.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_read_as_sentences() {
        let payload = json!({
            "Source": {"Identifier": {"ID": "a"}},
            "RelationshipType": {"SubType": "IsSupplementTo"},
            "Target": {"Identifier": {"ID": "b"}},
        });
        assert_eq!(link(&payload).split_whitespace().collect::<Vec<_>>().join(" "), "a is supplement to b");
        assert_eq!(link(&Value::Null).split_whitespace().collect::<Vec<_>>().join(" "), "? ? ?");
    }
}
