//! What the store gives away, a part of a section at a time.

use hookcast_core::{
    canonical::ContentMd5,
    delivery::DeliveryState,
    id::{AccountId, EventId, NoticeId, SubscriptionId},
    token::TokenHash,
};

use super::{
    RedisStore, accept, documents,
    notices::kind_and_reason,
    reply::Reply,
    rows::{self, Head},
    scripts,
    transfer::name,
};
use crate::{
    catalogue::SubscriptionStatus,
    documents::{Document, Kind},
    error::StoreError,
    transfer::{
        AccountItem, DeliveryItem, DocumentItem, EventItem, Exported, FingerprintItem, IdempotencyKeyItem, Item,
        NoticeItem, Place, PlaceInOrder, Portion, Section, SubscriptionItem, TokenItem,
    },
};

/// Items that are read at a call, so that none holds up the server.
const ITEMS: usize = 500;

/// A place as the script takes it: what comes before the items, and where there may be several of one score, that score.
#[derive(Default)]
struct After {
    member: Vec<u8>,
    score: String,
}

impl RedisStore {
    /// Reads a part of a section, of which a call of the script may find nothing where much was taken away.
    pub(super) async fn export_part(
        &self,
        section: Section,
        after: Option<Place>,
        portion: Portion,
    ) -> Result<Exported, StoreError> {
        let mut after = after.map_or(Ok(After::default()), |place| read_place(section, &place))?;
        loop {
            let mut call = self.call(&scripts::EXPORT);
            call.arg(name(section))
                .arg(ITEMS.min(portion.items))
                .arg(portion.bytes)
                .arg(&after.member)
                .arg(&after.score);
            let mut reply = self.run(&call).await?;
            let (more, looked_at) = (reply.flag()?, reply.bytes()?);
            let (mut exported, mut bytes) = (Exported { items: Vec::new(), next: None }, 0);
            while !reply.is_empty() {
                let (item, place) = read_item(section, reply.list()?)?;
                bytes += item.size();
                exported.items.push(item);
                let is_filled = portion.is_filled_by(exported.items.len(), bytes);
                exported.next = (more || is_filled).then_some(place);
                if is_filled {
                    break;
                }
            }
            if !exported.items.is_empty() || !more {
                return Ok(exported);
            }
            after.member = looked_at;
        }
    }
}

fn read_place(section: Section, Place(text): &Place) -> Result<After, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("a place among the {section} makes no sense"));
    let scored = || text.split_once(':').ok_or_else(corrupt);
    Ok(match section {
        Section::Accounts | Section::Subscriptions | Section::Deliveries => {
            let number: u64 = text.parse().map_err(|_| corrupt())?;
            After { member: number.to_string().into_bytes(), score: number.to_string() }
        }
        Section::Tokens => {
            let (account, name) = scored()?;
            let account: u64 = account.parse().map_err(|_| corrupt())?;
            After { member: account.to_string().into_bytes(), score: name.into() }
        }
        Section::Events => {
            let (score, id) = scored()?;
            let id: EventId = id.parse().map_err(|_| corrupt())?;
            After { member: id.to_bytes().into(), score: score.into() }
        }
        Section::Fingerprints => {
            let (score, md5) = scored()?;
            let md5 = u128::from_str_radix(md5, 16).map_err(|_| corrupt())?;
            After { member: md5.to_be_bytes().into(), score: score.into() }
        }
        Section::IdempotencyKeys => {
            let (score, key) = scored()?;
            After { member: key.as_bytes().into(), score: score.into() }
        }
        Section::Notices => {
            let (score, id) = scored()?;
            let id: NoticeId = id.parse().map_err(|_| corrupt())?;
            After { member: id.to_bytes().into(), score: score.into() }
        }
        Section::Documents => {
            let (kind, name) = scored()?;
            After { member: name.as_bytes().into(), score: kind.into() }
        }
    })
}

/// Reads an item and the place behind it.
fn read_item(section: Section, mut row: Reply) -> Result<(Item, Place), StoreError> {
    let row = &mut row;
    let (item, place) = match section {
        Section::Accounts => {
            let place = row.text()?;
            let account = rows::account(row.list()?)?;
            (Item::Account(AccountItem { account, deleted_at: rows::optional_timestamp(row)? }), place)
        }
        Section::Subscriptions => {
            let place = row.text()?;
            let SubscriptionStatus { mut subscription, expired, .. } = rows::status(row.list()?)?;
            subscription.version = 0;
            let deleted_at = rows::optional_timestamp(row)?;
            (Item::Subscription(SubscriptionItem { subscription, deleted_at, expired }), place)
        }
        Section::Tokens => token(row)?,
        Section::Events => event(row)?,
        Section::Deliveries => delivery(row)?,
        Section::Fingerprints => fingerprint(row)?,
        Section::IdempotencyKeys => idempotency_key(row)?,
        Section::Notices => notice(row)?,
        Section::Documents => document(row)?,
    };
    Ok((item, Place(place)))
}

fn token(row: &mut Reply) -> Result<(Item, String), StoreError> {
    let owner = row.text()?;
    let (account, hash) = (AccountId::from_bytes(row.array()?), TokenHash::from_bytes(row.array()?));
    let token = rows::token(row.list()?)?;
    let place = format!("{owner}:{}", token.name);
    Ok((Item::Token(TokenItem { account, token, hash }), place))
}

fn event(row: &mut Reply) -> Result<(Item, String), StoreError> {
    let id = EventId::from_bytes(row.array()?);
    let head = Head::read(&row.bytes()?)?;
    let deliveries = head.deliveries;
    let event = head.with_rest(id, row)?;
    let place = format!("{}:{id}", event.time.as_millis());
    Ok((Item::Event(EventItem { event, first_delivery: row.natural()?, deliveries }), place))
}

fn delivery(row: &mut Reply) -> Result<(Item, String), StoreError> {
    let is_deleted = row.flag()?;
    let (position, record) = rows::record(row.list()?)?;
    let (place, has_earlier) = place_in_order(row.list()?)?;
    let (state, due_at) = match (record.state, is_deleted) {
        (DeliveryState::Sending, true) => (DeliveryState::Cancelled, None),
        (DeliveryState::Sending, false) if has_earlier => (DeliveryState::Waiting, None),
        (DeliveryState::Sending, false) => (DeliveryState::Waiting, Some(record.id.time())),
        (state, _) => (state, record.due_at),
    };
    let item = DeliveryItem {
        id: record.id,
        event: record.event,
        subscription: record.subscription,
        state,
        due_at,
        place: place.filter(|_| state == DeliveryState::Waiting),
        attempts: record.attempts,
    };
    Ok((Item::Delivery(item), position.to_string()))
}

/// Reads a delivery's place in its group's order, and whether others are before it.
fn place_in_order(mut row: Reply) -> Result<(Option<PlaceInOrder>, bool), StoreError> {
    if row.is_empty() {
        return Ok((None, false));
    }
    let place = PlaceInOrder { group: row.int()?, sequence: row.natural()? };
    Ok((Some(place), row.flag()?))
}

fn fingerprint(row: &mut Reply) -> Result<(Item, String), StoreError> {
    let md5 = ContentMd5::from_bytes(row.array()?);
    let event = EventId::from_bytes(row.array()?);
    let first_at = rows::timestamp(row)?;
    let expires_at = rows::optional_timestamp(row)?;
    let score = expires_at.map_or("+inf".into(), |end| end.as_millis().to_string());
    Ok((Item::Fingerprint(FingerprintItem { md5, event, first_at, expires_at }), format!("{score}:{md5}")))
}

fn idempotency_key(row: &mut Reply) -> Result<(Item, String), StoreError> {
    let key = row.text()?;
    let body_digest = row.array()?;
    let expires_at = rows::timestamp(row)?;
    let receipts = accept::receipts(row.list()?)?;
    let place = format!("{}:{key}", expires_at.as_millis());
    Ok((Item::IdempotencyKey(IdempotencyKeyItem { key, body_digest, receipts, expires_at }), place))
}

fn notice(row: &mut Reply) -> Result<(Item, String), StoreError> {
    let (id, subscription) = (NoticeId::from_bytes(row.array()?), SubscriptionId::from_bytes(row.array()?));
    let (kind, reason) = kind_and_reason(&row.text()?)?;
    let item = NoticeItem {
        id,
        subscription,
        kind,
        time: rows::timestamp(row)?,
        reason,
        failure_count: rows::failures(row)?,
        failing_since: rows::optional_timestamp(row)?,
        due_at: rows::timestamp(row)?,
        mail_begun: row.flag()?,
    };
    let place = format!("{}:{id}", item.due_at.as_millis());
    Ok((Item::Notice(item), place))
}

fn document(row: &mut Reply) -> Result<(Item, String), StoreError> {
    let kind = Kind::read(&row.text()?)?;
    let Document { name, body, .. } = documents::document(row.list()?)?;
    let place = format!("{}:{name}", kind.as_str());
    Ok((Item::Document(DocumentItem { kind, name, body }), place))
}
