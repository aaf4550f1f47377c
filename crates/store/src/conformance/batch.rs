//! Batches, built as they are told of: `batch().event("x").to(&[&ada]).reserved(&[0]).accept()`.

use std::{sync::Arc, time::Duration};

use hookcast_core::{
    canonical::ContentMd5,
    clock::Timestamp,
    event::{Event, Extra},
    id::{EventId, SubscriptionId},
    policy::Deduplicate,
    subscription::Subscription,
};
use serde_json::value::RawValue;

use super::{
    process::Process,
    world::{NOW, World, event_type},
};
use crate::{
    catalogue::{CatalogueVersion, Recipient},
    engine::{Accepted, Batch, Idempotency, NewEvent},
    error::AcceptError,
};

/// A batch in the making. What is said of an event is said of the last one.
pub(crate) struct BatchBuilder<'w> {
    world: &'w World,
    by: &'w Process,
    name: u64,
    now: Timestamp,
    catalogue: Option<CatalogueVersion>,
    deduplicate: Deduplicate,
    idempotency: Option<Idempotency>,
    events: Vec<Draft>,
}

struct Draft {
    event_type: String,
    payload: String,
    time: Option<Timestamp>,
    key: Option<String>,
    extra: Extra,
    deduplicate: bool,
    recipients: Vec<SubscriptionId>,
    reserved: Vec<u32>,
}

impl<'w> BatchBuilder<'w> {
    pub(crate) fn new(world: &'w World, name: u64) -> Self {
        Self {
            world,
            by: &world.here,
            name,
            now: NOW,
            catalogue: None,
            deduplicate: Deduplicate::Off,
            idempotency: None,
            events: Vec::new(),
        }
    }

    /// An event, of a payload unlike all others unless one is given.
    pub(crate) fn event(mut self, event_type: &str) -> Self {
        self.events.push(Draft {
            event_type: event_type.into(),
            payload: format!(r#"{{"batch":{},"event":{}}}"#, self.name, self.events.len()),
            time: None,
            key: None,
            extra: Extra::default(),
            deduplicate: true,
            recipients: Vec::new(),
            reserved: Vec::new(),
        });
        self
    }

    /// So many events for one subscription, of its type.
    pub(crate) fn events(self, count: usize, subscription: &Subscription) -> Self {
        (0..count).fold(self, |batch, _| batch.event(&subscription.events.to_string()).to([subscription]))
    }

    fn last(&mut self) -> &mut Draft {
        self.events.last_mut().unwrap()
    }

    pub(crate) fn payload(mut self, json: &str) -> Self {
        self.last().payload = json.into();
        self
    }

    /// When the event was made, where that is not when the batch is accepted.
    pub(crate) fn made(mut self, time: Timestamp) -> Self {
        self.last().time = Some(time);
        self
    }

    /// What few events have.
    pub(crate) fn extra(mut self, extra: Extra) -> Self {
        self.last().extra = extra;
        self
    }

    /// It is not due before this time.
    pub(crate) fn deliver_at(self, time: Timestamp) -> Self {
        self.extra(Extra { deliver_at: Some(time), ..Extra::default() })
    }

    /// The event's ordering key.
    pub(crate) fn keyed(mut self, key: &str) -> Self {
        self.last().key = Some(key.into());
        self
    }

    /// Exempts the event from the rule for equal content.
    pub(crate) fn even_if_duplicate(mut self) -> Self {
        self.last().deduplicate = false;
        self
    }

    pub(crate) fn to<'s>(mut self, recipients: impl IntoIterator<Item = &'s Subscription>) -> Self {
        self.last().recipients = recipients.into_iter().map(|subscription| subscription.id).collect();
        self
    }

    pub(crate) fn reserved(mut self, indexes: &[u32]) -> Self {
        self.last().reserved = indexes.into();
        self
    }

    pub(crate) fn by(mut self, process: &'w Process) -> Self {
        self.by = process;
        self
    }

    pub(crate) fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// A version of the catalogue other than the newest.
    pub(crate) fn chosen_from(mut self, version: CatalogueVersion) -> Self {
        self.catalogue = Some(version);
        self
    }

    pub(crate) fn deduplicate(mut self, rule: Deduplicate) -> Self {
        self.deduplicate = rule;
        self
    }

    pub(crate) fn key(mut self, key: &str, body: u8, remember: Duration) -> Self {
        self.idempotency = Some(Idempotency { key: key.into(), body_digest: [body; 32], remember });
        self
    }

    /// The batch, with the recipients as active as they are now.
    pub(crate) async fn build(self) -> Batch {
        let catalogue = self.world.store().changes_since(CatalogueVersion(0)).await.unwrap();
        let known = |id| catalogue.changed.iter().find(|known| known.id == id);
        let events = self.events.into_iter().map(|draft| {
            let time = draft.time.unwrap_or(self.now);
            let recipient = |id| Recipient {
                subscription: id,
                is_active: known(id).is_some_and(|known| known.is_active),
                ordering: known(id).and_then(|known| known.options.ordering).unwrap_or_default(),
            };
            NewEvent {
                event: Event {
                    id: self.world.new_event_id(time),
                    md5: ContentMd5::of(&draft.event_type, &draft.payload).unwrap(),
                    event_type: event_type(&draft.event_type),
                    time,
                    key: draft.key,
                    extra: draft.extra.unless_empty(),
                    payload: RawValue::from_string(draft.payload).unwrap(),
                },
                deduplicate: draft.deduplicate,
                recipients: draft.recipients.into_iter().map(recipient).collect::<Arc<[_]>>(),
                reserved: draft.reserved,
            }
        });
        Batch {
            events: events.collect(),
            catalogue: self.catalogue.unwrap_or(catalogue.version),
            holder: self.by.holder,
            deduplicate: self.deduplicate,
            idempotency: self.idempotency,
        }
    }

    pub(crate) async fn try_accept(self) -> Result<Accepted, AcceptError> {
        let (store, now) = (Arc::clone(&self.by.store), self.now);
        store.accept(self.build().await, now).await
    }

    pub(crate) async fn accept(self) -> Accepted {
        self.try_accept().await.unwrap()
    }

    /// Accepts a batch of one event and answers its id.
    pub(crate) async fn accept_one(self) -> EventId {
        let accepted = self.accept().await;
        assert_eq!(accepted.receipts.len(), 1);
        accepted.receipts[0].id
    }
}
