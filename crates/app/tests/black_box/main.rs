//! Black-box tests: the real binary, over HTTP, against real receivers.

mod support;

mod configuration;
mod accounts;
mod crash;
mod deliver;
mod subscriptions;
