//! Claiming: what `scripts/claim.lua` is given, and what it answers.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use hookcast_core::{
    clock::Timestamp,
    event::Event,
    id::{DeliveryId, EventId, SubscriptionId},
};

use super::{
    RedisStore,
    reply::{Reply, malformed},
    rows::{Head, millis},
    scripts::{self, Call},
};
use crate::{
    engine::{Claim, Claimed, PROBE_WAIT, Pass, RUN_MAX},
    error::StoreError,
};

/// More than any claim takes, and few enough for Redis to count.
const LIMIT_MAX: usize = 1_000_000_000;

/// Deliveries that were claimed, and the position at which a pass was broken off.
struct Part {
    claimed: Vec<Claimed>,
    broken_off: Option<i64>,
}

impl RedisStore {
    /// Claims what is due, of all wanted subscriptions at once.
    pub(super) async fn claim_due(
        &self,
        claim: &Claim,
        due_by: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut call = self.begin_claim(claim, now, claim.max_bytes);
        call.arg(due_by.as_millis()).arg("0").arg("0").arg("").arg("").arg("0");
        Ok(self.claim_part(call, &claim.wanted).await?.claimed)
    }

    /// Claims what a pass means, of one subscription after the other. The script looks at so many deliveries at a call; what it
    /// has found by then is an answer, and nothing is a reason to go on.
    pub(super) async fn claim_pass(
        &self,
        claim: &Claim,
        pass: &Pass,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed: Vec<Claimed> = Vec::new();
        for wanted in &claim.wanted {
            let mut after = pass.after.map_or(0, |after| i64::try_from(after.position()).unwrap_or(i64::MAX));
            loop {
                let bytes: usize = claimed.iter().map(|claimed| claimed.event.payload.get().len()).sum();
                if !claimed.is_empty() && bytes >= claim.max_bytes {
                    return Ok(claimed);
                }
                let mut call = self.begin_claim(claim, now, claim.max_bytes - bytes);
                add_pass(&mut call, pass, after);
                let part = match self.claim_part(call, std::slice::from_ref(wanted)).await {
                    // What is held already must not be forgotten.
                    Err(_) if !claimed.is_empty() => return Ok(claimed),
                    part => part?,
                };
                claimed.extend(part.claimed);
                match part.broken_off {
                    None => break,
                    Some(_) if !claimed.is_empty() => return Ok(claimed),
                    Some(position) => after = position,
                }
            }
        }
        Ok(claimed)
    }

    fn begin_claim(&self, claim: &Claim, now: Timestamp, max_bytes: usize) -> Call {
        let mut call = self.call(&scripts::CLAIM);
        call.arg(claim.holder.0).arg(now.as_millis()).arg(max_bytes).arg(RUN_MAX);
        if claim.which.asks_the_breaker() {
            call.arg(millis(PROBE_WAIT))
        } else {
            call.arg("")
        };
        call
    }

    async fn claim_part(&self, mut call: Call, wanted: &[(SubscriptionId, usize)]) -> Result<Part, StoreError> {
        for (subscription, limit) in wanted {
            call.arg(&subscription.to_bytes()[..]).arg(LIMIT_MAX.min(*limit));
        }
        let mut reply = self.run(&call).await?;
        let broken_off = reply.optional_int()?;
        let mut claimed = Vec::new();
        let mut events = HashMap::new();
        while !reply.is_empty() {
            claimed.push(read_claimed(reply.list()?, wanted, &mut events)?);
        }
        Ok(Part { claimed, broken_off })
    }
}

fn add_pass(call: &mut Call, pass: &Pass, after: i64) {
    let or_empty = |time: Option<Timestamp>| time.map_or(String::new(), |time| time.as_millis().to_string());
    call.arg(or_empty(pass.due_by))
        .arg("1")
        .arg(i32::from(pass.failed))
        .arg(pass.event.as_ref().map_or("", |event| event.as_str()))
        .arg(or_empty(pass.since))
        .arg(after);
}

/// Reads a delivery; its event, too, where that is not known yet.
fn read_claimed(
    mut row: Reply,
    wanted: &[(SubscriptionId, usize)],
    events: &mut HashMap<EventId, Arc<Event>>,
) -> Result<Claimed, StoreError> {
    let (position, wanted_index, attempts) = (row.natural()?, row.natural()?, row.natural()?);
    let group = row.optional_int()?;
    let id = EventId::from_bytes(row.array()?);
    let event = match events.entry(id) {
        Entry::Occupied(known) => Arc::clone(known.get()),
        Entry::Vacant(unknown) => {
            let event = Head::read(&row.bytes()?)?.with_rest(id, &mut row)?;
            Arc::clone(unknown.insert(Arc::new(event)))
        }
    };
    let wanted = usize::try_from(wanted_index).ok().and_then(|index| wanted.get(index)).ok_or_else(malformed)?;
    Ok(Claimed {
        id: DeliveryId::from_position(event.time, position),
        subscription: wanted.0,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        group,
        event,
    })
}
