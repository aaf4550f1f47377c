//! The performance table of Hookcast, measured from outside: through its command line, its environment and HTTP.
mod clock;
mod http;
mod limit;
mod load;
mod message;
mod receiver;
mod tally;
use std::{net::SocketAddr, time::Duration};
use clap::Parser;

#[derive(Parser)]
enum Command {
    Receiver { #[arg(long, default_value = "127.0.0.1:0")] listen: SocketAddr, #[arg(long)] multi: bool },
    Limit { #[arg(long)] receiver: SocketAddr, #[arg(long, default_value_t = 2.0)] seconds: f64, #[arg(long)] multi: bool },
}
fn main() -> anyhow::Result<()> {
    let rt = |multi: bool| if multi { tokio::runtime::Builder::new_multi_thread() } else { tokio::runtime::Builder::new_current_thread() }.enable_all().build();
    match Command::parse() {
        Command::Receiver { listen, multi } => rt(multi)?.block_on(receiver::run(listen)),
        Command::Limit { receiver, seconds, multi } => {
            let l = rt(multi)?.block_on(limit::run(receiver, 64, Duration::from_secs_f64(seconds)))?;
            println!("{} {}", l.rate(), serde_json::to_string(&l)?);
            Ok(())
        }
    }
}
