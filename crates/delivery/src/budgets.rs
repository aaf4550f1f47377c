//! What accounts may still be sent today: each day has a budget, of which nodes take blocks, and count them down in memory.
//!
//! What was taken of a day is a document in the store, written only over what was read: however many nodes there are, no more is
//! sent than may be. What a node has taken and not used it gives back when it ends. Where it is killed that is lost for the day, a
//! hundredth of what was left at the most, or a few.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hookcast_core::{
    clock::{Clock, Timestamp},
    id::AccountId,
};
use hookcast_store::{
    Store, StoreError,
    documents::{self, DocumentVersion, Expected, Kind},
};

use crate::{directory::Directory, quotas::Quota};

/// A block is so many times smaller than what is left, and so large at the least: each is a write.
const BLOCKS: u64 = 100;
const LEAST: u64 = 16;

/// How soon it is noticed that other nodes have given back what they took of a budget that was used up.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often a block is tried to be taken while other nodes take theirs.
const TRIES: usize = 50;

/// How long an account waits whose budget cannot be looked at.
const RETRY: Duration = Duration::from_secs(1);

const DAY: i64 = 24 * 60 * 60 * 1_000;

/// A day of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Day(i64);

impl Day {
    fn of(time: Timestamp) -> Self {
        Self(time.as_millis().div_euclid(DAY))
    }

    fn end(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(1).saturating_mul(DAY))
    }

    /// The name of an account's document of this day.
    fn name(self, account: AccountId) -> String {
        format!("{}{account}", self.prefix())
    }

    fn prefix(self) -> String {
        format!("{:08}-", self.0.max(0))
    }
}

/// What the names of the documents begin with that are of no use any more. A node's clock may be behind: the day before stays.
#[must_use]
pub(crate) fn kept_from(now: Timestamp) -> String {
    Day(Day::of(now).0 - 1).prefix()
}

/// What this node has taken of a day and not used.
#[derive(Debug)]
struct Block {
    day: Day,
    left: u64,
}

/// What one delivery has taken, where it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Taken(Option<Day>);

#[derive(Default)]
struct Known {
    version: DocumentVersion,
    /// What accounts with a quota of their own may have in a day; `None` for any number.
    limits: HashMap<AccountId, Option<u64>>,
    blocks: HashMap<AccountId, Block>,
    /// As of which change budgets that were used up were looked at again, and when.
    looked_again: (DocumentVersion, Timestamp),
}

/// The budgets of all accounts that have one.
pub struct Budgets {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    directory: Arc<Directory>,
    settings: Quota,
    /// Whether anybody has one: mostly nobody has, and then they cost nothing.
    is_any: AtomicBool,
    known: Mutex<Known>,
    /// Shared by those who take blocks: no limit changes meanwhile.
    changing: tokio::sync::RwLock<()>,
    /// Who takes a block just now, and takes it for those of the account that wait, too.
    taking: Mutex<HashMap<AccountId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Budgets {
    /// Reads who has a budget.
    ///
    /// # Errors
    /// The store failed.
    pub async fn load(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        directory: Arc<Directory>,
        settings: Quota,
    ) -> Result<Self, StoreError> {
        let is_any = AtomicBool::new(Quota::over(None, settings).events_per_day.is_some());
        let (known, changing, taking) = Default::default();
        let budgets = Self { store, clock, directory, settings, is_any, known, changing, taking };
        budgets.refresh().await?;
        Ok(budgets)
    }

    /// Reads who has a budget, if that has changed; answers whether it has. Whoever may have more than before goes on.
    ///
    /// # Errors
    /// The store failed.
    pub async fn refresh(&self) -> Result<bool, StoreError> {
        let _alone = self.changing.write().await;
        // The version first: what changes meanwhile is read again.
        let version = self.store.documents_version(Kind::Quotas).await?;
        if version == self.known().version {
            return Ok(false);
        }
        let mut limits = HashMap::new();
        for document in documents::all(&*self.store, Kind::Quotas).await? {
            let Ok(account) = document.name.parse() else { continue };
            match Quota::read(&document) {
                Ok(quota) => drop(limits.insert(account, Quota::over(Some(quota), self.settings).events_per_day)),
                Err(error) => tracing::error!(%error, "the settings hold for an account"),
            }
        }
        let (changed, unused) = self.adopt(limits, version);
        self.put_back(unused).await;
        self.directory.allow_again(&changed);
        Ok(true)
    }

    /// Lets accounts go on whose budgets were used up and are not any more, since other nodes gave back of them; answers whether there
    /// are any.
    ///
    /// # Errors
    /// The store failed.
    pub async fn look_again(&self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let (version, looked_at) = self.known().looked_again;
        if self.directory.used_up().is_empty() || now.since(looked_at) < LOOK_AGAIN {
            return Ok(false);
        }
        let (current, held) = {
            // Nobody is about to be held back by what was read before.
            let _alone = self.changing.write().await;
            (self.store.documents_version(Kind::Budgets).await?, self.directory.used_up())
        };
        self.known().looked_again = (current, now);
        if current == version {
            return Ok(false);
        }
        let mut allowed = Vec::new();
        for account in held {
            let (taken, _) = taken(&*self.store, account, Day::of(now)).await?;
            if self.limit(account).is_none_or(|limit| taken < limit) {
                allowed.push(account);
            }
        }
        self.directory.allow_again(&allowed);
        Ok(!allowed.is_empty())
    }

    /// Lets these limits hold; answers whose have changed, and what is not to be used any more of what was taken.
    fn adopt(
        &self,
        limits: HashMap<AccountId, Option<u64>>,
        version: DocumentVersion,
    ) -> (Vec<AccountId>, Vec<(AccountId, Block)>) {
        let setting = Quota::over(None, self.settings).events_per_day;
        let mut known = self.known();
        let before = std::mem::replace(&mut known.limits, limits);
        let mut changed = Vec::new();
        for account in before.keys().chain(known.limits.keys()) {
            let was = before.get(account).copied().unwrap_or(setting);
            let is = known.limits.get(account).copied().unwrap_or(setting);
            if was != is {
                changed.push((*account, is.is_some_and(|is| was.is_none_or(|was| is < was))));
            }
        }
        // Of what was taken while more was allowed nothing more is used.
        let mut unused = Vec::new();
        for (account, _) in changed.iter().filter(|(_, is_less)| *is_less) {
            unused.extend(known.blocks.remove_entry(account));
        }
        known.version = version;
        self.is_any.store(setting.is_some() || known.limits.values().any(Option::is_some), Ordering::Release);
        (changed.into_iter().map(|(account, _)| account).collect(), unused)
    }

    /// Gives back what this node has taken and not used, at its end.
    pub async fn end(&self) {
        let _alone = self.changing.write().await;
        let unused = std::mem::take(&mut self.known().blocks);
        self.put_back(unused).await;
    }

    async fn put_back(&self, unused: impl IntoIterator<Item = (AccountId, Block)>) {
        let today = Day::of(self.clock.now());
        for (account, block) in unused.into_iter().filter(|(_, block)| block.day == today && block.left > 0) {
            if let Err(error) = put_back_block(&*self.store, account, &block).await {
                tracing::warn!(%error, "what was not used of a day's events could not be given back");
                return;
            }
        }
    }

    /// Takes what one delivery needs of its account's budget of today, if there is anything left. Where there is not the account is
    /// held back until the day ends.
    pub async fn take(&self, account: AccountId) -> Option<Taken> {
        if !self.is_any.load(Ordering::Acquire) {
            return Some(Taken(None));
        }
        match self.take_of_block(account, self.clock.now()) {
            Some(taken) => Some(taken),
            // Seldom, and on the way of every attempt: its future shall not be as large for that.
            None => Box::pin(self.take_of_store(account)).await,
        }
    }

    /// Takes it of what this node has; `None` where it has nothing.
    fn take_of_block(&self, account: AccountId, now: Timestamp) -> Option<Taken> {
        let mut known = self.known();
        if self.limit_in(&known, account).is_none() {
            return Some(Taken(None));
        }
        let block = known.blocks.get_mut(&account).filter(|block| block.day == Day::of(now) && block.left > 0)?;
        block.left -= 1;
        Some(Taken(Some(block.day)))
    }

    async fn take_of_store(&self, account: AccountId) -> Option<Taken> {
        let _unchanged = self.changing.read().await;
        let taking = Arc::clone(lock(&self.taking).entry(account).or_default());
        let taken = {
            let _alone = taking.lock().await;
            self.take_block(account).await
        };
        // Held twice: by the table, and here. Whoever waits holds it, too.
        let mut all = lock(&self.taking);
        if Arc::strong_count(&taking) == 2 {
            all.remove(&account);
        }
        taken
    }

    /// Takes a block, and of that what one delivery needs.
    async fn take_block(&self, account: AccountId) -> Option<Taken> {
        let now = self.clock.now();
        // Somebody else may have taken a block meanwhile, or found that there is none.
        if let Some(taken) = self.take_of_block(account, now) {
            return Some(taken);
        }
        if self.directory.is_used_up(account) {
            return None;
        }
        let Some(limit) = self.limit(account) else { return Some(Taken(None)) };
        match take_block(&*self.store, account, limit, Day::of(now)).await {
            Ok(0) => {
                tracing::info!(%account, limit, "an account has had its events of the day; what comes waits for the next");
                self.directory.use_up(account, Day::of(now).end());
                None
            }
            Ok(block) => {
                let mut known = self.known();
                known.blocks.retain(|_, block| block.day == Day::of(now));
                // Meanwhile something may have been given back.
                let today = Block { day: Day::of(now), left: 0 };
                known.blocks.entry(account).or_insert(today).left += block - 1;
                Some(Taken(Some(Day::of(now))))
            }
            Err(error) => {
                tracing::warn!(%account, %error, "whether an account may be sent more today cannot be found out now");
                self.directory.use_up(account, now.plus(RETRY));
                None
            }
        }
    }

    /// Gives back what was taken for an attempt that was not made.
    pub fn give_back(&self, account: AccountId, taken: Taken) {
        let Taken(Some(day)) = taken else { return };
        if let Some(block) = self.known().blocks.get_mut(&account).filter(|block| block.day == day) {
            block.left += 1;
        }
    }

    /// How many events an account may be sent in a day, if that is limited.
    #[must_use]
    pub fn limit(&self, account: AccountId) -> Option<u64> {
        self.limit_in(&self.known(), account)
    }

    /// How many events an account has been sent today, if that is counted. What other nodes have taken counts as used.
    ///
    /// # Errors
    /// The store failed.
    pub async fn used(&self, account: AccountId) -> Result<u64, StoreError> {
        let day = Day::of(self.clock.now());
        let (taken, _) = taken(&*self.store, account, day).await?;
        let left = self.known().blocks.get(&account).filter(|block| block.day == day).map_or(0, |block| block.left);
        Ok(taken.saturating_sub(left))
    }

    /// What an account may have in a day that has had it today, and until when it waits.
    ///
    /// # Errors
    /// The store failed.
    pub async fn used_up(&self, account: AccountId) -> Result<Option<(u64, Timestamp)>, StoreError> {
        let Some(limit) = self.limit(account) else { return Ok(None) };
        let is_used_up = self.used(account).await? >= limit;
        Ok(is_used_up.then(|| (limit, Day::of(self.clock.now()).end())))
    }

    fn limit_in(&self, known: &Known, account: AccountId) -> Option<u64> {
        let setting = || Quota::over(None, self.settings).events_per_day;
        known.limits.get(&account).copied().unwrap_or_else(setting)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a moment, not as long as others do: of those that try in step the same one would win each time.
async fn step_aside() {
    tokio::time::sleep(Duration::from_millis(u64::from(rand::random::<u8>() % 16))).await;
}

/// How much of a day an account's nodes have taken, and as of which change.
async fn taken(store: &dyn Store, account: AccountId, day: Day) -> Result<(u64, Expected), StoreError> {
    let Some(document) = store.document(Kind::Budgets, &day.name(account)).await? else {
        return Ok((0, Expected::None));
    };
    let corrupt = |error| StoreError::Corrupt(format!("the budget `{}` cannot be read: {error}", document.name));
    let taken = document.body.parse().map_err(corrupt)?;
    Ok((taken, Expected::Version(document.version)))
}

/// Takes a block of a day's budget; 0 where nothing is left.
async fn take_block(store: &dyn Store, account: AccountId, limit: u64, day: Day) -> Result<u64, StoreError> {
    for _ in 0..TRIES {
        let (taken, expected) = taken(store, account, day).await?;
        let left = limit.saturating_sub(taken);
        let block = (left / BLOCKS).max(LEAST).min(left);
        if block == 0 {
            return Ok(0);
        }
        match store.put_document(Kind::Budgets, &day.name(account), (taken + block).to_string(), expected).await {
            Ok(_) => return Ok(block),
            Err(StoreError::Conflict) => step_aside().await,
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Busy("other nodes take of the same budget all the time".into()))
}

/// Gives back what is left of a block.
async fn put_back_block(store: &dyn Store, account: AccountId, block: &Block) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let (taken, expected) = taken(store, account, block.day).await?;
        if taken == 0 {
            return Ok(());
        }
        let rest = taken.saturating_sub(block.left).to_string();
        match store.put_document(Kind::Budgets, &block.day.name(account), rest, expected).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict) => step_aside().await,
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Busy("other nodes take of the same budget all the time".into()))
}

#[cfg(test)]
mod tests {
    use hookcast_store::{Location, Settings};

    use super::*;

    const ACCOUNT: AccountId = AccountId::from_bytes([7; 16]);

    fn day(time: &str) -> Day {
        Day::of(Timestamp::parse(time).unwrap())
    }

    #[test]
    fn days_begin_at_midnight_of_utc() {
        let today = day("2026-01-31T23:59:59.999Z");
        assert_eq!(today, day("2026-01-31T00:00:00Z"));
        assert_eq!(today.end(), Timestamp::parse("2026-02-01T00:00:00Z").unwrap());
        assert_ne!(today, day("2026-02-01T00:00:00Z"));
    }

    #[test]
    fn of_earlier_days_only_the_last_one_is_kept() {
        let end = kept_from(Timestamp::parse("2026-02-01T12:00:00Z").unwrap());
        assert!(day("2026-01-30T23:00:00Z").name(ACCOUNT) < end);
        for kept in ["2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"] {
            assert!(day(kept).name(ACCOUNT) > end, "{kept}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nodes_take_all_of_a_budget_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::parse(&format!("sqlite://{}/hookcast.db", folder.path().display())).unwrap();
        let store = hookcast_store::connect(&location, &Settings::default()).await.unwrap();
        let today = day("2026-01-31T12:00:00Z");
        let node = |store: Arc<dyn Store>| async move {
            let mut blocks = Vec::new();
            loop {
                match take_block(&*store, ACCOUNT, 1_000, today).await.unwrap() {
                    0 => return blocks,
                    block => blocks.push(block),
                }
            }
        };
        let nodes = [tokio::spawn(node(Arc::clone(&store))), tokio::spawn(node(Arc::clone(&store)))];
        let mut blocks = Vec::new();
        for node in nodes {
            blocks.extend(node.await.unwrap());
        }
        assert_eq!((blocks.iter().sum::<u64>(), blocks.iter().max()), (1_000, Some(&16)));
        assert_eq!(take_block(&*store, ACCOUNT, 999, today).await.unwrap(), 0);
        assert_eq!(take_block(&*store, ACCOUNT, 2_000, today).await.unwrap(), 16);
        assert_eq!(take_block(&*store, ACCOUNT, 1_026, today).await.unwrap(), 10);
        assert_eq!(take_block(&*store, ACCOUNT, 10_000, day("2026-02-01T00:00:00Z")).await.unwrap(), 100);
        put_back_block(&*store, ACCOUNT, &Block { day: today, left: 7 }).await.unwrap();
        assert_eq!(taken(&*store, ACCOUNT, today).await.unwrap().0, 1_019);
        put_back_block(&*store, ACCOUNT, &Block { day: day("2026-02-03T00:00:00Z"), left: 7 }).await.unwrap();
        assert_eq!(taken(&*store, ACCOUNT, day("2026-02-03T00:00:00Z")).await.unwrap().0, 0);
    }
}
