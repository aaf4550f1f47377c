//! What the store gives away, a part of a section at a time.

use hookcast_core::{
    canonical::ContentMd5,
    clock::Timestamp,
    delivery::DeliveryState,
    id::{AccountId, DeliveryId, EventId, NoticeId, SubscriptionId},
    token::TokenHash,
};
use rusqlite::{Connection, Row, types::Value};

use super::{
    fresh,
    history::attempts,
    lanes, notices,
    rows::{
        self, STATUS_COLUMNS, STATUS_TABLES, STATUS_WIDTH, SubscriptionKey, natural, state_code, state_of,
        subscription_status,
    },
};
use crate::{
    catalogue::SubscriptionStatus,
    documents::Kind,
    error::StoreError,
    transfer::{
        AccountItem, DeliveryItem, DocumentItem, EventItem, Exported, FingerprintItem, IdempotencyKeyItem, Item,
        NoticeItem, Place, PlaceInOrder, Portion, Section, SubscriptionItem, TokenItem,
    },
};

/// Makes an item of a row.
type Reading = fn(&Connection, &Row<'_>) -> Result<Item, StoreError>;

/// Reads a part of a section. A place is the key of the last row that was read.
pub(super) fn export(
    connection: &Connection,
    section: Section,
    after: Option<Place>,
    portion: Portion,
) -> Result<Exported, StoreError> {
    let Some((columns, key, read)) = reading(section) else { return deliveries(connection, after, portion) };
    let sql = format!("SELECT {columns} WHERE {key} > ? ORDER BY {key}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query([key_of(section, after)?])?;
    let mut exported = Exported { items: Vec::new(), next: None };
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let item = read(connection, row)?;
        bytes += item.size();
        exported.items.push(item);
        if portion.is_filled_by(exported.items.len(), bytes) {
            exported.next = Some(place_of(section, row)?);
            break;
        }
    }
    Ok(exported)
}

/// What is read of a section from where, the key that puts it in order, and what makes an item of it; nothing for deliveries, which are
/// in two tables.
fn reading(section: Section) -> Option<(String, &'static str, Reading)> {
    let (columns, key, read): (&str, _, Reading) = match section {
        Section::Accounts => ("key, id, user_id, user_email, created_at, deleted_at FROM accounts", "key", account),
        Section::Tokens => (
            "t.key, a.id, t.name, t.scope, t.created_at, t.expires_at, t.hash
             FROM tokens t JOIN accounts a ON a.key = t.account",
            "t.key",
            token,
        ),
        Section::Subscriptions => {
            let columns = format!("{STATUS_COLUMNS}, s.deleted_at, s.key FROM {STATUS_TABLES}");
            return Some((columns, "s.key", subscription));
        }
        Section::Events => (
            "key, id, type, time, md5, payload, order_key, extra, first_delivery, deliveries FROM events",
            "key",
            event,
        ),
        Section::Deliveries => return None,
        Section::Fingerprints => ("md5, event, first_at, expires_at FROM fingerprints", "md5", fingerprint),
        Section::IdempotencyKeys => {
            ("key, body_digest, receipts, expires_at FROM idempotency_keys", "key", idempotency_key)
        }
        Section::Notices => (
            "n.key, n.id, s.id, n.kind, n.time, n.reason, n.failure_count, n.failing_since, n.due_at, n.mail_begun
             FROM notices n JOIN subscriptions s ON s.key = n.subscription",
            "n.key",
            notice,
        ),
        Section::Documents => ("key, kind, name, body FROM documents", "key", document),
    };
    Some((columns.to_owned(), key, read))
}

/// The key that a place stands for, or one before all others.
fn key_of(section: Section, place: Option<Place>) -> Result<Value, StoreError> {
    let corrupt = || StoreError::Corrupt(format!("a place among the {section} makes no sense"));
    let place = place.map(|Place(text)| text);
    Ok(match section {
        Section::IdempotencyKeys => Value::Text(place.unwrap_or_default()),
        Section::Fingerprints => match place {
            Some(hex) => Value::Blob(u128::from_str_radix(&hex, 16).map_err(|_| corrupt())?.to_be_bytes().into()),
            None => Value::Blob(Vec::new()),
        },
        _ => Value::Integer(place.map_or(Ok(0), |text| text.parse()).map_err(|_| corrupt())?),
    })
}

fn place_of(section: Section, row: &Row<'_>) -> Result<Place, StoreError> {
    Ok(Place(match section {
        Section::IdempotencyKeys => row.get(0)?,
        Section::Fingerprints => ContentMd5::from_bytes(row.get(0)?).to_string(),
        Section::Subscriptions => row.get::<_, i64>(STATUS_WIDTH + 1)?.to_string(),
        _ => row.get::<_, i64>(0)?.to_string(),
    }))
}

fn account(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    Ok(Item::Account(AccountItem { account: rows::account(row, 1)?, deleted_at: rows::time(row, 5)? }))
}

fn token(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    Ok(Item::Token(TokenItem {
        account: AccountId::from_bytes(row.get(1)?),
        token: rows::token(row, 2)?,
        hash: TokenHash::from_bytes(row.get(6)?),
    }))
}

fn subscription(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    let SubscriptionStatus { mut subscription, expired, .. } = subscription_status(row)?;
    subscription.version = 0;
    Ok(Item::Subscription(SubscriptionItem { subscription, deleted_at: rows::time(row, STATUS_WIDTH)?, expired }))
}

fn event(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    Ok(Item::Event(EventItem {
        event: rows::event(row, 1)?,
        first_delivery: natural(row.get(8)?),
        deliveries: natural(row.get(9)?),
    }))
}

/// Deliveries by their positions. Those that are sent and not written are among them.
fn deliveries(connection: &Connection, after: Option<Place>, portion: Portion) -> Result<Exported, StoreError> {
    let Value::Integer(after) = key_of(Section::Deliveries, after)? else {
        return Err(StoreError::Corrupt("a place among the deliveries is no number".into()));
    };
    let unwritten = fresh::unwritten_after(connection, after)?;
    let mut unwritten =
        unwritten.into_iter().map(|(position, event, lane)| Kept::sent(position, event, lane)).peekable();
    let mut statement = connection.prepare_cached(
        "SELECT position, event, subscription, state, due_at, order_group, sequence FROM deliveries
         WHERE position > ? ORDER BY position",
    )?;
    let mut written = statement.query([after])?;
    let mut exported = Exported { items: Vec::new(), next: None };
    let (mut bytes, mut next) = (0, written.next()?.map(Kept::read).transpose()?);
    loop {
        let behind = next.as_ref().map_or(i64::MAX, |kept| kept.position);
        let (kept, is_written) = match unwritten.next_if(|kept| kept.position < behind) {
            Some(kept) => (kept, false),
            None => match next.take() {
                Some(kept) => (kept, true),
                None => return Ok(exported),
            },
        };
        let place = kept.position;
        let item = Item::Delivery(kept.item(connection)?);
        bytes += item.size();
        exported.items.push(item);
        if portion.is_filled_by(exported.items.len(), bytes) {
            exported.next = Some(Place(place.to_string()));
            return Ok(exported);
        }
        if is_written {
            next = written.next()?.map(Kept::read).transpose()?;
        }
    }
}

/// A delivery as it is kept.
struct Kept {
    position: i64,
    /// Its event's key.
    event: i64,
    lane: SubscriptionKey,
    state: i16,
    due_at: Option<Timestamp>,
    group: Option<i64>,
    sequence: Option<i64>,
}

impl Kept {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            position: row.get(0)?,
            event: row.get(1)?,
            lane: row.get(2)?,
            state: row.get(3)?,
            due_at: rows::time(row, 4)?,
            group: row.get(5)?,
            sequence: row.get(6)?,
        })
    }

    /// One that is sent and not written.
    fn sent(position: i64, event: i64, lane: SubscriptionKey) -> Self {
        let state = state_code(DeliveryState::Sending);
        Self { position, event, lane, state, due_at: None, group: None, sequence: None }
    }

    fn item(self, connection: &Connection) -> Result<DeliveryItem, StoreError> {
        let (time, event) =
            connection.prepare_cached("SELECT time, id FROM events WHERE key = ?")?.query_row([self.event], |row| {
                Ok((Timestamp::from_millis(row.get(0)?), EventId::from_bytes(row.get(1)?)))
            })?;
        let (subscription, is_deleted) = connection
            .prepare_cached("SELECT id, deleted_at IS NOT NULL FROM subscriptions WHERE key = ?")?
            .query_row([self.lane], |row| Ok((SubscriptionId::from_bytes(row.get(0)?), row.get(1)?)))?;
        let (state, due_at) = match (state_of(self.state)?, is_deleted) {
            (DeliveryState::Sending, true) => (DeliveryState::Cancelled, None),
            (DeliveryState::Sending, false) if self.waits_for_others(connection)? => (DeliveryState::Waiting, None),
            (DeliveryState::Sending, false) => (DeliveryState::Waiting, Some(time)),
            (state, _) => (state, self.due_at),
        };
        let place = match (state, self.group, self.sequence) {
            (DeliveryState::Waiting, Some(group), Some(sequence)) => {
                Some(PlaceInOrder { group, sequence: natural(sequence) })
            }
            _ => None,
        };
        Ok(DeliveryItem {
            id: DeliveryId::from_position(time, natural(self.position)),
            event,
            subscription,
            state,
            due_at,
            place,
            attempts: attempts(connection, self.position)?,
        })
    }

    fn waits_for_others(&self, connection: &Connection) -> Result<bool, StoreError> {
        let (Some(group), Some(sequence)) = (self.group, self.sequence) else { return Ok(false) };
        lanes::has_earlier(connection, self.lane, group, sequence)
    }
}

fn fingerprint(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    Ok(Item::Fingerprint(FingerprintItem {
        md5: ContentMd5::from_bytes(row.get(0)?),
        event: EventId::from_bytes(row.get(1)?),
        first_at: Timestamp::from_millis(row.get(2)?),
        expires_at: rows::time(row, 3)?,
    }))
}

fn idempotency_key(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    Ok(Item::IdempotencyKey(IdempotencyKeyItem {
        key: row.get(0)?,
        body_digest: row.get(1)?,
        receipts: rows::receipts(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?,
        expires_at: Timestamp::from_millis(row.get(3)?),
    }))
}

fn notice(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    Ok(Item::Notice(NoticeItem {
        id: NoticeId::from_bytes(row.get(1)?),
        subscription: SubscriptionId::from_bytes(row.get(2)?),
        kind: notices::kind(row, 3)?,
        time: Timestamp::from_millis(row.get(4)?),
        reason: row.get(5)?,
        failure_count: row.get(6)?,
        failing_since: rows::time(row, 7)?,
        due_at: Timestamp::from_millis(row.get(8)?),
        mail_begun: row.get(9)?,
    }))
}

fn document(_: &Connection, row: &Row<'_>) -> Result<Item, StoreError> {
    let kind = Kind::read(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
    Ok(Item::Document(DocumentItem { kind, name: row.get(2)?, body: row.get(3)? }))
}
