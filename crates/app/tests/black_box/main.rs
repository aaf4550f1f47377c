//! Black-box tests: the real binary, over HTTP, against real receivers.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail as tests do")]

mod support;

mod access;
mod accounts;
mod asking;
mod authenticating;
mod bodies;
mod breaking;
mod choosing;
mod commands;
mod configuration;
mod consenting;
mod copying;
mod crash;
mod crash_of_nodes;
mod deactivation;
mod deliver;
mod demonstrating;
mod duplicates;
mod encrypting;
mod failures;
mod guarding;
mod health;
mod isolation;
mod limiting;
mod listening;
mod mailing;
mod nodes;
mod noticing;
mod ordering;
mod outages;
mod own_account;
mod own_rules;
mod redelivering;
mod refusals;
mod rekeying;
mod resending;
mod restarts;
mod retrying;
mod signing;
mod starting;
mod subscriptions;
mod tokens;
mod triggering;
mod trying;
