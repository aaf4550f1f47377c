//! Black-box tests: the real binary, over HTTP, against real receivers.

mod support;

mod accounts;
mod bodies;
mod commands;
mod configuration;
mod crash;
mod deactivation;
mod deliver;
mod duplicates;
mod failures;
mod guarding;
mod health;
mod isolation;
mod listening;
mod refusals;
mod resending;
mod restarts;
mod retrying;
mod starting;
mod subscriptions;
mod tokens;
mod triggering;
