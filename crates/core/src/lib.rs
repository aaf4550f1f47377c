//! What Hookcast's words mean: accounts, subscriptions, events, deliveries and the rules between them.
//!
//! No async runtime, no HTTP, no SQL. Time and randomness come in as parameters.

pub mod account;
pub mod callback_auth;
pub mod canonical;
pub mod clock;
pub mod delivery;
pub mod event;
pub mod filter;
pub mod format;
pub mod guard;
pub mod id;
pub mod notice;
pub mod options;
pub mod pattern;
pub mod pause;
pub mod policy;
pub mod sealing;
pub mod secrets;
pub mod signing;
pub mod subscription;
pub mod token;
