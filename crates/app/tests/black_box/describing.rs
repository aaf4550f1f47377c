//! What the server says of its HTTP interface.

use serde_json::Value;

use crate::support::server::Home;

#[tokio::test]
async fn the_description_is_the_one_that_is_checked_in() {
    let server = Home::new().serve();
    for path in ["/openapi.json", "/openapi.json/"] {
        let answer = server.http.get(path).send().await;
        let described = answer.expect(200);
        assert_eq!(answer.header("content-type"), "application/json");
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(page).unwrap()).unwrap();
        assert!(described == kept, "docs/openapi.json is another one");
    }
}

#[tokio::test]
async fn the_page_shows_every_operation_and_loads_nothing() {
    let server = Home::new().serve();
    let described = server.http.get("/openapi.json").send().await.expect(200);
    for path in ["/docs", "/docs/"] {
        let answer = server.http.get(path).send().await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/html; charset=utf-8"));
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        let page = std::str::from_utf8(&answer.body).unwrap();
        for operation in
            described["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
        {
            let id = operation["operationId"].as_str().unwrap();
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        for loads in ["<script", "<link", "<img", "src=", "@import", "url(", "href=\"http"] {
            assert!(!page.contains(loads), "{loads}");
        }
    }
}

#[tokio::test]
async fn nobody_needs_a_token_for_it() {
    let server = Home::new().serve();
    for path in ["/openapi.json", "/docs"] {
        assert_eq!(server.http.get(path).bearer("unknown").send().await.status, 200);
        server.http.post(path).send().await.expect_problem(405);
    }
}
