//! Hookcast: a webhook service. A producer posts an event once; every subscriber gets it, signed, at least once.

mod api;
mod cli;
mod config;
mod lifecycle;
mod outbox;
mod receiver;
mod server;
mod telemetry;
mod tokens;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
