//! `hookcast account`: on the store itself for operators, on a server for the account's owner.

use std::{process::ExitCode, sync::Arc};

use comfy_table::{Table, presets::NOTHING};
use hookcast_core::{
    account::{Account, check_user_email, check_user_id},
    clock::{Clock as _, SystemClock},
    id::AccountId,
    token::{self, TokenHash},
};
use hookcast_store::{PageRequest, Store, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::{Global, own_account, print};
use crate::{
    api::{ACCESS_TOKEN_PREFIX, note_command},
    lifecycle,
};

/// Accounts in one read.
const PAGE: u32 = 1_000;

/// Register accounts, list them, rotate their tokens; show, change and delete your own one
///
/// `create`, `list` and `rotate-token` are for operators: they work on the store itself, with or without a running server, and need
/// no token. `show`, `change`, `rotate` and `delete` are for the account's owner: they ask a server, with its access token.
///
/// Exit codes: 0 it is done; 1 it is not, and nothing has changed.
#[derive(clap::Subcommand)]
pub enum Command {
    #[command(flatten)]
    Any(StoreCommand),
    #[command(flatten)]
    Own(own_account::Command),
}

/// What operators do on the store.
#[derive(clap::Subcommand)]
pub enum StoreCommand {
    /// Register an account on the store and print its access token, this once
    ///
    /// A running server knows it at once.
    ///
    /// Exit codes: 0 it is registered; 1 it is not, because there is one of this name or the name is not allowed.
    Create {
        /// The account's name; unique
        user_id: String,
        /// Where notices go
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the accounts of the store
    List {
        /// Print JSON, one account a line
        #[arg(long)]
        json: bool,
    },
    /// Give any account of the store a new access token and print it, this once; the old one is void at once
    ///
    /// It is the token `default`, with which an account begins. Its subscriptions and their secrets stay as they are, and so do
    /// tokens that it has made for itself.
    ///
    /// Exit codes: 0 the new token is valid; 1 there is no such account, or the store cannot be used, and the old one still is.
    RotateToken {
        /// The account's name
        user_id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(global: &Global, command: Command) -> anyhow::Result<ExitCode> {
    let command = match command {
        Command::Any(command) => command,
        Command::Own(command) => return own_account::run(global, command).await,
    };
    let config = global.start(&[])?;
    lifecycle::with_existing_store(&config, async |store| work(store, command).await).await?;
    Ok(ExitCode::SUCCESS)
}

async fn work(store: &Arc<dyn Store>, command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Create { user_id, email, json } => {
            check_user_id(&user_id).map_err(|rule| anyhow::anyhow!("USER_ID {rule}"))?;
            if let Some(email) = &email {
                check_user_email(email).map_err(|rule| anyhow::anyhow!("--email {rule}"))?;
            }
            let now = SystemClock.now();
            let token = token::generate(ACCESS_TOKEN_PREFIX, rand::random());
            let id = AccountId::new(now, rand::random());
            let account = Account { id, user_id, user_email: email, created_at: now };
            store.create_account(account.clone(), TokenHash::of(&token)).await.map_err(|error| match error {
                StoreError::Conflict => anyhow::anyhow!(
                    "there is an account `{}` already; `hookcast account rotate-token` gives it a new token",
                    account.user_id
                ),
                error => error.into(),
            })?;
            note_command(&**store, "account create", &account.user_id, now).await;
            print_token(&account, &token, json)?;
        }
        StoreCommand::List { json } => {
            let mut table = Table::new();
            table.load_style(NOTHING).set_header(["user_id", "user_email", "created_at"]);
            let mut page = PageRequest { limit: PAGE, cursor: None };
            loop {
                let found = store.accounts(page).await?;
                for account in &found.items {
                    if json {
                        print(serde_json::to_string(account)?)?;
                    } else {
                        let email = account.user_email.clone().unwrap_or_default();
                        table.add_row([account.user_id.clone(), email, account.created_at.to_string()]);
                    }
                }
                page.cursor = found.next;
                if page.cursor.is_none() {
                    break;
                }
            }
            if !json {
                print(table)?;
            }
        }
        StoreCommand::RotateToken { user_id, json } => {
            let token = token::generate(ACCESS_TOKEN_PREFIX, rand::random());
            let now = SystemClock.now();
            let account =
                store.reset_token(&user_id, TokenHash::of(&token), now).await.map_err(|error| match error {
                    StoreError::NotFound => {
                        anyhow::anyhow!(
                            "there is no account `{user_id}`; `hookcast account list` shows those there are"
                        )
                    }
                    error => error.into(),
                })?;
            note_command(&**store, "account rotate-token", &user_id, now).await;
            print_token(&account, &token, json)?;
        }
    }
    Ok(())
}

fn print_token(account: &Account, token: &SecretString, as_json: bool) -> anyhow::Result<()> {
    let token = token.expose_secret();
    if as_json {
        let Account { user_id, user_email, created_at, .. } = account;
        let view = json!({
            "user_id": user_id, "user_email": user_email, "created_at": created_at, "access_token": token
        });
        print(view)
    } else {
        print(format_args!("account:      {}\naccess token: {token}\nIt is not shown again.", account.user_id))
    }
}
