//! A store with all that there may be, and all that can be read of it.

use std::time::Duration;

use hookcast_core::{
    delivery::{DeliveryState, Failure},
    id::EventId,
    options::{Options, Ordering},
    policy::{BreakerPolicy, DeactivationPolicy, Deduplicate},
    subscription::Subscription,
    token::{AccessToken, Scope, TokenHash},
};

use super::{
    process::{delivered, failed, gone, retried, unanswered},
    world::{ALL, World, at},
};
use crate::{
    Limits,
    catalogue::CatalogueVersion,
    documents::{DocumentQuery, Expected, Kind},
};

/// What is in a full store.
pub(crate) struct Full {
    pub subscriptions: Vec<Subscription>,
    pub tokens: Vec<TokenHash>,
    pub events: Vec<EventId>,
}

/// How long equal content counts in it.
pub(crate) const RULE: Deduplicate = Deduplicate::Within(Duration::from_secs(2 * 86_400));
/// How long it remembers keys.
pub(crate) const REMEMBER: Duration = Duration::from_secs(86_400);

/// Its documents.
const DOCUMENTS: [(Kind, &str, &str); 5] = [
    (Kind::EventTypes, "x", "{ \"n\":1.0 }"),
    (Kind::Audit, "a: b", "\"é\""),
    (Kind::Audit, "a", "[]"),
    (Kind::TriggerTokens, "a", "7"),
    (Kind::Audit, "Z", "8"),
];

/// Fills a store with all that there may be.
pub(crate) async fn fill(world: &World) -> Full {
    let mut tokens = Vec::new();
    for name in ["zoe", "ada", "bob"] {
        let token = world.new_token();
        let mut account = world.new_account(name);
        account.user_email = account.user_email.filter(|_| name != "bob");
        world.store().create_account(account, token).await.unwrap();
        tokens.push(token);
    }
    let zoe = world.store().bearer(tokens[0]).await.unwrap().unwrap().account;
    let ada = world.store().bearer(tokens[1]).await.unwrap().unwrap().account;
    for (name, scope, end) in [("ci", Scope::Read, Some(at(9))), ("z", Scope::Write, None), ("a", Scope::Read, None)] {
        let token = AccessToken { name: name.parse().unwrap(), scope, created_at: at(5), expires_at: end };
        tokens.push(world.new_token());
        world.store().create_token(ada.id, token, tokens[tokens.len() - 1]).await.unwrap();
    }
    let former = world.account("former").await;
    world.subscription(&former, "x", "https://former.example").await;
    world.store().delete_account(former.id, at(1)).await.unwrap();
    for (kind, name, body) in DOCUMENTS {
        world.store().put_document(kind, name, body.into(), Expected::None).await.unwrap();
    }
    world.store().put_document(Kind::Pauses, "gone", "1".into(), Expected::None).await.unwrap();
    world.store().delete_document(Kind::Pauses, "gone", Expected::Any).await.unwrap();
    let mut subscriptions = Vec::new();
    for (account, url) in [(&zoe, "1"), (&ada, "2"), (&zoe, "3"), (&ada, "4"), (&zoe, "5")] {
        subscriptions.push(world.subscription(account, "x", &format!("https://example.org/{url}?é")).await);
    }
    let [well, failing, inactive, deleted, idle] = &subscriptions[..] else { unreachable!() };

    let mut events = Vec::new();
    for payload in ["{ \"n\":1.0 }", "\"é\"", "[]"] {
        let batch = world.batch().event("x").payload(payload).to([well, failing, inactive, deleted]);
        events.push(batch.accept_one().await);
    }
    events.push(world.batch().event("nobody").accept_one().await);
    events.push(world.batch().event("x").payload("7").deduplicate(RULE).to([well]).accept_one().await);
    world.batch().event("x").payload("8").key("a key", 7, REMEMBER).to([well]).accept().await;
    let nothing = world.batch().event("y").deduplicate(Deduplicate::Forever).key("another \"key\"", 8, REMEMBER);
    nothing.accept().await;

    let claimed = world.here.claim(well, 2, at(1)).await;
    world.here.finish([delivered(&claimed[0], at(2)), delivered(&claimed[1], at(2))], at(2)).await;
    let claimed = world.here.claim(failing, 3, at(1)).await;
    let outcomes = [
        failed(&claimed[0], at(3)),
        retried(&claimed[1], at(4), at(90)),
        unanswered(&claimed[2], at(5), Failure::Dns, at(60)),
    ];
    world.here.finish(outcomes, at(5)).await;
    let again = world.here.claim(failing, 1, at(60)).await;
    world.here.finish([retried(&again[0], at(61), at(200))], at(61)).await;
    let claimed = world.here.claim(inactive, 1, at(1)).await;
    let patience = DeactivationPolicy { max_failures: 100, after: Duration::ZERO };
    world.here.finish_under(patience, [gone(&claimed[0], at(3), at(100))], at(3)).await;
    let claimed = world.here.claim(deleted, 1, at(1)).await;
    world.here.finish([delivered(&claimed[0], at(2))], at(2)).await;
    world.unsubscribe(deleted).await;
    world.change(idle, |idle| idle.secrets = world.new_secrets()).await;

    // Of the ordered one's four the first is tried again and the last two wait for it, one of them held.
    let ordered = &Options { ordering: Some(Ordering::Key), rate_limit: Some(3.0), ..Options::default() };
    let mut subscription = world.new_subscription(&zoe, "x,y_*", "https://example.org/6?é");
    subscription.options = ordered.clone();
    let ordered = world.store().subscribe(subscription, None).await.unwrap().status.subscription;
    for _ in 0..4 {
        events.push(world.batch().event("x").keyed("k").to([&ordered]).accept_one().await);
    }
    let run = world.here.claim(&ordered, 3, at(1)).await;
    let breaker =
        BreakerPolicy { failures: 1, first_pause: Duration::from_secs(9), longest_pause: Duration::from_secs(9) };
    world.here.finish_with(breaker, [delivered(&run[0], at(2)), retried(&run[1], at(2), at(80))], at(2)).await;
    world.here.release(&run[2..], at(2)).await;

    // Of idle's three one is given up.
    let strict = world.process_with(Limits { max_waiting: 2, ..Limits::default() }).await;
    for second in [1, 2, 3] {
        let event = world.batch().by(&strict).event("x").to([idle]).at(at(second)).accept_one().await;
        events.push(event);
    }
    strict.leave(at(100)).await;
    subscriptions.push(ordered);
    Full { subscriptions, tokens, events }
}

/// All that can be read of a store.
pub(crate) async fn seen(world: &World, full: &Full) -> Vec<String> {
    let mut seen = Vec::new();
    let mut note = |what: &str, value: &dyn std::fmt::Debug| seen.push(format!("{what}: {value:?}"));
    let store = world.store();
    note("accounts", &store.accounts(ALL).await.unwrap().items);
    for token in &full.tokens {
        let account = store.bearer(*token).await.unwrap().unwrap().account;
        note("tokens", &store.tokens(account.id).await.unwrap());
        let mut statuses = store.subscriptions(Some(account.id), ALL).await.unwrap().items;
        for status in &mut statuses {
            // Each store counts its own changes.
            status.subscription.version = 0;
        }
        note("listed", &statuses);
        for status in statuses {
            note("secrets", &status.subscription.secrets.as_bytes());
        }
    }
    for subscription in &full.subscriptions {
        note("deliveries", &store.deliveries(subscription.id, None, ALL).await.unwrap().items);
        for state in DeliveryState::ALL {
            let records = store.deliveries(subscription.id, Some(state), ALL).await.unwrap().items;
            note("of a state", &records.iter().map(|record| record.id).collect::<Vec<_>>());
        }
    }
    for event in &full.events {
        note("event", &store.event(*event, ALL).await.unwrap());
    }
    for kind in Kind::ALL {
        let query = DocumentQuery { limit: 100, ..DocumentQuery::default() };
        let documents = store.documents(kind, query).await.unwrap();
        note("documents", &documents.iter().map(|document| (&document.name, &document.body)).collect::<Vec<_>>());
    }
    let changes = store.changes_since(CatalogueVersion(0)).await.unwrap();
    let mut known: Vec<_> = changes.changed.iter().map(|subscription| subscription.id).collect();
    let mut deleted = changes.deleted.clone();
    known.sort();
    deleted.sort();
    note("catalogue", &(known, deleted));
    for second in [0, 1, 5, 60, 95, 250] {
        let due = world.due(at(second)).await;
        let mut subscriptions = due.subscriptions;
        // Those that are due since the same moment are in no order.
        subscriptions.sort();
        note("due", &(subscriptions, due.next));
    }
    seen
}
