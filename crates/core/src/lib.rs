//! What Hookcast's words mean: accounts, subscriptions, events, deliveries and the rules between them.
//!
//! No async runtime, no HTTP, no SQL. Time and randomness come in as parameters.

pub mod policy;
