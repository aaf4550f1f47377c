//! The scripts, each with the prelude put in front of it.

use std::sync::LazyLock;

use redis::{Script, ScriptInvocation};

/// A script with its arguments.
pub(super) type Call = ScriptInvocation<'static>;

/// Which scheme of keys this program writes.
pub(super) struct Schema {
    /// Raised with every change of what the scripts write.
    pub version: u32,
    /// The oldest version whose scripts can work on what these ones write.
    pub oldest_reader: u32,
}

pub(super) const SCHEMA: Schema = Schema { version: 1, oldest_reader: 1 };

const PRELUDE: &str = include_str!("scripts/prelude.lua");

macro_rules! scripts {
    ($($name:ident: $flags:literal, $file:literal;)+) => {$(
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let text = include_str!(concat!("scripts/", $file, ".lua"));
            Script::new(&format!("#!lua flags={}\n{PRELUDE}{text}", $flags))
        });
    )+};
}

// What has no flag is refused by a server whose memory is full, before it has written anything. What makes the best of things
// that are there already, or makes them less, must work even then.
scripts! {
    OPEN: "", "open";
    CHECK: "", "check";
    ACCEPT: "", "accept";
    CREATE_ACCOUNT: "", "create_account";
    SUBSCRIBE: "", "subscribe";

    JOIN: "allow-oom", "join";
    RENEW: "allow-oom", "renew";
    LEAVE: "allow-oom", "leave";
    RESCUE: "allow-oom", "rescue";
    CLAIM: "allow-oom", "claim";
    FINISH: "allow-oom", "finish";
    RELEASE: "allow-oom", "release";
    PURGE: "allow-oom", "purge";
    ROTATE_TOKEN: "allow-oom", "rotate_token";
    ROTATE_SECRET: "allow-oom", "rotate_secret";
    SET_ACTIVE: "allow-oom", "set_active";
    UNSUBSCRIBE: "allow-oom", "unsubscribe";

    DUE: "no-writes", "due";
    ACCOUNT_BY_TOKEN: "no-writes", "account_by_token";
    ACCOUNTS: "no-writes", "accounts";
    SUBSCRIPTION: "no-writes", "subscription";
    SUBSCRIPTIONS: "no-writes", "subscriptions";
    CHANGES: "no-writes", "changes";
    EVENT: "no-writes", "event";
    DELIVERIES: "no-writes", "deliveries";
}
