//! This process's lease: while it lasts, what the process holds is its own.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use hookcast_core::clock::Clock;
use hookcast_store::{
    Store, StoreError,
    engine::{Incarnation, Node, Role},
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// The lease is renewed when this share of it has passed.
pub const RENEWALS_PER_LEASE: u32 = 3;

/// So many renewals, and a process goes on under a new name. Whatever the store holds for the old one then and the process does
/// not know of, since an answer was lost or a crash of the store undid what it had recorded, is due again soon.
const RENEWALS_PER_TERM: u32 = 12;

/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Term {
    holder: Incarnation,
    /// Counted from before the store was asked, so that it is never later than what the store thinks.
    ends: Instant,
}

impl Term {
    fn covers(&self, time: Duration) -> bool {
        Instant::now() + time <= self.ends
    }
}

/// The term that is renewed, and those before it that were given up and have not run out.
#[derive(Clone, Debug)]
struct Terms {
    current: Term,
    earlier: Vec<Term>,
}

/// The lease of this process.
pub struct Lease {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    role: Role,
    /// Who this is over all of its terms, if it sends.
    node: Option<Node>,
    length: Duration,
    /// How many nodes send, as of the last renewal.
    nodes: AtomicU32,
    terms: watch::Sender<Terms>,
    rejoining: tokio::sync::Mutex<()>,
    is_over: Mutex<bool>,
    /// The store may have given this process what it has not heard of.
    is_doubtful: AtomicBool,
    doubted: Notify,
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
        node: Option<Node>,
        length: Duration,
    ) -> Result<Self, StoreError> {
        let asked = Instant::now();
        let holder = store.join(role, node, length, clock.now()).await?;
        let (terms, _) = watch::channel(Terms { current: Term { holder, ends: asked + length }, earlier: Vec::new() });
        Ok(Self {
            store,
            clock,
            role,
            node,
            length,
            nodes: AtomicU32::new(1),
            terms,
            rejoining: tokio::sync::Mutex::new(()),
            is_over: Mutex::new(false),
            is_doubtful: AtomicBool::new(false),
            doubted: Notify::new(),
        })
    }

    /// Under which name this process holds deliveries now.
    #[must_use]
    pub fn holder(&self) -> Incarnation {
        self.terms.borrow().current.holder
    }

    /// How many nodes send, but one at the least: by so many what a subscription may get in a second is divided.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.senders().max(1)
    }

    /// How many nodes send, as of the last renewal; passes that are under way count, too.
    #[must_use]
    pub fn senders(&self) -> u32 {
        self.nodes.load(Ordering::Relaxed)
    }

    /// Waits until this much of `holder`'s lease is left. Answers `false` when that will not be: the process holds its
    /// deliveries under another name by now, and what it held under this one may be somebody else's.
    pub async fn covers(&self, holder: Incarnation, time: Duration) -> bool {
        let covered = |terms: &Terms| match terms.current.holder == holder {
            true => terms.current.covers(time).then_some(true),
            false => Some(terms.earlier.iter().any(|term| term.holder == holder && term.covers(time))),
        };
        if let Some(is_covered) = covered(&self.terms.borrow()) {
            return is_covered;
        }
        let mut terms = self.terms.subscribe();
        match terms.wait_for(|terms| covered(terms).is_some()).await {
            Ok(terms) => covered(&terms).unwrap_or(false),
            Err(_) => false,
        }
    }

    /// Tells that the store failed so that it may hold deliveries for this process which the process does not know of. It goes
    /// on under a new name; what was held under the old one is sent while that lease lasts, and what nobody knows of is due
    /// again when it has run out. An embedded store's answers are certain.
    pub fn doubt(&self, error: &StoreError) {
        let is_certain = matches!(error, StoreError::NotFound | StoreError::Busy(_) | StoreError::Full(_));
        if self.role == Role::Server && !is_certain {
            self.is_doubtful.store(true, Ordering::Release);
            self.doubted.notify_one();
        }
    }

    /// Renews the lease for as long as the future lives.
    pub async fn keep(&self) {
        let interval = self.length / RENEWALS_PER_LEASE;
        let mut pause = interval;
        let mut renewals = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.doubted.notified() => tokio::time::sleep(RETRY.min(interval)).await,
            }
            let is_doubtful = self.is_doubtful.swap(false, Ordering::AcqRel);
            let is_over = self.role == Role::Server && renewals >= RENEWALS_PER_TERM;
            let mut result = self.renew().await;
            if result.is_ok() && (is_doubtful || is_over) {
                result = self.replace().await;
                renewals = 0;
            }
            pause = match result {
                Ok(()) => {
                    renewals += 1;
                    interval
                }
                Err(error) => {
                    self.is_doubtful.fetch_or(is_doubtful, Ordering::AcqRel);
                    self.doubt(&error);
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
            Ok(nodes) => {
                self.nodes.store(nodes, Ordering::Relaxed);
                self.terms.send_modify(|terms| {
                    if terms.current.holder == holder {
                        terms.current.ends = asked + self.length;
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
        let current = self.join().await?;
        tracing::warn!("the lease had run out; this process goes on under a new one");
        self.terms.send_modify(|terms| terms.current = current);
        Ok(())
    }

    /// Goes on under a new name and lets the lease of the old one run out.
    async fn replace(&self) -> Result<(), StoreError> {
        let _alone = self.rejoining.lock().await;
        let current = self.join().await?;
        tracing::debug!("this process goes on under a new name");
        self.terms.send_modify(|terms| {
            terms.earlier.retain(|term| term.covers(Duration::ZERO));
            terms.earlier.push(std::mem::replace(&mut terms.current, current));
        });
        Ok(())
    }

    async fn join(&self) -> Result<Term, StoreError> {
        if *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(StoreError::Unavailable("this process is stopping".into()));
        }
        let asked = Instant::now();
        let holder = self.store.join(self.role, self.node, self.length, self.clock.now()).await?;
        Ok(Term { holder, ends: asked + self.length })
    }

    /// Ends the leases. What is still held is due again for others.
    ///
    /// # Errors
    /// The store failed; the lease then runs out by itself.
    pub async fn end(&self) -> Result<(), StoreError> {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let terms = self.terms.borrow().clone();
        for term in terms.earlier {
            self.store.leave(term.holder, self.clock.now()).await?;
        }
        self.store.leave(terms.current.holder, self.clock.now()).await
    }
}
