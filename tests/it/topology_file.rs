//! The topology file: the gateway keeps its document applied. The value of `GATEWAY_TOPOLOGY` is the document here; the tests of
//! the binary give it a path.

use std::time::Duration;

use lapin::types::AMQPValue;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    broker::{Broker, Vhost},
    gateway::TestGateway,
    observer::Observer,
    poll::eventually,
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(20);

const DOCUMENT: &str = r#"{
    "exchanges": [{"name": "orders", "type": "topic"}],
    "queues": [{"name": "eu", "max_length": 5, "dead_letter": true}],
    "bindings": [{"source": "orders", "queue": "eu", "routing_key": "eu.#"}]
}"#;

/// The check of the topology file, without its status if it has none.
async fn check(gateway: &TestGateway) -> Value {
    gateway.health().await["checks"]["topology:applied"][0].clone()
}

async fn has(gateway: &TestGateway, status: &str) {
    let what = format!("the topology file has the status {status}");
    eventually(SOON, &what, || async { check(gateway).await["status"] == status }).await;
}

/// A vhost with a queue `eu` that has other arguments than in the document.
async fn conflicting(name: &str) -> (Vhost<'static>, Observer) {
    let vhost = Broker::shared().await.vhost(name).await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue_with("eu", &[("x-max-length", AMQPValue::LongInt(6))]).await;
    (vhost, observer)
}

#[tokio::test]
async fn the_file_is_applied_at_the_start_and_again_after_a_lost_connection() {
    let stage = Stage::set_with("topology-file", &[("GATEWAY_TOPOLOGY", DOCUMENT)]).await;
    has(&stage.gateway, "pass").await;
    assert_eq!(stage.gateway.publish("orders", "eu.new", "x").await.status(), 200);
    stage.observer.get_one("eu", SOON).await;
    for (name, count) in [("eu", 0), ("eu.dlq", 0)] {
        assert_eq!(stage.observer.count(name).await, Some(count), "{name}");
    }
    stage.observer.delete_queue("eu").await;
    stage.observer.delete_exchange("orders").await;
    stage.vhost.close_connections().await;
    // The observer's connection was closed too.
    let observer = Observer::connect(&stage.vhost.url).await;
    eventually(SOON, "the queue is back", || async { observer.count("eu").await == Some(0) }).await;
    let is_bound = || async { stage.gateway.publish("orders", "eu.new", "x").await.status().is_success() };
    eventually(SOON, "the binding is back", is_bound).await;
}

#[tokio::test]
async fn a_conflict_fails_the_health_check_and_neither_the_start_nor_readiness_nor_publishes() {
    let (vhost, observer) = conflicting("topology-file-conflict").await;
    let settings =
        [("AMQP_URL", &*vhost.url), ("GATEWAY_TOPOLOGY", DOCUMENT), ("RABBITMQ_REFUSED_DELAY", "100ms")];
    let gateway = TestGateway::start(&settings).await;
    has(&gateway, "fail").await;
    assert_eq!(check(&gateway).await["output"], "queues[0] eu: exists with other arguments");
    assert_eq!(gateway.get("/health/rabbitmq").send().await.unwrap().status(), 503);
    let metrics = gateway.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\ngateway_topology_file_failed 1\n"), "{metrics}");
    assert_eq!(gateway.publish("amq.default", "eu", "x").await.status(), 200);
    assert!(gateway.is_ready().await);
    assert_eq!(observer.count("eu.dlq").await, None, "nothing was made");
    observer.delete_queue("eu").await;
    has(&gateway, "pass").await;
    assert_eq!(observer.count("eu.dlq").await, Some(0));
}

#[tokio::test]
async fn with_a_required_file_the_gateway_is_ready_only_after_it_was_applied_once() {
    let (vhost, observer) = conflicting("topology-file-required").await;
    let settings = [
        ("AMQP_URL", &*vhost.url),
        ("GATEWAY_TOPOLOGY", DOCUMENT),
        ("GATEWAY_TOPOLOGY_REQUIRED", "true"),
        ("RABBITMQ_REFUSED_DELAY", "100ms"),
    ];
    let gateway = TestGateway::start_unready(&settings).await;
    has(&gateway, "fail").await;
    let is_publishing = || async { gateway.publish("amq.default", "eu", "x").await.status().is_success() };
    eventually(SOON, "publishes are served", is_publishing).await;
    assert!(!gateway.is_ready().await, "the file was never applied");
    observer.delete_queue("eu").await;
    eventually(SOON, "the gateway is ready", || gateway.is_ready()).await;
    // The file was applied once: a later conflict fails the check only.
    observer.delete_queue("eu").await;
    observer.declare_queue("eu").await;
    vhost.close_connections().await;
    has(&gateway, "fail").await;
    eventually(SOON, "the gateway is ready again", || gateway.is_ready()).await;
}

#[tokio::test]
async fn without_a_file_there_is_no_check() {
    let stage = Stage::set("topology-file-none").await;
    let answer = stage.ask(Method::GET, "/health/rabbitmq").await;
    assert_eq!(answer.json()["checks"].get("topology:applied"), None);
}

#[tokio::test]
async fn a_missing_permission_is_told_without_rabbitmqs_words() {
    let vhost = Broker::shared().await.vhost("topology-file-user").await;
    Broker::shared().await.add_user("topology-file", "secret").await;
    vhost.permit("topology-file", "^amq\\.gen.*", ".*", ".*").await;
    let url = vhost.url_as("topology-file", "secret");
    let document = json!({"queues": [{"name": "eu"}]}).to_string();
    let gateway = TestGateway::start(&[("AMQP_URL", &url), ("GATEWAY_TOPOLOGY", &document)]).await;
    has(&gateway, "fail").await;
    assert_eq!(check(&gateway).await["output"], "queues[0] eu: access refused");
}
