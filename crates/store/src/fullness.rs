//! What the log is told of a store that is full.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    engine::Accepted,
    error::{AcceptError, StoreError},
};

/// Whether the last events were refused for want of room.
#[derive(Default)]
pub(crate) struct Fullness(AtomicBool);

impl Fullness {
    /// Tells once that the store is full, and once that it has room again, and not for every event.
    pub(crate) fn note(&self, result: &Result<Accepted, AcceptError>) {
        let is_full = match result {
            Ok(_) => false,
            Err(AcceptError::Store(StoreError::Full(_))) => true,
            Err(_) => return,
        };
        if self.0.swap(is_full, Ordering::Relaxed) == is_full {
            return;
        }
        match result {
            Err(error) => tracing::error!(%error, "events are refused until there is room"),
            Ok(_) => tracing::info!("there is room again, and events are accepted"),
        }
    }
}
