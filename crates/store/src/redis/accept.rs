//! Accepting: what `scripts/accept.lua` is given, and what it answers.

use hookcast_core::{
    clock::Timestamp,
    event::Event,
    id::{DeliveryId, EventId},
    policy::Deduplicate,
};

use super::{
    Server,
    reply::{Reply, malformed},
    rows::{millis, or_empty, timestamp},
    scripts::{self, Call},
};
use crate::{
    code::extra_text,
    engine::{Accepted, Batch, NewEvent, Receipt},
    error::{AcceptError, StoreError},
    gather::{Answer, Bounds, Request},
};

/// A script holds up everybody else, so that groups are small.
pub(super) const BOUNDS: Bounds = Bounds { batches: 128, deliveries: 1_000, bytes: 4 * 1024 * 1024 };

impl Server {
    /// Stores a group of requests; what became of each.
    pub(super) async fn accept(&self, requests: &[Request]) -> Vec<Answer> {
        match self.store(requests).await {
            Ok(answers) => answers,
            Err(error) => requests.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    async fn store(&self, requests: &[Request]) -> Result<Vec<Answer>, AcceptError> {
        self.room.check(&self.link).await?;
        let call = self.accept_call(requests)?;
        let mut reply = self.link.ask(&call).await?;
        reply.expect_ok()?;
        requests.iter().map(|request| Ok(self.became(&request.batch, reply.answer()?))).collect()
    }

    /// What became of a request.
    fn became(&self, batch: &Batch, mut reply: Reply) -> Answer {
        match reply.status() {
            "ok" => accepted(batch, reply),
            "replayed" => replayed(reply),
            "reused" => Err(AcceptError::KeyReused),
            "stale" => Err(AcceptError::StaleCatalogue),
            "lost" => Err(AcceptError::LeaseLost),
            "unknown" => Err(StoreError::Corrupt("a recipient is not in the catalogue".into()).into()),
            "full" => {
                let (used, max) = (reply.int()?, self.settings.limits.max_size);
                Err(StoreError::Full(format!("{used} bytes of {max} are taken")).into())
            }
            _ => Err(malformed().into()),
        }
    }

    fn accept_call(&self, requests: &[Request]) -> Result<Call, StoreError> {
        let limits = self.settings.limits;
        let mut call = self.call(&scripts::ACCEPT);
        let now = requests.iter().map(|request| request.now).max().ok_or_else(malformed)?;
        let batch = &requests.first().ok_or_else(malformed)?.batch;
        call.arg(now.as_millis())
            .arg(batch.catalogue.0)
            .arg(batch.holder.0)
            .arg(limits.max_waiting)
            .arg(limits.max_size);
        match batch.deduplicate {
            Deduplicate::Off => call.arg("").arg(""),
            Deduplicate::Within(window) => call.arg(now.minus(window).as_millis()).arg(millis(window)),
            Deduplicate::Forever => call.arg(i64::MIN).arg(""),
        };
        for Request { batch, now } in requests {
            call.arg(batch.events.len());
            match &batch.idempotency {
                None => call.arg(""),
                Some(key) => call.arg(&key.body_digest[..]).arg(&key.key).arg(now.plus(key.remember).as_millis()),
            };
            for new in &batch.events {
                add_event(&mut call, new, batch)?;
            }
        }
        Ok(call)
    }
}

fn add_event(call: &mut Call, new: &NewEvent, batch: &Batch) -> Result<(), StoreError> {
    let event = &new.event;
    let recipients: Vec<u8> = new.recipients.iter().flat_map(|recipient| recipient.subscription.to_bytes()).collect();
    let mut reserved = vec![b'0'; new.recipients.len()];
    for index in &new.reserved {
        if let Some(flag) = usize::try_from(*index).ok().and_then(|index| reserved.get_mut(index)) {
            *flag = b'1';
        }
    }
    let values = some_have(new, batch)?;
    let letters: Vec<u8> = values.iter().map(|(letter, _)| *letter).collect();
    call.arg(&event.id.to_bytes()[..])
        .arg(event.event_type.as_str())
        .arg(event.time.as_millis())
        .arg(&event.md5.to_bytes()[..])
        .arg(event.payload.get())
        .arg(recipients)
        .arg(reserved)
        .arg(letters);
    for (_, value) in values {
        call.arg(value);
    }
    Ok(())
}

/// What only some events have, each with the letter that tells the script of it.
fn some_have(new: &NewEvent, batch: &Batch) -> Result<Vec<(u8, Vec<u8>)>, StoreError> {
    let event = &new.event;
    let mut values = Vec::new();
    let mut add = |letter, value: Option<&[u8]>| values.extend(value.map(|value| (letter, value.to_vec())));
    let fingerprint = (batch.deduplicate != Deduplicate::Off).then(|| event.fingerprint());
    add(if new.deduplicate { b'p' } else { b'o' }, fingerprint.as_ref().map(|print| &print[..]));
    add(b'k', event.key.as_deref().map(str::as_bytes));
    add(b'x', extra_text(event)?.as_deref().map(str::as_bytes));
    add(b's', event.source_id().map(str::as_bytes));
    let at = event.extra.as_ref().and_then(|extra| extra.deliver_at).map(|at| at.as_millis().to_string());
    add(b'a', at.as_deref().map(str::as_bytes));
    add(b'g', Some(groups(new).as_bytes()).filter(|groups| !groups.is_empty()));
    if batch.idempotency.is_some() {
        let receipt = Receipt::of(event, new.recipients.len());
        let receipt = serde_json::to_vec(&receipt).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        add(b'r', Some(&receipt));
    }
    Ok(values)
}

/// The groups of an event's deliveries, for each that has one its number and its group.
fn groups(new: &NewEvent) -> String {
    let mut groups = String::new();
    for (number, recipient) in (1..).zip(new.recipients.iter()) {
        if let Some(group) = new.group(recipient) {
            groups += &format!("{number}:{group} ");
        }
    }
    groups
}

/// Adds what few events have.
pub(super) fn add_extra(call: &mut Call, event: &Event) -> Result<(), StoreError> {
    let at = event.extra.as_ref().and_then(|extra| extra.deliver_at);
    call.arg(extra_text(event)?.unwrap_or_default()).arg(event.source_id().unwrap_or_default()).arg(or_empty(at));
    Ok(())
}

fn accepted(batch: &Batch, mut reply: Reply) -> Result<Accepted, AcceptError> {
    let mut accepted = Accepted { receipts: Vec::new(), held: Vec::new(), replayed: false };
    for new in &batch.events {
        let receipt = Receipt::of(&new.event, new.recipients.len());
        let mut became = reply.list()?;
        let first = became.bytes()?;
        if became.is_empty() {
            let first: u64 = String::from_utf8_lossy(&first).parse().map_err(|_| malformed())?;
            let position = |index: &u32| DeliveryId::from_position(new.event.time, first + u64::from(*index));
            accepted.held.push(new.reserved.iter().map(position).collect());
            accepted.receipts.push(receipt);
        } else {
            let first = EventId::from_bytes(first.try_into().map_err(|_| malformed())?);
            accepted.held.push(Vec::new());
            accepted.receipts.push(receipt.duplicate(first, timestamp(&mut became)?));
        }
    }
    Ok(accepted)
}

fn replayed(reply: Reply) -> Result<Accepted, AcceptError> {
    let receipts = receipts(reply)?;
    let held = vec![Vec::new(); receipts.len()];
    Ok(Accepted { receipts, held, replayed: true })
}

/// Reads the receipts that an idempotency key stands for.
pub(super) fn receipts(mut reply: Reply) -> Result<Vec<Receipt>, StoreError> {
    let mut receipts = Vec::new();
    while !reply.is_empty() {
        let receipt: Receipt = serde_json::from_slice(&reply.bytes()?).map_err(|_| malformed())?;
        let (first, time) = (reply.bytes()?, reply.optional_int()?);
        receipts.push(match time {
            None => receipt,
            Some(time) => {
                let first = EventId::from_bytes(first.try_into().map_err(|_| malformed())?);
                receipt.duplicate(first, Timestamp::from_millis(time))
            }
        });
    }
    Ok(receipts)
}
