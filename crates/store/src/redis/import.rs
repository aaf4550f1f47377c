//! What the store takes in from another one.

use super::{
    RedisStore, accept,
    notices::reason_name,
    rows::{add_token, attempt_json, or_empty, state_code},
    scripts::{self, Call},
    transfer::name,
};
use crate::{
    code::{options_text, url_text},
    error::StoreError,
    transfer::{
        AccountItem, DeliveryItem, EventItem, FingerprintItem, IdempotencyKeyItem, Item, NoticeItem, Progress, Section,
        SubscriptionItem,
    },
};

impl RedisStore {
    /// Stores items of one section, and how far the copy has come.
    pub(super) async fn import_items(&self, items: &[Item], progress: &Progress) -> Result<(), StoreError> {
        let mut call = self.call(&scripts::IMPORT);
        call.arg(json(progress)?).arg(items.first().map_or("", |item| name(section_of(item))));
        for item in items {
            add_item(&mut call, item)?;
        }
        let reply = self.link.ask(&call).await?;
        match reply.status() {
            "orphan" => Err(StoreError::Corrupt("an item refers to one that is not there".into())),
            _ => reply.expect_ok(),
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn section_of(item: &Item) -> Section {
    match item {
        Item::Account(_) => Section::Accounts,
        Item::Token(_) => Section::Tokens,
        Item::Subscription(_) => Section::Subscriptions,
        Item::Event(_) => Section::Events,
        Item::Delivery(_) => Section::Deliveries,
        Item::Fingerprint(_) => Section::Fingerprints,
        Item::IdempotencyKey(_) => Section::IdempotencyKeys,
        Item::Notice(_) => Section::Notices,
        Item::Document(_) => Section::Documents,
    }
}

fn add_item(call: &mut Call, item: &Item) -> Result<(), StoreError> {
    match item {
        Item::Account(item) => add_account(call, item),
        Item::Token(item) => add_token(call, item.account, &item.token, item.hash),
        Item::Subscription(item) => return add_subscription(call, item),
        Item::Event(item) => return add_event(call, item),
        Item::Delivery(item) => return add_delivery(call, item),
        Item::Fingerprint(item) => add_fingerprint(call, item),
        Item::IdempotencyKey(item) => return add_key(call, item),
        Item::Notice(item) => add_notice(call, item),
        Item::Document(item) => {
            call.arg(item.kind.as_str()).arg(&item.name).arg(&item.body);
        }
    }
    Ok(())
}

fn add_account(call: &mut Call, item: &AccountItem) {
    let account = &item.account;
    call.arg(&account.id.to_bytes()[..])
        .arg(&account.user_id)
        .arg(account.created_at.as_millis())
        .arg(i32::from(account.user_email.is_some()))
        .arg(account.user_email.as_deref().unwrap_or_default())
        .arg(or_empty(item.deleted_at));
}

fn add_subscription(call: &mut Call, item: &SubscriptionItem) -> Result<(), StoreError> {
    let (subscription, health) = (&item.subscription, &item.subscription.health);
    call.arg(&subscription.id.to_bytes()[..])
        .arg(&subscription.account.to_bytes()[..])
        .arg(subscription.events.to_string())
        .arg(url_text(subscription))
        .arg(subscription.secrets.as_bytes())
        .arg(i32::from(subscription.is_active))
        .arg(health.failure_count)
        .arg(or_empty(health.failing_since))
        .arg(subscription.created_at.as_millis())
        .arg(or_empty(item.deleted_at))
        .arg(item.expired)
        .arg(options_text(&subscription.options)?)
        .arg(or_empty(health.failed_at))
        .arg(or_empty(health.probe_at))
        .arg(or_empty(health.recovered_at));
    Ok(())
}

fn add_event(call: &mut Call, item: &EventItem) -> Result<(), StoreError> {
    let event = &item.event;
    call.arg(&event.id.to_bytes()[..])
        .arg(event.event_type.as_str())
        .arg(event.time.as_millis())
        .arg(&event.md5.to_bytes()[..])
        .arg(event.payload.get())
        .arg(item.first_delivery)
        .arg(item.deliveries)
        .arg(event.key.as_deref().unwrap_or_default());
    accept::add_extra(call, event)
}

fn add_delivery(call: &mut Call, item: &DeliveryItem) -> Result<(), StoreError> {
    // JSON holds no line break, so that lines keep attempts apart.
    let mut attempts = Vec::new();
    for attempt in &item.attempts {
        attempts.extend(format!("{} ", attempt.number).into_bytes());
        attempts.extend(attempt_json(attempt)?);
        attempts.push(b'\n');
    }
    call.arg(item.id.position())
        .arg(&item.event.to_bytes()[..])
        .arg(&item.subscription.to_bytes()[..])
        .arg(state_code(item.state))
        .arg(or_empty(item.due_at))
        .arg(attempts)
        .arg(item.place.map_or(String::new(), |place| place.group.to_string()))
        .arg(item.place.map_or(0, |place| place.sequence));
    Ok(())
}

fn add_fingerprint(call: &mut Call, item: &FingerprintItem) {
    call.arg(&item.md5.to_bytes()[..])
        .arg(&item.event.to_bytes()[..])
        .arg(item.first_at.as_millis())
        .arg(or_empty(item.expires_at));
}

fn add_key(call: &mut Call, item: &IdempotencyKeyItem) -> Result<(), StoreError> {
    let mut receipts = Vec::new();
    for receipt in &item.receipts {
        receipts.extend(json(receipt)?);
        receipts.push(b'\n');
    }
    call.arg(&item.key).arg(&item.body_digest[..]).arg(item.expires_at.as_millis()).arg(receipts);
    Ok(())
}

fn add_notice(call: &mut Call, item: &NoticeItem) {
    call.arg(&item.id.to_bytes()[..])
        .arg(&item.subscription.to_bytes()[..])
        .arg(reason_name(item.kind, &item.reason))
        .arg(item.time.as_millis())
        .arg(item.failure_count)
        .arg(or_empty(item.failing_since))
        .arg(item.due_at.as_millis())
        .arg(i32::from(item.mail_begun));
}
