//! Black-box tests: the real binary, over HTTP, against real receivers.

mod support;

mod configuration;
mod accounts;
mod commands;
mod crash;
mod deliver;
mod duplicates;
mod refusals;
mod starting;
mod subscriptions;
mod triggering;
mod tokens;
mod retrying;
mod deactivation;
mod failures;
mod isolation;
mod restarts;
mod guarding;
mod listening;
mod resending;
