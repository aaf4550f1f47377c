//! The days into which the history is divided: a partition of events and one of finished deliveries each, made when the first
//! event of the day comes and dropped whole when the day is too old.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use hookcast_core::clock::Timestamp;
use tokio_postgres::types::Type;

use super::{
    locks,
    pool::{Commit, Pool, Statement},
    rows::{get, single},
};
use crate::error::StoreError;

const DAY_MS: i64 = 86_400_000;

/// A day since 1970-01-01, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(pub i64);

impl Day {
    pub(super) fn of(time: Timestamp) -> Self {
        Self(time.as_millis().div_euclid(DAY_MS))
    }

    /// Its first millisecond.
    pub(super) fn begins(self) -> i64 {
        self.0.saturating_mul(DAY_MS)
    }

    /// The first millisecond after it.
    pub(super) fn ends(self) -> i64 {
        self.begins().saturating_add(DAY_MS)
    }

    /// What the names of its partitions end with: the date.
    fn suffix(self) -> String {
        Timestamp::from_millis(self.begins()).to_string().chars().filter(char::is_ascii_digit).take(8).collect()
    }

    /// The day of a partition.
    fn named(name: &str) -> Option<Self> {
        let date = name.strip_prefix("events_").or_else(|| name.strip_prefix("finished_"))?;
        let (year, month, day) = (date.get(..4)?, date.get(4..6)?, date.get(6..)?);
        Timestamp::parse(&format!("{year}-{month}-{day}T00:00:00Z")).map(Self::of)
    }

    pub(super) fn events(self) -> String {
        format!("hookcast.events_{}", self.suffix())
    }

    pub(super) fn finished(self) -> String {
        format!("hookcast.finished_{}", self.suffix())
    }
}

/// Whether a table is there, whose name is a parameter.
pub(super) const IS_THERE: Statement = Statement { sql: "SELECT to_regclass($1) IS NOT NULL", types: &[Type::TEXT] };

const NAMES: Statement = Statement {
    sql: "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
          WHERE i.inhparent IN ('hookcast.events'::regclass, 'hookcast.finished'::regclass)",
    types: &[],
};

/// The days that have their partitions, as far as this node knows.
#[derive(Default)]
pub(super) struct Partitions {
    known: Mutex<BTreeSet<Day>>,
}

impl Partitions {
    /// Makes sure that events of these times have a place.
    pub(super) async fn ensure(&self, pool: &Pool, times: &[Timestamp]) -> Result<(), StoreError> {
        let missing: BTreeSet<Day> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            times.iter().map(|time| Day::of(*time)).filter(|day| !known.contains(day)).collect()
        };
        for day in missing {
            make(pool, day).await?;
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
        }
        Ok(())
    }

    /// Forgets a day whose partitions may be gone.
    pub(super) fn forget(&self, day: Day) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&day);
    }

    /// Forgets all: somebody has dropped one.
    pub(super) fn forget_all(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Makes a day's partitions unless they are there. Made apart and then attached, which others hardly notice; made as partitions
/// from the start they would lock out whoever reads or writes the others.
async fn make(pool: &Pool, day: Day) -> Result<(), StoreError> {
    let transaction = pool.begin(Commit::Durable).await?;
    transaction.script(locks::PARTITIONS).await?;
    let (from, to) = (day.begins(), day.ends());
    for (parent, partition) in [("hookcast.events", day.events()), ("hookcast.finished", day.finished())] {
        // Whoever dropped the day may have got only half-way.
        if !single::<bool>(&transaction.query(&IS_THERE, &[&partition]).await?)? {
            transaction
                .script(&format!(
                    "CREATE TABLE {partition} (LIKE {parent} INCLUDING DEFAULTS INCLUDING STORAGE);
                     ALTER TABLE {parent} ATTACH PARTITION {partition} FOR VALUES FROM ({from}) TO ({to})"
                ))
                .await?;
        }
    }
    transaction.commit().await
}

/// The days that have partitions, the oldest first.
pub(super) async fn days(pool: &Pool) -> Result<Vec<Day>, StoreError> {
    let mut days = BTreeSet::new();
    for row in pool.query(&NAMES, &[]).await? {
        let name: &str = get(&row, 0)?;
        days.extend(Day::named(name));
    }
    Ok(days.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_their_date() {
        let day = Day::of(Timestamp::parse("2026-01-31T12:00:00Z").unwrap());
        assert_eq!(day.events(), "hookcast.events_20260131");
        assert_eq!(Day::named("events_20260131"), Some(day));
        assert_eq!(Day::named("events_pkey"), None);
        assert_eq!(day.ends() - day.begins(), DAY_MS);
    }
}
