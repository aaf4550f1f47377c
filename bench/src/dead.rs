//! What dead subscriptions do to the healthy ones beside them.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::{
    io,
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use crate::{
    load::Plan,
    message::EVENT,
    results::median,
    scenario::{Target, Unit},
    site::{Faults, Site},
    study::{Finding, Sizes},
};

const HEALTHY: u64 = 1000;
/// How many dead ones are beside them: the first is what the others are compared with.
const BESIDE: [usize; 3] = [0, 1, 100];
/// Some thousand deliveries a second, which every store takes with ease: beyond that one would see queues and nothing else.
const EVENTS_PER_SECOND: f64 = 4.0;
/// What only the healthy ones get.
const WARM_UP: &str = "warm_up";
/// How long an attempt at a dead one lasts. With the usual 15 s the load would end before the first of them has, and only show
/// what attempts in flight cost; this shows timeouts, retries and breakers at work as well. The healthy ones keep theirs: one
/// that times out when the machine is busy would be delivered twice.
const TIMEOUT: &str = "1s";
const WORSE_BY: Target = Target::at_most(1.2);

/// Measures the healthy ones' p99 without and with dead ones beside them, in turns, each time on a new server.
pub async fn study(site: &mut Site<'_>, sizes: &Sizes) -> Result<(Vec<Finding>, Faults)> {
    let mut faults = Faults::default();
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for round in 0..sizes.dead_rounds {
        let mut p99s = vec![0.0; BESIDE.len()];
        for turn in 0..BESIDE.len() {
            // What else goes on on the machine drifts: each of them is first and last now and then.
            let index = (round + turn) % BESIDE.len();
            let dead = BESIDE[index];
            site.progress.set_message(format!("{dead} dead, round {} of {}", round + 1, sizes.dead_rounds));
            let (p99, found) = p99_beside(site, dead, sizes.dead_seconds).await?;
            p99s[index] = p99;
            faults += found;
        }
        rounds.push(p99s);
    }
    Ok((findings(&rounds), faults))
}

/// A line for each of [`BESIDE`]; `rounds` holds the p99s in that order.
fn findings(rounds: &[Vec<f64>]) -> Vec<Finding> {
    let of = |index: usize| median(rounds.iter().map(|p99s| p99s[index])).unwrap_or(0.0);
    let alone = Finding {
        name: "p99 of 1,000 healthy".into(),
        value: of(0),
        unit: Unit::Milliseconds,
        ratio: None,
        target: None,
    };
    let beside = BESIDE.iter().enumerate().skip(1).map(|(index, dead)| Finding {
        name: format!("… with {dead} dead, to without"),
        value: of(index),
        unit: Unit::Milliseconds,
        ratio: median(rounds.iter().map(|p99s| p99s[index] / p99s[0])),
        target: Some(WORSE_BY),
    });
    [alone].into_iter().chain(beside).collect()
}

async fn p99_beside(site: &mut Site<'_>, dead: usize, seconds: f64) -> Result<(f64, Faults)> {
    let silent = Silent::start(dead).await?;
    let server = site.fresh(&[]).await?;
    let account = server.account().await?;
    account.subscribe(healthy(site.receiver.address)).await?;
    account.subscribe(silent.wishes()).await?;
    // The first event makes a thousand connections, which would be all that one sees in the p99.
    let warm_up = Plan { event: Some(WARM_UP.into()), ..Plan::of(1) };
    site.load(&server, &warm_up, HEALTHY).await?;
    site.receiver.reset().await?;

    let events = (EVENTS_PER_SECOND * seconds) as u64;
    let plan = Plan { rate: Some(EVENTS_PER_SECOND), ..Plan::of(events) };
    site.load(&server, &plan, events * HEALTHY).await?;
    server.stop().await?;
    let faults = Faults::of(site.receiver.stats().await?, events * HEALTHY);
    let p99 = f64::from(site.receiver.latency().await?.p99_us) / 1000.0;
    Ok((p99, faults))
}

fn healthy(receiver: SocketAddr) -> Vec<Value> {
    let url = |number| format!("http://{receiver}/s/{number}");
    (0..HEALTHY).map(|number| json!({"event": [EVENT, WARM_UP], "url": url(number)})).collect()
}

/// Callbacks that take every connection and never answer: worse than one that refuses, since each attempt is held up to
/// its timeout. Each has an address of its own, so that no limit of a host bounds them together.
struct Silent {
    addresses: Vec<SocketAddr>,
    listening: Vec<AbortHandle>,
}

impl Silent {
    async fn start(count: usize) -> Result<Self> {
        let mut silent = Self { addresses: Vec::new(), listening: Vec::new() };
        for number in 0..count {
            let host = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + u32::try_from(number)?);
            let listener = TcpListener::bind((host, 0)).await?;
            silent.addresses.push(listener.local_addr()?);
            silent.listening.push(tokio::spawn(hear_and_say_nothing(listener)).abort_handle());
        }
        Ok(silent)
    }

    fn wishes(&self) -> Vec<Value> {
        let wish = |address| json!({"event": EVENT, "url": format!("http://{address}/"), "timeout": TIMEOUT});
        self.addresses.iter().map(wish).collect()
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.listening.iter().for_each(AbortHandle::abort);
    }
}

async fn hear_and_say_nothing(listener: TcpListener) {
    let mut open = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        open.spawn(async move { io::copy(&mut stream, &mut io::sink()).await });
        // Those whose client has gone.
        while open.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connection::Connection;

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine was busy in the second round, with and without dead ones.
        let found = findings(&[vec![10.0, 11.0, 12.0], vec![40.0, 44.0, 48.0], vec![10.0, 11.0, 30.0]]);
        let ratios: Vec<_> = found.iter().map(|finding| finding.ratio).collect();
        assert_eq!(ratios, [None, Some(1.1), Some(1.2)]);
        assert_eq!(found[1].name, "… with 1 dead, to without");
        assert_eq!(found[2].value, 30.0);
    }

    #[tokio::test]
    async fn dead_callbacks_take_connections_and_say_nothing() {
        let silent = Silent::start(2).await.unwrap();
        assert_ne!(silent.addresses[0].ip(), silent.addresses[1].ip());
        let mut connection = Connection::open(silent.addresses[1]).await.unwrap();
        let answer = connection.send(http::Request::post("/").body(Default::default()).unwrap());
        assert!(tokio::time::timeout(Duration::from_millis(100), answer).await.is_err());
    }
}
