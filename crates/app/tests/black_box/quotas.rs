//! How many requests may be made with one token.

use http::Method;
use serde_json::json;

use crate::support::{http::Answer, server::Home};

fn left(answer: &Answer) -> (String, String) {
    (answer.header("ratelimit-policy").to_owned(), answer.header("ratelimit").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_quota_are_refused_with_when_to_come_again() {
    let home = Home::new().set("HOOKCAST_LIMITS_REQUESTS", "3").set("HOOKCAST_LIMITS_TRIGGERS", "2");
    let server = home.serve();
    // Another token made it: hers is as new.
    let ada = server.http.account("ada").await;
    let list = || ada.request(Method::GET, "/webhooks/subscriptions").send();
    for expected in [2, 1, 0] {
        let answer = list().await;
        answer.expect(200);
        let (policy, limit) = left(&answer);
        assert_eq!(policy, "\"requests\";q=3;w=60");
        assert!(limit.starts_with(&format!("\"requests\";r={expected};t=")), "{limit}");
    }
    let refused = list().await;
    refused.expect_problem(429);
    let after: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&after), "{after}");
    assert_eq!(left(&refused).1, format!("\"requests\";r=0;t={after}"));

    // Events have a quota of their own, and so has every token; those without one share theirs.
    for status in [202, 202, 429] {
        let answer = server.http.try_trigger(&json!({"event": "x", "payload": 1})).await;
        assert_eq!(answer.status, status);
        assert!(left(&answer).0.starts_with("\"triggers\";q=2"));
    }
    for status in [401, 401, 401, 429] {
        assert_eq!(server.http.get("/webhooks/subscriptions").send().await.status, status);
    }
    for _ in 0..9 {
        assert_eq!(server.http.get("/health/ready").send().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quota_nothing_is_told_of_one() {
    let server = Home::new().serve();
    let ada = server.http.account("ada").await;
    for _ in 0..50 {
        let answer = ada.request(Method::GET, "/webhooks/subscriptions").send().await;
        answer.expect(200);
        assert_eq!(left(&answer), (String::new(), String::new()));
    }
}
