//! What can go wrong in a store.

/// What kept a store from doing as it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such thing.
    #[error("not found")]
    NotFound,
    /// It would contradict what is there.
    #[error("it exists already")]
    Conflict,
    /// The store cannot be used now; trying again later makes sense. It may have done what it was asked all the same.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It has too much to do and has taken nothing; trying again later makes sense.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// There is no room.
    #[error("the store is full: {0}")]
    Full(String),
    /// What is there makes no sense, or is not a store of Hookcast's.
    #[error("the store cannot be read: {0}")]
    Corrupt(String),
    /// The URL or a limit is wrong.
    #[error("{0}")]
    Misconfigured(String),
}

/// Why a batch was not accepted. Nothing of it has been stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcceptError {
    /// The recipients were chosen from a catalogue that has changed since: refresh it, choose again, try again.
    #[error("the catalogue has changed")]
    StaleCatalogue,
    /// The process's lease has run out and its deliveries belong to others: join again, try again.
    #[error("the lease has run out")]
    LeaseLost,
    /// The idempotency key came with another body before.
    #[error("the idempotency key was used for another body")]
    KeyReused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
