//! Black-box tests: the real binary, over HTTP, against real receivers.

mod support;

mod crash;
mod accounts;
mod deliver;
mod subscriptions;
