//! What has to be done now and then, whatever else happens.

use std::{sync::Arc, time::Duration};

use hookcast_core::clock::{Clock, Timestamp};
use hookcast_store::{
    Store, StoreError,
    documents::{DocumentQuery, Expected, Kind},
};

use crate::{budgets, dispatcher::Dispatcher};

/// How often leases are looked through for those that have run out, and samples are taken of what is counted.
const RESCUE_EVERY: Duration = Duration::from_secs(5);

/// How often old events are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(10);

/// The pause between two batches of old events, in which others may write.
const PURGE_PAUSE: Duration = Duration::from_millis(20);

/// Makes what dead processes held due again, and takes the samples of which rates are made, for as long as the future lives.
pub async fn rescue(dispatcher: &Arc<Dispatcher>) {
    let parts = dispatcher.parts();
    loop {
        tokio::time::sleep(RESCUE_EVERY).await;
        // Before the store is asked, which may take its time.
        dispatcher.meter().sample();
        // First its own: after a jump of the clock it would else take over from itself what it is sending.
        let rescued = match parts.lease.renew().await {
            Ok(()) => parts.store.rescue(parts.clock.now()).await,
            Err(error) => Err(error),
        };
        dispatcher.set_share(parts.lease.nodes());
        match rescued {
            Ok(0) => {}
            Ok(rescued) => {
                tracing::warn!("took over {rescued} deliveries of a process whose lease has run out");
                dispatcher.wake();
            }
            Err(error) => tracing::warn!(%error, "leases that have run out cannot be looked for now"),
        }
    }
}

/// Takes away events older than `age`, for as long as the future lives.
pub async fn retain(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>, age: Duration) {
    loop {
        if let Err(error) = purge(store, clock, age).await {
            tracing::warn!(%error, "old events cannot be taken away now");
        }
        if let Err(error) = forget(&**store, Kind::Audit, &change_name(clock.now().minus(age))).await {
            tracing::warn!(%error, "old notes of changes cannot be taken away now");
        }
        if let Err(error) = forget(&**store, Kind::Budgets, &budgets::kept_from(clock.now())).await {
            tracing::warn!(%error, "the budgets of earlier days cannot be taken away now");
        }
        tokio::time::sleep(PURGE_EVERY).await;
    }
}

async fn purge(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>, age: Duration) -> Result<(), StoreError> {
    loop {
        let now = clock.now();
        let purged = store.purge(now.minus(age), now).await?;
        if purged.events > 0 {
            tracing::info!("{} old events taken away, {} of their deliveries expired", purged.events, purged.expired);
        }
        if !purged.more {
            return Ok(());
        }
        tokio::time::sleep(PURGE_PAUSE).await;
    }
}

/// Documents that are taken away at once.
const AT_ONCE: u32 = 500;

/// Takes away the documents of a kind whose names come before this one: those names begin with times.
async fn forget(store: &dyn Store, kind: Kind, end: &str) -> Result<(), StoreError> {
    loop {
        let query = DocumentQuery { after: None, descending: false, limit: AT_ONCE };
        let found = store.documents(kind, query).await?;
        let old: Vec<_> = found.iter().take_while(|document| document.name.as_str() < end).collect();
        for document in &old {
            match store.delete_document(kind, &document.name, Expected::Any).await {
                // Another node does the same.
                Ok(()) | Err(StoreError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        if old.len() < AT_ONCE as usize {
            return Ok(());
        }
    }
}

/// What the names of the notes of changes at a time begin with.
#[must_use]
pub fn change_name(time: Timestamp) -> String {
    format!("{:015}", time.as_millis().max(0))
}
