//! How events get out: accepting them, choosing what goes next, sending it, recording what came of it.
//!
//! The way of a delivery: [`acceptor`] (or the [`dispatcher`]'s claims) → [`scheduler`] → [`courier`] with its [`client`] →
//! [`recorder`]. [`service`] is all of it at work; [`pass`] is one pass without a server. [`trial`] sends what
//! only its owner looks at. [`mail`] tells people. Nothing else of Hookcast
//! dials out.

pub mod acceptor;
pub mod budgets;
pub mod chores;
pub mod client;
pub mod consent;
pub mod courier;
pub mod directory;
pub mod dispatcher;
pub mod holds;
pub mod lease;
pub mod mail;
pub mod notices;
pub mod parts;
pub mod pass;
pub mod pauses;
pub mod quotas;
pub mod rates;
pub mod recorder;
pub mod replay;
pub mod scheduler;
pub mod service;
pub mod target;
mod to_its_end;
pub mod trial;
