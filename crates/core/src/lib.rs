//! What Hookcast's words mean: accounts, subscriptions, events, deliveries and the rules between them.
//!
//! No async runtime, no HTTP, no SQL. Time and randomness come in as parameters.

pub mod account;
pub mod canonical;
pub mod clock;
pub mod delivery;
pub mod event;
pub mod guard;
pub mod id;
pub mod policy;
pub mod sealing;
pub mod signing;
pub mod subscription;
pub mod token;
