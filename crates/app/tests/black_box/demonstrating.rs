//! `hookcast demo`: the whole path, as a newcomer sees it.

use serde_json::Value;

use crate::support::server::Home;

#[test]
fn the_demo_delivers_everything_and_says_so() {
    let output = Home::new().run(&["demo", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let citations = &summary["acts"][0];
    assert_eq!((&citations["events"], &citations["verified"]), (&50.into(), &50.into()), "{summary}");
}
