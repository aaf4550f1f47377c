//! This process's lease: while it lasts, what the process holds is its own.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hookcast_core::clock::Clock;
use hookcast_store::{
    Store, StoreError,
    engine::{Incarnation, Role},
};
use tokio::{sync::watch, time::Instant};

/// The lease is renewed when this share of it has passed.
pub const RENEWALS_PER_LEASE: u32 = 3;

/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Term {
    holder: Incarnation,
    /// Counted from before the store was asked, so that it is never later than what the store thinks.
    ends: Instant,
}

/// The lease of this process.
pub struct Lease {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    role: Role,
    length: Duration,
    term: watch::Sender<Term>,
    rejoining: tokio::sync::Mutex<()>,
    is_over: Mutex<bool>,
}

impl Lease {
    /// Joins the store.
    ///
    /// # Errors
    /// The store failed.
    pub async fn begin(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        role: Role,
        length: Duration,
    ) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let holder = store.join(role, length, clock.now()).await?;
        let (term, _) = watch::channel(Term { holder, ends: asked + length });
        let rejoining = tokio::sync::Mutex::new(());
        Ok(Self { store, clock, role, length, term, rejoining, is_over: Mutex::new(false) })
    }

    /// Under which name this process holds deliveries now.
    #[must_use]
    pub fn holder(&self) -> Incarnation {
        self.term.borrow().holder
    }

    /// Waits until this much of `holder`'s lease is left. Answers `false` when the process holds its deliveries under
    /// another name by now: what it held under this one may be somebody else's.
    pub async fn covers(&self, holder: Incarnation, time: Duration) -> bool {
        let now = *self.term.borrow();
        if now.holder == holder && Instant::now() + time <= now.ends {
            return true;
        }
        let mut term = self.term.subscribe();
        let enough = |term: &Term| term.holder != holder || Instant::now() + time <= term.ends;
        match term.wait_for(enough).await {
            Ok(term) => term.holder == holder,
            Err(_) => false,
        }
    }

    /// Renews the lease for as long as the future lives.
    pub async fn keep(&self) {
        let interval = self.length / RENEWALS_PER_LEASE;
        let mut pause = interval;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.renew().await {
                Ok(()) => interval,
                Err(error) => {
                    tracing::warn!(%error, "the lease was not renewed; no attempt starts that it does not cover");
                    RETRY.min(interval)
                }
            };
        }
    }

    /// Renews the lease now, or joins anew where somebody has ended it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn renew(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let holder = self.holder();
        match self.store.renew(holder, self.length, self.clock.now()).await {
            Ok(()) => {
                self.term.send_modify(|term| {
                    if term.holder == holder {
                        term.ends = asked + self.length;
                    }
                });
                Ok(())
            }
            Err(StoreError::NotFound) => self.rejoin(holder).await,
            Err(error) => Err(error),
        }
    }

    /// Joins anew after somebody has ended the lease of `lost`.
    async fn rejoin(&self, lost: Incarnation) -> Result<(), StoreError> {
        let _alone = self.rejoining.lock().await;
        if self.holder() != lost {
            return Ok(());
        }
        if *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(StoreError::Unavailable("this process is stopping".into()));
        }
        let asked = Instant::now();
        let holder = self.store.join(self.role, self.length, self.clock.now()).await?;
        tracing::warn!("the lease had run out; this process goes on under a new one");
        self.term.send_replace(Term { holder, ends: asked + self.length });
        Ok(())
    }

    /// Ends the lease. What is still held is due again for others.
    ///
    /// # Errors
    /// The store failed; the lease then runs out by itself.
    pub async fn end(&self) -> Result<(), StoreError> {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.store.leave(self.holder(), self.clock.now()).await
    }
}
