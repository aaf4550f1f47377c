//! What everything that delivers works with.

use std::sync::Arc;

use hookcast_core::{clock::Clock, event::Envelope};
use hookcast_store::{
    Store,
    engine::{Claimed, Incarnation},
};

use crate::{courier::Courier, directory::Directory, lease::Lease, scheduler::Work};

/// The parts that a [dispatcher](crate::dispatcher) and a [pass](crate::pass) share.
pub struct Parts {
    /// Where deliveries come from.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who gets what.
    pub directory: Arc<Directory>,
    /// Under which name they are held.
    pub lease: Arc<Lease>,
    /// Makes the attempts.
    pub courier: Courier,
    /// What is sent around every payload.
    pub envelope: Envelope,
}

impl Parts {
    /// A claimed delivery, ready to be sent.
    #[must_use]
    pub fn work(&self, claimed: &Claimed, holder: Incarnation) -> Work {
        Work {
            delivery: claimed.id,
            subscription: claimed.subscription,
            group: None,
            event: claimed.event.id,
            attempts: claimed.attempts,
            body: self.envelope.wrap(&claimed.event),
            holder,
        }
    }
}
