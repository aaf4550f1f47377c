//! `hookcast store new-key` and `hookcast store rekey`: the keys that secrets in a store are encrypted with.

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context as _, bail};
use hookcast_core::{
    clock::{Clock as _, SystemClock},
    sealing::{MasterKey, MasterKeys},
    secrets::Secrets,
    subscription::Subscription,
};
use hookcast_store::{
    Store, StoreError,
    catalogue::{CatalogueVersion, Replaced},
};
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::super::{Global, PARTIAL, complain, print};
use crate::{api::note_command, lifecycle};

/// How often a subscription is tried again that others change meanwhile.
const TRIES: usize = 10;

/// Print a new key for the setting `encryption.master_keys`
///
/// The key is random, and kept nowhere: whoever has it can read the secrets that are encrypted with it, and without it nobody can.
///
/// Exit codes: 0 it is printed; 1 it is not.
#[derive(clap::Args)]
#[command(after_help = "Example:
  (umask 077 && hookcast store new-key > hookcast.key)")]
pub struct NewKeyArgs {}

/// Encrypt all secrets in the store with the first of `encryption.master_keys`
///
/// What is not encrypted yet, and what is encrypted with another of the keys, is encrypted anew. Servers may go on meanwhile, if all
/// of them have the first key already, at whatever place. When this is done, the other keys can go. Copies of the store, and space
/// that the database has not used again, still hold what was there before.
///
/// Exit codes: 0 all secrets are encrypted with the first key; 1 the command failed; 2 some secrets cannot be read, and stay as
/// they are.
#[derive(clap::Args)]
#[command(after_help = "Example:
  HOOKCAST_ENCRYPTION_MASTER_KEYS=hcmk_NEW,hcmk_OLD hookcast store rekey")]
pub struct RekeyArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How many subscriptions there are, by what became of them.
#[derive(Default)]
struct Summary {
    rekeyed: u64,
    unchanged: u64,
    unreadable: u64,
}

pub fn new_key() -> anyhow::Result<ExitCode> {
    print(MasterKey::generate(rand::random()).expose_secret())?;
    Ok(ExitCode::SUCCESS)
}

pub async fn rekey(global: &Global, args: &RekeyArgs) -> anyhow::Result<ExitCode> {
    let config = global.start_quietly(&[])?;
    let Some(keys) = lifecycle::master_keys(&config) else {
        bail!("there is no key to encrypt with: set encryption.master_keys; `hookcast store new-key` makes one");
    };
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::no_length() };
    let rekey = async |store: &Arc<dyn Store>| {
        let rekeyed = rekey_all(&**store, &keys, &bar).await?;
        note_command(&**store, "store rekey", "", SystemClock.now()).await;
        Ok(rekeyed)
    };
    let rekeyed = lifecycle::with_existing_store(&config, rekey).await;
    bar.finish_and_clear();
    let Summary { rekeyed, unchanged, unreadable } = rekeyed?;
    if args.json {
        print(
            json!({"key": keys.current().id().to_string(), "rekeyed": rekeyed, "unchanged": unchanged, "unreadable": unreadable}),
        )?;
    } else {
        print(format_args!(
            "{rekeyed} subscriptions are now encrypted with the key {}, {unchanged} were before, {unreadable} cannot be read",
            keys.current().id()
        ))?;
    }
    Ok(if unreadable == 0 { ExitCode::SUCCESS } else { ExitCode::from(PARTIAL) })
}

/// Subscriptions that are made meanwhile are sealed by the server that makes them.
async fn rekey_all(store: &dyn Store, keys: &MasterKeys, bar: &ProgressBar) -> anyhow::Result<Summary> {
    let subscriptions = store.changes_since(CatalogueVersion::default()).await?.changed;
    if let Ok(style) = ProgressStyle::with_template("encrypting secrets: {wide_bar} {human_pos} of {human_len}") {
        bar.set_style(style);
    }
    bar.set_length(subscriptions.len().try_into().unwrap_or(u64::MAX));
    let mut summary = Summary::default();
    for subscription in subscriptions {
        let id = subscription.id;
        match rekey_one(store, keys, subscription).await.with_context(|| id.to_string())? {
            Rekeyed::Done => summary.rekeyed += 1,
            Rekeyed::Unneeded => summary.unchanged += 1,
            Rekeyed::Unreadable(reason) => {
                summary.unreadable += 1;
                bar.suspend(|| complain(format_args!("{id}: {reason}")));
            }
        }
        bar.inc(1);
    }
    Ok(summary)
}

enum Rekeyed {
    Done,
    Unneeded,
    Unreadable(String),
}

async fn rekey_one(store: &dyn Store, keys: &MasterKeys, mut subscription: Subscription) -> anyhow::Result<Rekeyed> {
    let (account, id) = (subscription.account, subscription.id);
    for _ in 0..TRIES {
        if subscription.secrets.is_sealed_with(Some(keys)) {
            return Ok(Rekeyed::Unneeded);
        }
        let secrets = match Secrets::open(&subscription.secrets, Some(keys), id) {
            Ok(secrets) => secrets,
            Err(error) => return Ok(Rekeyed::Unreadable(error.to_string())),
        };
        subscription.secrets = secrets.seal(Some(keys), id, rand::random());
        match store.replace(subscription).await {
            Ok(Replaced::Done(_)) => return Ok(Rekeyed::Done),
            Ok(Replaced::Outdated) => {}
            Ok(Replaced::Taken) => bail!("the account has another one for the same events and URL"),
            Err(StoreError::NotFound) => return Ok(Rekeyed::Unneeded),
            Err(error) => return Err(error.into()),
        }
        subscription = match store.subscription(account, id).await {
            Ok(status) => status.subscription,
            Err(StoreError::NotFound) => return Ok(Rekeyed::Unneeded),
            Err(error) => return Err(error.into()),
        };
    }
    bail!("others change it all the time; try again")
}
