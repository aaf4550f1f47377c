//! Events whose deliveries were accepted lately.
//!
//! Most deliveries are sent at once and end within milliseconds. They are written then, with what came of them; until then the
//! event's row here says to whom they go and who sends them. Only where they are given back are they written before.

use std::{collections::HashSet, ops::Range};

use hookcast_core::delivery::DeliveryState;
use rusqlite::{Connection, Row};

use super::rows::{SubscriptionKey, integer, state_code};
use crate::{engine::Incarnation, error::StoreError};

/// An event some of whose deliveries may not be listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fresh {
    /// The position of its first delivery.
    pub(super) first: i64,
    /// How many deliveries it has.
    pub(super) count: i64,
    /// The event's key.
    pub(super) event: i64,
    /// Who sends those that are not written.
    holder: Option<i64>,
}

impl Fresh {
    pub(super) const COLUMNS: &str = "first_delivery, deliveries, event, holder";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { first: row.get(0)?, count: row.get(1)?, event: row.get(2)?, holder: row.get(3)? })
    }

    /// That of the delivery at a position, if it is among them.
    pub(super) fn at(connection: &Connection, position: i64) -> Result<Option<Self>, StoreError> {
        let sql = "SELECT first_delivery, deliveries, event, holder FROM fresh
                   WHERE first_delivery <= ? ORDER BY first_delivery DESC LIMIT 1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut found = statement.query([position])?;
        let fresh = found.next()?.map(Self::read).transpose()?;
        Ok(fresh.filter(|fresh| fresh.positions().contains(&position)))
    }

    /// Of which positions it is.
    pub(super) fn positions(&self) -> Range<i64> {
        self.first..self.first.saturating_add(self.count)
    }

    /// Whether its deliveries that are not written are sent by this incarnation.
    pub(super) fn is_sent_by(&self, holder: Incarnation) -> bool {
        self.holder == Some(integer(holder.0))
    }

    /// The subscriptions of its deliveries, in the order of their positions.
    pub(super) fn lanes(&self, connection: &Connection) -> Result<Vec<SubscriptionKey>, StoreError> {
        let text: String = connection
            .prepare_cached("SELECT lanes FROM fresh WHERE first_delivery = ?")?
            .query_row([self.first], |row| row.get(0))?;
        lanes(&text)
    }

    /// Its deliveries that are not written, with their subscriptions, the first ones first.
    pub(super) fn unwritten(&self, connection: &Connection) -> Result<Vec<(i64, SubscriptionKey)>, StoreError> {
        let positions = self.positions();
        let written: HashSet<i64> = connection
            .prepare_cached("SELECT position FROM deliveries WHERE position >= ? AND position < ?")?
            .query_map([positions.start, positions.end], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let lanes = self.lanes(connection)?;
        Ok(positions.zip(lanes).filter(|(position, _)| !written.contains(position)).collect())
    }

    /// Whether all of its deliveries are written.
    pub(super) fn is_written(&self, connection: &Connection) -> Result<bool, StoreError> {
        let positions = self.positions();
        let written: i64 = connection
            .prepare_cached("SELECT COUNT(*) FROM deliveries WHERE position >= ? AND position < ?")?
            .query_row([positions.start, positions.end], |row| row.get(0))?;
        Ok(written >= self.count)
    }

    /// Writes one that is sent, as it is.
    fn write(&self, connection: &Connection, position: i64, lane: SubscriptionKey) -> Result<(), StoreError> {
        connection
            .prepare_cached(
                "INSERT INTO deliveries (position, event, subscription, state, holder) VALUES (?, ?, ?, ?, ?)",
            )?
            .execute((position, self.event, lane, state_code(DeliveryState::Sending), self.holder))?;
        Ok(())
    }
}

/// The subscriptions as they are kept.
pub(super) fn lanes(text: &str) -> Result<Vec<SubscriptionKey>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("an event's subscriptions: {error}")))
}

/// Keeps an accepted event's deliveries. Those that are not written are sent by `holder`.
pub(super) fn keep(
    connection: &Connection,
    first: i64,
    event: i64,
    holder: Option<Incarnation>,
    lanes: &[SubscriptionKey],
) -> Result<Fresh, StoreError> {
    let text = serde_json::to_string(lanes).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let (count, holder) = (i64::try_from(lanes.len()).unwrap_or(i64::MAX), holder.map(|holder| integer(holder.0)));
    connection
        .prepare_cached("INSERT INTO fresh VALUES (?, ?, ?, ?, ?)")?
        .execute((first, event, holder, count, text))?;
    Ok(Fresh { first, count, event, holder })
}

/// Writes a delivery that is sent and not written, so that it can be given back; answers whether it is one.
pub(super) fn write(connection: &Connection, position: i64, holder: Incarnation) -> Result<bool, StoreError> {
    let Some(fresh) = Fresh::at(connection, position)?.filter(|fresh| fresh.is_sent_by(holder)) else {
        return Ok(false);
    };
    let unwritten = fresh.unwritten(connection)?;
    let Some((_, lane)) = unwritten.into_iter().find(|(other, _)| *other == position) else { return Ok(false) };
    fresh.write(connection, position, lane)?;
    Ok(true)
}

/// Writes all that an incarnation sends and that is not written.
pub(super) fn write_all_of(connection: &Connection, holder: Incarnation) -> Result<(), StoreError> {
    for fresh in all(connection, "holder = ?", integer(holder.0))? {
        for (position, lane) in fresh.unwritten(connection)? {
            fresh.write(connection, position, lane)?;
        }
    }
    Ok(())
}

/// All of which a condition with one parameter is true, the first ones first.
fn all(connection: &Connection, condition: &str, parameter: i64) -> Result<Vec<Fresh>, StoreError> {
    let sql = format!("SELECT {} FROM fresh WHERE {condition} ORDER BY first_delivery", Fresh::COLUMNS);
    Ok(connection.prepare_cached(&sql)?.query_map([parameter], Fresh::read)?.collect::<Result<_, _>>()?)
}

/// What is sent and not written behind a position, with its event's key and its subscription, the first ones first.
pub(super) fn unwritten_after(
    connection: &Connection,
    after: i64,
) -> Result<Vec<(i64, i64, SubscriptionKey)>, StoreError> {
    let mut unwritten = Vec::new();
    for fresh in all(connection, "first_delivery + deliveries > ? + 1 AND holder IS NOT NULL", after)? {
        let of_event = fresh.unwritten(connection)?.into_iter();
        unwritten.extend(
            of_event.filter(|(position, _)| *position > after).map(|(position, lane)| (position, fresh.event, lane)),
        );
    }
    Ok(unwritten)
}

/// The positions of a subscription's deliveries that are not listed and come before a position, the last ones first.
pub(super) fn unlisted(connection: &Connection, lane: SubscriptionKey, before: i64) -> Result<Vec<i64>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT first_delivery, lanes FROM fresh WHERE first_delivery < ? ORDER BY first_delivery DESC",
    )?;
    let mut found = statement.query([before])?;
    let mut positions = Vec::new();
    while let Some(row) = found.next()? {
        let first: i64 = row.get(0)?;
        let lanes = lanes(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        let of_event = (first..).zip(lanes).filter(|(position, other)| *other == lane && *position < before);
        positions.extend(of_event.map(|(position, _)| position).collect::<Vec<_>>().into_iter().rev());
    }
    Ok(positions)
}
