//! The gateway's user loses a permission while messages are leased: an item has the problem, and its lease stays.

use super::*;
use crate::support::gateway::TestGateway;

const ALL: &str = ".*";
const NONE: &str = "^$";

/// A gateway with a user of its own, which holds the leases of two messages.
async fn with_leases(name: &str) -> (Stage, TestGateway, [String; 2]) {
    let stage = Stage::with_queue(name).await;
    let gateway = stage.gateway_as(name, ALL, ALL, ALL).await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    let mut leases = [const { String::new() }; 2];
    for lease in &mut leases {
        *lease = lease_id(&pull_one(&gateway, "q", "5m").await);
    }
    (stage, gateway, leases)
}

async fn retry(gateway: &TestGateway, lease: &str, delay: &str) -> Vec<String> {
    outcomes(gateway, "q", json!({"retry": [{"lease_id": lease, "delay": delay}]})).await
}

async fn dead_letter(gateway: &TestGateway, lease: &str) -> Vec<String> {
    let to = json!({"exchange": "amq.default", "routing_key": "q"});
    outcomes(gateway, "q", json!({"dead_letter": [{"lease_id": lease}], "dead_letter_to": to})).await
}

#[tokio::test]
async fn without_the_permission_to_read_a_pull_is_403_and_leases_are_settled() {
    let (stage, gateway, [a, b]) = with_leases("unread").await;
    stage.observer.declare_queue("r").await;
    stage.vhost.permit("unread", ALL, ALL, NONE).await;
    assert_eq!(pull(&gateway, "r", json!({"wait": "5s"})).await.verdict(), (403, "forbidden".to_owned()));
    assert_eq!(act(&gateway, "q", "ack", &a).await, "acked");
    assert_eq!(act(&gateway, "q", "release", &b).await, "released");
    has(&stage.observer, "q", 1).await;
}

#[tokio::test]
async fn without_the_permission_to_write_copies_and_other_replicas_are_refused_and_the_owner_settles() {
    let (stage, gateway, [a, b]) = with_leases("unwritten").await;
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url_as("unwritten", "secret"))]).await;
    stage.vhost.permit("unwritten", ALL, NONE, ALL).await;
    assert_eq!(dead_letter(&gateway, &a).await, ["forbidden"]);
    assert_eq!(act(&other, "q", "ack", &a).await, "forbidden");
    assert_eq!(act(&gateway, "q", "ack", &b).await, "acked");
    stage.vhost.permit("unwritten", ALL, ALL, ALL).await;
    let acked = || async { act(&other, "q", "ack", &a).await == "acked" };
    eventually(SOON, "another replica settles again", acked).await;
    gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn without_the_permission_to_configure_only_a_retry_with_a_delay_is_refused() {
    let (stage, gateway, [a, b]) = with_leases("unconfigured").await;
    stage.vhost.permit("unconfigured", NONE, ALL, ALL).await;
    assert_eq!(retry(&gateway, &a, "1m").await, ["forbidden"]);
    assert_eq!(retry(&gateway, &a, "0s").await, ["retried"]);
    assert_eq!(act(&gateway, "q", "ack", &b).await, "acked");
    has(&stage.observer, "q", 1).await;
}
