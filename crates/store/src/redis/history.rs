//! Events, deliveries and attempts as people read them, and their end.

use async_trait::async_trait;
use hookcast_core::{
    clock::Timestamp,
    delivery::DeliveryState,
    event::Event,
    id::{DeliveryId, EventId, SubscriptionId},
};

use super::{
    RedisStore, durability,
    rows::{self, Head, state_code},
    scripts,
};
use crate::{
    error::StoreError,
    history::{DeliveryRecord, EventQuery, EventRecord, History, Promise, Purged},
    page::{Page, PageRequest},
};

#[async_trait]
impl History for RedisStore {
    async fn event(&self, id: EventId, deliveries: PageRequest) -> Result<EventRecord, StoreError> {
        let after = deliveries.cursor.map_or(String::new(), |cursor| cursor.key().to_string());
        let mut call = self.call(&scripts::EVENT);
        call.arg(&id.to_bytes()[..]).arg(after).arg(u64::from(deliveries.limit) + 1);
        let mut reply = self.run(&call).await?;
        let head = Head::read(&reply.bytes()?)?;
        let total = head.deliveries;
        let event = head.with_rest(id, &mut reply)?;
        let mut records = Vec::new();
        while !reply.is_empty() {
            records.push(rows::record(reply.list()?)?);
        }
        Ok(EventRecord { event, total, deliveries: Page::from_rows(records, deliveries.limit) })
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>, StoreError> {
        let mut call = self.call(&scripts::EVENTS);
        call.arg(query.since.as_millis()).arg(query.until.as_millis()).arg(i32::from(query.ascending));
        match query.after {
            Some(after) => call.arg(&after.to_bytes()[..]).arg(after.time().as_millis()),
            None => call.arg("").arg(""),
        };
        call.arg(query.limit).arg(query.max_bytes).arg(query.source_id.as_deref().unwrap_or_default());
        let mut reply = self.run(&call).await?;
        let mut events = Vec::new();
        while !reply.is_empty() {
            let mut row = reply.list()?;
            let id = EventId::from_bytes(row.array()?);
            events.push(Head::read(&row.bytes()?)?.with_rest(id, &mut row)?);
        }
        Ok(events)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<DeliveryRecord, StoreError> {
        let mut call = self.call(&scripts::DELIVERY);
        call.arg(id.position());
        let (_, record) = rows::record(self.run(&call).await?.list()?)?;
        // A position says nothing of the time that an id has, too.
        if record.id == id { Ok(record) } else { Err(StoreError::NotFound) }
    }

    async fn deliveries(
        &self,
        subscription: SubscriptionId,
        state: Option<DeliveryState>,
        page: PageRequest,
    ) -> Result<Page<DeliveryRecord>, StoreError> {
        let state = state.map_or(String::new(), |state| state_code(state).to_string());
        let mut before = page.cursor.map_or(String::new(), |cursor| cursor.key().to_string());
        let wanted = usize::try_from(page.limit).unwrap_or(usize::MAX).saturating_add(1);
        let mut records = Vec::new();
        loop {
            let mut call = self.call(&scripts::DELIVERIES);
            call.arg(&subscription.to_bytes()[..]).arg(&state).arg(before).arg(wanted - records.len());
            let mut reply = self.run(&call).await?;
            let broken_off = reply.optional_int()?;
            while !reply.is_empty() {
                records.push(rows::record(reply.list()?)?);
            }
            match broken_off {
                Some(position) if records.len() < wanted => before = position.to_string(),
                _ => return Ok(Page::from_rows(records, page.limit)),
            }
        }
    }

    /// Goes on over events that are being sent until it has found others, of which it takes a part away.
    async fn purge(&self, before: Timestamp, now: Timestamp) -> Result<Purged, StoreError> {
        let mut step_over = 0;
        loop {
            let mut call = self.call(&scripts::PURGE);
            call.arg(before.as_millis()).arg(now.as_millis()).arg(step_over);
            let mut reply = self.run(&call).await?;
            let (events, expired, left) = (reply.natural()?, reply.natural()?, reply.natural()?);
            let more = reply.flag()?;
            if events > 0 || !more {
                return Ok(Purged { events, expired, more });
            }
            step_over += left;
        }
    }

    async fn check(&self) -> Result<Promise, StoreError> {
        self.room.check(&self.link).await?;
        let mut call = self.call(&scripts::CHECK);
        call.arg(self.settings.limits.max_size);
        self.run(&call).await?;
        durability::promise(&self.link).await
    }
}
