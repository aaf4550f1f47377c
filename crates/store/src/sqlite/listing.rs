//! Listing: fresh events whose deliveries are all written leave their table, and each subscription's list gets what is its own.
//!
//! Many at once, in the lists' own order, so that a page that is written is written for many. A process knows of what it has accepted
//! itself what is written; for the rest it looks.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::{
    bulk::Insert,
    fresh::{Fresh, lanes},
    rows::SubscriptionKey,
};
use crate::{engine::Incarnation, error::StoreError};

/// What an event counts beside its deliveries, where it is counted how much is to be listed.
const EVENT_WORK: usize = 64;

/// When so much is to be listed it is, and so much of it at once: enough that subscriptions have many each, even where there are many
/// subscriptions, and so little that no write waits long.
const AT_ONCE: usize = 16_384;

/// So much is looked at to find that much, where events that have not ended are in between.
const LOOK_AT: usize = 16 * AT_ONCE;

/// How many events are remembered: some more than are being sent, mostly.
const RECENT: usize = 8_192;

/// A fresh event that this process has accepted.
#[derive(Debug)]
struct Recent {
    fresh: Fresh,
    /// How many of its deliveries are not written.
    unwritten: i64,
    /// Which of them were sent at once, so that they are not written before they have ended.
    sent: Sent,
    /// The subscription of its first delivery.
    lane: SubscriptionKey,
}

impl Recent {
    /// Whether the delivery at this position was sent at once.
    fn is_sent(&self, position: i64) -> bool {
        self.sent.has(position - self.fresh.first)
    }
}

/// Which of an event's deliveries were sent at once.
#[derive(Debug)]
enum Sent {
    All,
    /// Those with these numbers, in their order.
    Some(Box<[u32]>),
}

impl Sent {
    fn of(event: &Fresh, sent: &[u32]) -> Self {
        if i64::try_from(sent.len()) == Ok(event.count) { Self::All } else { Self::Some(sent.into()) }
    }

    /// Whether that with this number was.
    fn has(&self, number: i64) -> bool {
        match self {
            Self::All => true,
            Self::Some(sent) => u32::try_from(number).is_ok_and(|number| sent.binary_search(&number).is_ok()),
        }
    }
}

/// What is to be listed, as far as a process knows.
pub(super) struct Listing {
    /// The events that it has accepted last, the first one first.
    recent: VecDeque<Recent>,
    /// There may be others before them, of which it is not known how much of them is written.
    has_others: bool,
    /// How much there is to list.
    work: usize,
}

impl Default for Listing {
    /// What earlier processes have left is not known.
    fn default() -> Self {
        Self { recent: VecDeque::new(), has_others: true, work: usize::MAX }
    }
}

fn work_of(event: &Fresh) -> usize {
    EVENT_WORK.saturating_add(usize::try_from(event.count).unwrap_or(0))
}

impl Listing {
    /// Notes an event that was accepted, and of its deliveries the numbers of those that are sent and so not written.
    pub(super) fn add(&mut self, fresh: Fresh, sent: &[u32], lane: SubscriptionKey) {
        if sent.is_empty() {
            self.work = self.work.saturating_add(work_of(&fresh));
        }
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
            self.has_others = true;
        }
        let unwritten = i64::try_from(sent.len()).unwrap_or(i64::MAX);
        self.recent.push_back(Recent { fresh, unwritten, sent: Sent::of(&fresh, sent), lane });
    }

    /// Forgets what is known of events.
    pub(super) fn forget(&mut self) {
        self.has_others |= !self.recent.is_empty();
        self.recent.clear();
    }

    /// Others than this process's outcomes have written deliveries.
    pub(super) fn look_for_all(&mut self) {
        *self = Self::default();
    }

    /// The fresh event of the delivery at a position, if it is of one.
    pub(super) fn event_at(&self, connection: &Connection, position: i64) -> Result<Option<Fresh>, StoreError> {
        match self.recent_at(position) {
            Some(index) => Ok(Some(self.recent[index].fresh)),
            None => Fresh::at(connection, position),
        }
    }

    fn recent_at(&self, position: i64) -> Option<usize> {
        let index = self.recent.partition_point(|recent| recent.fresh.first <= position).checked_sub(1)?;
        self.recent[index].fresh.positions().contains(&position).then_some(index)
    }

    /// Notes that a delivery is written that has ended, if it is known that it was not written before; answers its event's key.
    pub(super) fn end(&mut self, position: i64, holder: Incarnation) -> Option<i64> {
        let index = self.recent_at(position)?;
        let recent = &self.recent[index];
        let (event, is_unwritten) = (recent.fresh.event, recent.is_sent(position) && recent.fresh.is_sent_by(holder));
        is_unwritten.then(|| {
            self.note_written_at(index);
            event
        })
    }

    fn note_written_at(&mut self, index: usize) {
        let recent = &mut self.recent[index];
        recent.unwritten -= 1;
        if recent.unwritten == 0 {
            self.work = self.work.saturating_add(work_of(&recent.fresh));
        }
    }

    /// Notes that a delivery of an event is written.
    pub(super) fn note_written(&mut self, event: &Fresh, position: i64) {
        if let Some(index) = self.recent_at(position) {
            self.note_written_at(index);
        } else if position + 1 == event.positions().end {
            // It counts by its part.
            self.work = self.work.saturating_add(work_of(event));
        }
    }

    /// Whether it is time to list some.
    pub(super) fn is_due(&self) -> bool {
        self.work >= AT_ONCE
    }

    /// Lists some of what can be, the first ones first.
    pub(super) fn list(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let mut part = Part::default();
        if self.has_others {
            let before = self.recent.front().map_or(i64::MAX, |recent| recent.fresh.first);
            self.has_others = part.find(connection, before)?;
        }
        let mut left = Vec::new();
        while part.work < AT_ONCE
            && let Some(recent) = self.recent.pop_front()
        {
            if recent.unwritten > 0 {
                part.pass_over();
                left.push(recent);
            } else if recent.fresh.count == 1 {
                part.add(&recent.fresh, [recent.lane]);
            } else {
                part.add(&recent.fresh, recent.fresh.lanes(connection)?);
            }
        }
        for recent in left.into_iter().rev() {
            self.recent.push_front(recent);
        }
        self.work = if part.work < AT_ONCE { 0 } else { self.work.saturating_sub(part.work) };
        part.write(connection)
    }
}

const LISTED: Insert = Insert { before: "INSERT INTO listed", after: "", columns: 2 };

/// What is listed at once.
#[derive(Default)]
struct Part {
    entries: Vec<(SubscriptionKey, i64)>,
    /// The events, by the first and the last one of those that follow each other.
    runs: Vec<(i64, i64)>,
    is_in_run: bool,
    work: usize,
}

impl Part {
    fn add(&mut self, event: &Fresh, lanes: impl IntoIterator<Item = SubscriptionKey>) {
        self.work += work_of(event);
        self.entries.extend(lanes.into_iter().zip(event.positions()));
        match self.runs.last_mut().filter(|_| self.is_in_run) {
            Some((_, last)) => *last = event.first,
            None => self.runs.push((event.first, event.first)),
        }
        self.is_in_run = true;
    }

    /// There is an event here that is not listed now.
    fn pass_over(&mut self) {
        self.is_in_run = false;
    }

    /// Finds events before a position that can be listed; answers whether there may be more of them.
    fn find(&mut self, connection: &Connection, before: i64) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT {}, lanes, (SELECT COUNT(*) FROM deliveries
                 WHERE position >= first_delivery AND position < first_delivery + deliveries)
             FROM fresh WHERE first_delivery < ? ORDER BY first_delivery",
            Fresh::COLUMNS
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut found = statement.query([before])?;
        let (mut looked_at, mut is_any_left) = (0, false);
        while let Some(row) = found.next()? {
            if self.work >= AT_ONCE || looked_at >= LOOK_AT {
                return Ok(true);
            }
            let fresh = Fresh::read(row)?;
            looked_at += work_of(&fresh);
            if row.get::<_, i64>(5)? < fresh.count {
                self.pass_over();
                is_any_left = true;
            } else {
                self.add(&fresh, lanes(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?);
            }
        }
        Ok(is_any_left)
    }

    fn write(mut self, connection: &Connection) -> Result<(), StoreError> {
        // In the order of the table, so that each of its pages is looked for once.
        self.entries.sort_unstable();
        LISTED.all(connection, &self.entries, |statement, at, (lane, position)| {
            statement.raw_bind_parameter(at, lane)?;
            statement.raw_bind_parameter(at + 1, position)
        })?;
        let mut delete = connection.prepare_cached("DELETE FROM fresh WHERE first_delivery BETWEEN ? AND ?")?;
        for run in self.runs {
            delete.execute(run)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Limits,
        sqlite::{fresh, schema},
    };

    const LANES: [SubscriptionKey; 3] = [7, 8, 9];

    struct World {
        connection: Connection,
        listing: Listing,
        next: i64,
        _folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let connection = schema::open_for_writing(&folder.path().join("store.db"), Limits::default()).unwrap();
            let mut world = Self { connection, listing: Listing::default(), next: 1, _folder: folder };
            assert!(world.listing.is_due(), "who knows what is there");
            world.list();
            assert!(!world.listing.is_due());
            world
        }

        /// An event for the first subscriptions, to all of which it is sent at once.
        fn accept(&mut self, subscriptions: usize) -> Fresh {
            let lanes = &LANES[..subscriptions];
            let fresh = fresh::keep(&self.connection, self.next, self.next, Some(Incarnation(1)), lanes).unwrap();
            self.next = fresh.positions().end;
            let sent: Vec<_> = (0..).take(subscriptions).collect();
            self.listing.add(fresh, &sent, lanes[0]);
            fresh
        }

        fn write(&mut self, event: &Fresh) {
            for (position, lane) in event.positions().zip(LANES) {
                let sql = "INSERT INTO deliveries (position, event, subscription, state) VALUES (?, 1, ?, 2)";
                self.connection.execute(sql, [position, lane]).unwrap();
                self.listing.note_written(event, position);
            }
        }

        fn list(&mut self) {
            self.listing.list(&self.connection).unwrap();
        }

        fn count(&self, table: &str) -> i64 {
            self.connection.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap()
        }

        fn is_fresh(&self, event: &Fresh) -> bool {
            Fresh::at(&self.connection, event.first).unwrap().is_some()
        }
    }

    #[test]
    fn what_is_written_is_listed_by_the_hundred_and_what_is_sent_is_not() {
        let mut world = World::new();
        let events: Vec<_> = (0..300).map(|n| world.accept(1 + n % 3)).collect();
        assert!(!world.listing.is_due());
        for event in events.iter().filter(|event| event.first != events[5].first) {
            world.write(event);
        }
        assert!(world.listing.is_due());
        world.list();
        assert!(!world.listing.is_due());
        let listed = world.count("listed");
        assert!((400..550).contains(&listed), "{listed}");
        assert!(world.is_fresh(&events[5]) && world.is_fresh(&events[299]) && !world.is_fresh(&events[6]));
        let in_order = "listed l LEFT JOIN deliveries d ON d.position = l.position AND d.subscription = l.subscription
                        WHERE d.position IS NULL";
        assert_eq!(world.count(in_order), 0);

        world.write(&events[5]);
        world.listing.work = usize::MAX;
        world.list();
        assert_eq!((world.count("listed"), world.count("fresh")), (600, 0));
    }

    #[test]
    fn of_what_was_sent_at_once_it_is_known_that_it_is_not_written() {
        let mut world = World::new();
        let whole = world.accept(2);
        assert_eq!(world.listing.end(whole.first, Incarnation(2)), None);
        assert_eq!(world.listing.end(whole.first + 1, Incarnation(1)), Some(whole.event));
        assert_eq!(world.listing.end(whole.first + 2, Incarnation(1)), None);

        let (next, event) = (world.next, world.next);
        let part = fresh::keep(&world.connection, next, event, Some(Incarnation(1)), &LANES).unwrap();
        world.listing.add(part, &[0, 2], LANES[0]);
        let ended = [0, 1, 2, 3].map(|number| world.listing.end(part.first + number, Incarnation(1)));
        assert_eq!(ended, [Some(event), None, Some(event), None]);
        assert!(world.listing.recent.back().is_some_and(|part| part.unwritten == 0));
        world.listing.forget();
        assert_eq!(world.listing.end(whole.first, Incarnation(1)), None);
    }

    #[test]
    fn what_is_not_remembered_is_looked_for() {
        let mut world = World::new();
        let events: Vec<_> = (0..10).map(|_| world.accept(3)).collect();
        world.listing.forget();
        let later = world.accept(2);
        for event in events.iter().skip(1) {
            world.write(event);
        }
        world.list();
        assert_eq!((world.count("listed"), world.count("fresh")), (27, 2));
        world.write(&later);
        world.list();
        assert_eq!((world.count("listed"), world.count("fresh")), (29, 1));
        world.write(&events[0]);
        world.list();
        assert_eq!((world.count("listed"), world.count("fresh")), (32, 0));
    }
}
