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

// A process that knows nothing of what few events have sends what is scheduled at once, and what is for one account to all.
pub(super) const SCHEMA: Schema = Schema { version: 5, oldest_reader: 5 };

const PRELUDE: &str = include_str!("scripts/prelude.lua");

macro_rules! scripts {
    ($($name:ident: $header:literal, $file:literal;)+) => {$(
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let text = include_str!(concat!("scripts/", $file, ".lua"));
            Script::new(&[$header, "\n", PRELUDE, text].concat())
        });
    )+};
}

// What has no flag is refused by a server whose memory is full, before it has written anything. What makes the best of things
// that are there already, or makes them less, must work even then.
scripts! {
    CHECK: "#!lua", "check";
    ACCEPT: "#!lua", "accept";
    IMPORT: "#!lua", "import";
    CREATE_ACCOUNT: "#!lua", "create_account";
    CREATE_TOKEN: "#!lua", "create_token";
    SET_EMAIL: "#!lua", "set_email";
    SUBSCRIBE: "#!lua", "subscribe";
    PUT_DOCUMENT: "#!lua", "put_document";

    OPEN: "#!lua flags=allow-oom", "open";
    JOIN: "#!lua flags=allow-oom", "join";
    RENEW: "#!lua flags=allow-oom", "renew";
    LEAVE: "#!lua flags=allow-oom", "leave";
    RESCUE: "#!lua flags=allow-oom", "rescue";
    CLAIM: "#!lua flags=allow-oom", "claim";
    FINISH: "#!lua flags=allow-oom", "finish";
    RELEASE: "#!lua flags=allow-oom", "release";
    REDELIVER: "#!lua flags=allow-oom", "redeliver";
    PURGE: "#!lua flags=allow-oom", "purge";
    ROTATE_TOKEN: "#!lua flags=allow-oom", "rotate_token";
    RESET_TOKEN: "#!lua flags=allow-oom", "reset_token";
    DELETE_TOKEN: "#!lua flags=allow-oom", "delete_token";
    REPLACE: "#!lua flags=allow-oom", "replace";
    SET_ACTIVE: "#!lua flags=allow-oom", "set_active";
    HURRY: "#!lua flags=allow-oom", "hurry";
    UNSUBSCRIBE: "#!lua flags=allow-oom", "unsubscribe";
    DELETE_ACCOUNT: "#!lua flags=allow-oom", "delete_account";
    KEEP_DOCUMENT: "#!lua flags=allow-oom", "put_document";
    DELETE_DOCUMENT: "#!lua flags=allow-oom", "delete_document";
    CONFIRM: "#!lua flags=allow-oom", "confirm";
    CANCEL: "#!lua flags=allow-oom", "cancel";
    TAKE_NOTICES: "#!lua flags=allow-oom", "take_notices";
    BEGIN_MAIL: "#!lua flags=allow-oom", "begin_mail";
    POSTPONE_NOTICE: "#!lua flags=allow-oom", "postpone_notice";
    NOTICE_GIVEN: "#!lua flags=allow-oom", "notice_given";
    FINISH_IMPORT: "#!lua flags=allow-oom", "finish_import";

    DUE: "#!lua flags=no-writes", "due";
    BEARER: "#!lua flags=no-writes", "bearer";
    TOKENS: "#!lua flags=no-writes", "tokens";
    ACCOUNT: "#!lua flags=no-writes", "account";
    ACCOUNTS: "#!lua flags=no-writes", "accounts";
    SUBSCRIPTION: "#!lua flags=no-writes", "subscription";
    SUBSCRIPTIONS: "#!lua flags=no-writes", "subscriptions";
    CHANGES: "#!lua flags=no-writes", "changes";
    EVENT: "#!lua flags=no-writes", "event";
    EVENTS: "#!lua flags=no-writes", "events";
    DELIVERY: "#!lua flags=no-writes", "delivery";
    DELIVERIES: "#!lua flags=no-writes", "deliveries";
    PULL: "#!lua flags=no-writes", "pull";
    DOCUMENT: "#!lua flags=no-writes", "document";
    DOCUMENTS: "#!lua flags=no-writes", "documents";
    DOCUMENTS_VERSION: "#!lua flags=no-writes", "documents_version";
    PROGRESS: "#!lua flags=no-writes", "progress";
    EXPORT: "#!lua flags=no-writes", "export";
}
