//! Hints at work.

use std::time::Duration;

use super::server::{Sender, Server};

#[tokio::test]
async fn a_process_that_waits_hears_of_work_that_has_become_due() {
    let server = Server::start(&[]);
    let listener = server.open().await.unwrap();
    let mut sender = Sender::new(server.open().await.unwrap()).await;
    sender.send(10).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), listener.wait_for_work()).await.expect("it is told");

    // What is added to what waits already is no news.
    sender.send(10).await.unwrap();
    listener.check().await.unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, listener.wait_for_work()).await.is_err());
}
