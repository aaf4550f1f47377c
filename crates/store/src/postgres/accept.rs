//! Accepting: batches that come at once are stored in one transaction, with one wait for the disk for all of them.
//!
//! The transaction asks what the store says of the batches ([`admission`]), refuses those that it must, and stores the rest
//! ([`super::intake`]). In the usual case that is twice to the server and back.

use super::{
    Shared,
    admission::{self, Decision, Known},
    intake::Intake,
    pool::{Commit, retrying},
};
use crate::{
    engine::Accepted,
    error::{AcceptError, StoreError},
    gather::{Answer, Bounds, Request, stopped},
};

/// A transaction's size.
pub(super) const BOUNDS: Bounds = Bounds { batches: 512, deliveries: 5_000, bytes: 4 * 1024 * 1024 };

/// Stores a group; what became of each of its requests.
pub(super) async fn accept(shared: &Shared, requests: &[Request]) -> Vec<Answer> {
    match retrying(|| store(shared, requests)).await {
        Ok(answers) => answers,
        Err(error) => requests.iter().map(|_| Err(error.clone().into())).collect(),
    }
}

/// Stores those of the batches that nothing speaks against, all of them or none; what became of each.
async fn store(shared: &Shared, requests: &[Request]) -> Result<Vec<Result<Accepted, AcceptError>>, StoreError> {
    let events = || requests.iter().flat_map(|request| &request.batch.events);
    let times: Vec<_> = events().map(|new| new.event.time).collect();
    shared.partitions.ensure(&shared.pool, &times).await?;
    let recipients: Vec<_> =
        events().flat_map(|new| new.recipients.iter().map(|recipient| recipient.subscription)).collect();
    let keys = shared.keys.of(&shared.pool, &recipients).await?;
    let deliveries = requests.iter().map(Request::deliveries).sum::<usize>();
    let first_position = shared.positions.take(&shared.pool, u64::try_from(deliveries).unwrap_or(u64::MAX)).await?;

    let transaction = shared.pool.begin(Commit::Durable).await?;
    let known = Known::read(&transaction, requests, shared.limits).await?;
    let decisions = known.judge(requests, &keys);
    let admitted = || requests.iter().zip(&decisions).filter(|(_, decision)| matches!(decision, Decision::Admitted));
    if admitted().next().is_none() {
        transaction.rollback().await?;
        return Ok(conclude(decisions, std::iter::empty()));
    }
    let firsts = admission::first_of_contents(&transaction, admitted().map(|(request, _)| request)).await?;
    let mut intake = Intake::new(&keys, &firsts, first_position);
    let accepted: Vec<Accepted> = admitted().map(|(request, _)| intake.add(request)).collect::<Result<_, _>>()?;
    let leaves_work = intake.write(transaction, shared.limits.max_waiting).await.inspect_err(|_| {
        // Somebody may have dropped the partition of a day.
        shared.partitions.forget_all();
    })?;
    if leaves_work {
        shared.hints.tell();
    }
    Ok(conclude(decisions, accepted.into_iter()))
}

/// Everybody's answer, those who are admitted taking the next one of `accepted`.
fn conclude(
    decisions: Vec<Decision>,
    mut accepted: impl Iterator<Item = Accepted>,
) -> Vec<Result<Accepted, AcceptError>> {
    let mut results: Vec<Result<Accepted, AcceptError>> = Vec::with_capacity(decisions.len());
    for decision in decisions {
        let result = match decision {
            Decision::Refused(error) => Err(error),
            Decision::Replayed(receipts) => Ok(replayed(receipts)),
            Decision::SameAs(earlier) => match results.get(earlier) {
                Some(Ok(accepted)) => Ok(replayed(accepted.receipts.clone())),
                Some(Err(error)) => Err(error.clone()),
                None => Err(stopped().into()),
            },
            Decision::Admitted => accepted.next().ok_or_else(|| stopped().into()),
        };
        results.push(result);
    }
    results
}

fn replayed(receipts: Vec<crate::engine::Receipt>) -> Accepted {
    let held = vec![Vec::new(); receipts.len()];
    Accepted { receipts, held, replayed: true }
}
