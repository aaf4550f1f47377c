//! What every store must do, whatever it is made of: the promises that the traits document, a case each.
//!
//! A case gets a [`World`](world::World) with an empty store. It builds what it needs from accounts, subscriptions, batches
//! and processes, and passes the time in as a parameter, so that nothing here ever sleeps. A second process is a second
//! handle on the same store.
//!
//! To add a store: a function in [`place`] with its arm in `Place::another`, and its line in [`cases!`]. To add a case: an `async fn` and its name in the
//! file's list; the compiler warns of one that is in no list. What only one store can do is in a list that names it.

/// Makes a test of every case on every store.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        cases!(@on sqlite: $($case)+);
        cases!(@on postgres: $($case)+);
        cases!(@on redis: $($case)+);
    };
    (on $store:ident: $($case:ident),+ $(,)?) => {
        mod alone {
            use super::*;
            cases!(@on $store: $($case)+);
        }
    };
    (@on $store:ident: $($case:ident)+) => {
        mod $store {
            use crate::conformance::{place, world::World};
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(World::new(place::$store().await).await).await;
                }
            )+
        }
    };
}

pub(crate) mod batch;
pub(crate) mod full;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod world;

mod accept;
mod accounts;
mod breaker;
mod changes;
mod claims;
mod documents;
mod due;
mod duplicates;
mod durability;
mod events;
mod health;
mod history;
mod idempotency;
mod invariants;
mod leases;
mod limits;
mod notices;
mod ordered_story;
mod ordering;
mod outcomes;
mod passes;
mod pulling;
mod redelivery;
mod replacing;
mod retention;
mod scheduling;
mod subscriptions;
mod tokens;
mod transfer;
mod transitions;
