//! The keys that the gateway remembers: how long, how many, and how `/metrics` shows it.

use reqwest::RequestBuilder;
use serde_json::json;

use super::{
    SOON,
    in_flight::{PATIENT, has_one_message, hold_back},
    is_answered_by_replay, is_published, is_refused, is_replayed, keyed, keyed_at,
};
use crate::support::{
    contract::Answer,
    gateway::TestGateway,
    poll::eventually,
    stage::{Stage, wired},
};

/// A value of `/metrics` without labels.
async fn metric(gateway: &TestGateway, name: &str) -> f64 {
    let text = gateway.get("/metrics").send().await.unwrap().text().await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("a value of {name} in {text}"))
}

#[tokio::test]
async fn a_key_is_forgotten_when_its_time_is_over() {
    let stage = Stage::set_with("key-ttl", &[("GATEWAY_IDEMPOTENCY_TTL", "1500ms")]).await;
    stage.observer.declare_queue("q").await;
    is_published(keyed(&stage, "k")).await;
    is_answered_by_replay(keyed(&stage, "k")).await;
    assert_eq!(metric(&stage.gateway, "gateway_idempotency_keys").await.to_string(), "1");
    let is_gone = || async { metric(&stage.gateway, "gateway_idempotency_keys").await.to_string() == "0" };
    eventually(SOON, "the key is forgotten", is_gone).await;
    is_published(keyed(&stage, "k").body("another message")).await;
    assert_eq!(stage.observer.drain_ids("q").await, ["k", "k"]);
    assert_eq!(metric(&stage.gateway, "gateway_idempotency_evicted_total").await.to_string(), "0");
}

#[tokio::test]
async fn when_the_memory_for_keys_is_full_the_oldest_key_is_forgotten_and_counted() {
    let stage = Stage::set_with("key-evicted", &[("GATEWAY_IDEMPOTENCY_MAX", "2")]).await;
    stage.observer.declare_queue("q").await;
    for key in ["a", "b"] {
        is_published(keyed(&stage, key)).await;
    }
    is_answered_by_replay(keyed(&stage, "a")).await;
    is_published(keyed(&stage, "c")).await;
    for key in ["b", "c"] {
        is_answered_by_replay(keyed(&stage, key)).await;
    }
    is_published(keyed(&stage, "a")).await;
    assert_eq!(stage.observer.drain_ids("q").await, ["a", "b", "c", "a"]);
    for (name, value) in [("keys", "2"), ("evicted_total", "2"), ("replays_total", "3")] {
        let name = format!("gateway_idempotency_{name}");
        assert_eq!(metric(&stage.gateway, &name).await.to_string(), value, "{name}");
    }
}

#[tokio::test]
async fn when_all_keys_are_in_flight_a_further_one_is_503_and_a_request_without_a_key_is_published() {
    let settings = [PATIENT[0], PATIENT[1], ("GATEWAY_IDEMPOTENCY_MAX", "1")];
    let (_vhost, observer, link, gateway) = wired("key-full", &settings).await;
    hold_back(&observer, &link, &gateway).await;
    let plain = || gateway.post("/publish/amq.default?routing_key=q&timeout=30s").body("y");
    let others = async {
        has_one_message(&observer).await;
        let answer = is_refused(keyed_at(&gateway, "other"), 503, "overloaded").await;
        let body = answer.json();
        assert_eq!((&body["outcome"], &body["limit"]), (&json!("not_sent"), &json!(1)), "{body}");
        assert!(answer.text("detail").contains("GATEWAY_IDEMPOTENCY_MAX"), "{body}");
        let is_there = || async { observer.count("q").await == Some(2) };
        let mend = async {
            eventually(SOON, "the message without a key is in the queue", is_there).await;
            link.mend();
        };
        tokio::join!(confirmed(plain()), mend);
    };
    tokio::join!(confirmed(keyed_at(&gateway, "k")), others);
    is_published(keyed_at(&gateway, "other")).await;
    assert_eq!(observer.count("q").await, Some(3));
    gateway.stop().await;
}

async fn confirmed(request: RequestBuilder) {
    let answer = Answer::to(request).await;
    assert_eq!((answer.status, is_replayed(&answer)), (200, false), "{}", answer.json());
}
