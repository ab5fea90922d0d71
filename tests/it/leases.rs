//! Messages that callers take from a queue and settle.
//!
//! A second AMQP client publishes them, and looks at the queue afterwards.

mod callers;
mod copies;
mod copy_faults;
mod counts;
mod direct_replies;
mod faults;
mod next;
mod permissions;
mod refusals;
mod replicas;
mod replies;
mod requests;
mod stopping;
mod unused;
mod wire;

use std::time::Duration;

use lapin::{BasicProperties, ExchangeKind, types::AMQPValue};
use serde_json::{Value, json};

use crate::support::{
    leases::{act, is_empty, lease_id, outcomes, pull, pull_one, pulled, settle},
    observer::{Observer, message_id},
    poll::eventually,
    stage::Stage,
};

/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);

async fn publish(observer: &Observer, queue: &str, ids: impl IntoIterator<Item = &str>) {
    for id in ids {
        let properties = BasicProperties::default().with_message_id(id.into());
        observer.publish("", queue, id.as_bytes(), properties).await;
    }
}

async fn has(observer: &Observer, queue: &str, count: u32) {
    let is_there = || async { observer.count(queue).await == Some(count) };
    eventually(SOON, "the messages are in the queue", is_there).await;
}

/// The queue `q`, whose dead letters go to the queue `dead`.
async fn declare_with_dead_letters(observer: &Observer) {
    observer.declare_exchange("dlx", ExchangeKind::Fanout).await;
    observer.declare_queue("dead").await;
    observer.bind("dead", "dlx", "").await;
    let arguments = [("x-dead-letter-exchange", AMQPValue::LongString("dlx".into()))];
    observer.declare_queue_with("q", &arguments).await;
}

fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|it| it["properties"]["message_id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_message_is_with_its_caller_until_it_is_acked_and_then_it_is_gone() {
    for kind in ["classic", "quorum"] {
        let stage = Stage::set(&format!("lease_ack_{kind}")).await;
        stage.observer.declare_queue_with("q", &[("x-queue-type", AMQPValue::LongString(kind.into()))]).await;
        publish(&stage.observer, "q", ["a"]).await;
        let message = pull_one(&stage.gateway, "q", "1m").await;
        assert_eq!((&message["body_text"], &message["redelivered"]), (&"a".into(), &false.into()));
        assert_eq!((&message["exchange"], &message["routing_key"]), (&"amq.default".into(), &"q".into()));
        assert_eq!(message["delivery_attempt"], 1);
        assert!(is_empty(&stage.gateway, "q").await);
        assert_eq!(act(&stage.gateway, "q", "ack", &lease_id(&message)).await, "acked");
        // The end of the connection brings back what is not acked.
        stage.gateway.stop().await;
        assert_eq!(stage.observer.count("q").await, Some(0), "{kind}");
    }
}

#[tokio::test]
async fn released_and_rejected_messages_go_where_the_queue_says() {
    let stage = Stage::set("lease_release").await;
    declare_with_dead_letters(&stage.observer).await;
    publish(&stage.observer, "q", ["a"]).await;
    let first = pull_one(&stage.gateway, "q", "1m").await;
    assert_eq!(act(&stage.gateway, "q", "release", &lease_id(&first)).await, "released");
    let again = pull_one(&stage.gateway, "q", "1m").await;
    assert_eq!(again["redelivered"], true);
    assert_ne!(lease_id(&again), lease_id(&first));
    assert_eq!(act(&stage.gateway, "q", "reject", &lease_id(&again)).await, "rejected");
    let dead = stage.observer.get_one("dead", SOON).await;
    assert_eq!(message_id(&dead), "a");
    assert!(is_empty(&stage.gateway, "q").await);
}

#[tokio::test]
async fn a_lease_that_is_not_settled_in_time_expires_and_its_message_comes_back() {
    let stage = Stage::with_queue("lease_expiry").await;
    publish(&stage.observer, "q", ["a"]).await;
    let message = pull_one(&stage.gateway, "q", "300ms").await;
    has(&stage.observer, "q", 1).await;
    assert_eq!(act(&stage.gateway, "q", "ack", &lease_id(&message)).await, "lease-expired");
    assert_eq!(pull_one(&stage.gateway, "q", "1m").await["redelivered"], true);
}

#[tokio::test]
async fn an_extended_lease_lasts_longer_and_never_beyond_the_limit() {
    let stage =
        Stage::set_with("lease_extend", &[("GATEWAY_LEASE", "1s"), ("GATEWAY_LEASE_MAX", "1m")]).await;
    stage.observer.declare_queue("q").await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1s").await);
    let extend = |time: &'static str| outcomes_of_extend(&stage, &lease, time);
    assert_eq!(extend("59s").await, ["extended"]);
    assert_eq!(extend("61s").await, ["malformed-request"]);
    assert_eq!(extend("300ms").await, ["extended"]);
    has(&stage.observer, "q", 1).await;
    assert_eq!(extend("1s").await, ["lease-expired"]);
}

async fn outcomes_of_extend(stage: &Stage, lease: &str, time: &str) -> Vec<String> {
    outcomes(&stage.gateway, "q", json!({"extend": [{"lease_id": lease, "lease": time}]})).await
}

#[tokio::test]
async fn the_same_settle_again_gets_the_same_answer_and_another_one_is_409() {
    let stage = Stage::with_queue("lease_again").await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    for (action, outcome, other) in [("ack", "acked", "release"), ("reject", "rejected", "ack")] {
        let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
        for _ in 0..3 {
            assert_eq!(act(&stage.gateway, "q", action, &lease).await, outcome);
        }
        let answer = settle(&stage.gateway, "q", json!({other: [lease]})).await;
        let problem = &answer.json()["results"][0]["problem"];
        assert_eq!((answer.status, &problem["status"]), (207, &409.into()), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|it| it.contains(outcome)), "{problem}");
        assert_eq!(outcomes_of_extend(&stage, &lease, "1s").await, ["lease-settled"]);
    }
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn unknown_foreign_and_guessed_leases_are_410_and_have_no_effect() {
    let stage = Stage::with_queue("lease_unknown").await;
    stage.observer.declare_queue("other").await;
    publish(&stage.observer, "q", ["a"]).await;
    publish(&stage.observer, "other", ["b"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let foreign = lease_id(&pull_one(&stage.gateway, "other", "1m").await);
    let (start, secret) = lease.rsplit_once('.').expect("a secret");
    let guessed = format!("{start}.{}", secret.chars().rev().collect::<String>());
    for wrong in [&foreign, &guessed] {
        assert_eq!(act(&stage.gateway, "q", "ack", wrong).await, "lease-expired", "{wrong}");
    }
    assert_eq!(act(&stage.gateway, "no-queue", "ack", &lease).await, "lease-expired");
    assert_eq!(
        outcomes(&stage.gateway, "q", json!({"ack": [guessed, lease]})).await,
        ["lease-expired", "acked"]
    );
    assert_eq!(act(&stage.gateway, "other", "ack", &foreign).await, "acked");
}

#[tokio::test]
async fn a_batch_of_messages_is_pulled_and_settled_in_the_order_of_the_queue() {
    let stage = Stage::with_queue("lease_batch").await;
    let names: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    publish(&stage.observer, "q", names.iter().map(String::as_str)).await;
    let mut seen = Vec::new();
    while seen.len() < names.len() {
        let messages = pulled(&stage.gateway, "q", json!({"max": 25, "wait": "5s"})).await;
        assert!(!messages.is_empty() && messages.len() <= 25, "{}", messages.len());
        seen.extend(ids(&messages).into_iter().map(str::to_owned));
        let leases: Vec<_> = messages.iter().map(lease_id).collect();
        let answer = settle(&stage.gateway, "q", json!({"ack": leases})).await;
        assert_eq!((answer.status, &answer.json()["counts"]["acked"]), (200, &messages.len().into()));
    }
    assert_eq!(seen, names);
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn a_pull_that_does_not_wait_says_that_the_queue_is_empty() {
    let stage = Stage::with_queue("lease_empty").await;
    let answer = pull(&stage.gateway, "q", json!({"wait": "0s"})).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"messages": []})));
    publish(&stage.observer, "q", ["a"]).await;
    assert_eq!(pulled(&stage.gateway, "q", json!({"wait": 0})).await.len(), 1);
}

/// Only a round that brings fewer messages than it asked for proves that the queue is empty.
#[tokio::test]
async fn no_pull_says_that_a_queue_with_ready_messages_is_empty() {
    let stage = Stage::with_queue("lease_not_empty").await;
    let names: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    publish(&stage.observer, "q", names.iter().map(String::as_str)).await;
    let pulls = (0..40).map(|_| pulled(&stage.gateway, "q", json!({"max": 1, "wait": 0})));
    let answers = futures_util::future::join_all(pulls).await;
    assert!(answers.iter().all(|messages| messages.len() == 1), "{:?}", answers.iter().map(Vec::len));
    for _ in 0..60 {
        assert_eq!(pulled(&stage.gateway, "q", json!({"max": 1, "wait": 0})).await.len(), 1);
    }
    assert!(is_empty(&stage.gateway, "q").await);
}

/// A message that the gateway fetches although no caller waits comes back redelivered, and a quorum queue counts its delivery.
#[tokio::test]
async fn only_messages_that_callers_ask_for_are_delivered() {
    for kind in ["classic", "quorum"] {
        let stage = Stage::set(&format!("lease_asked_{kind}")).await;
        stage.observer.declare_queue_with("q", &[("x-queue-type", AMQPValue::LongString(kind.into()))]).await;
        let names: Vec<_> = (0..30).map(|n| n.to_string()).collect();
        publish(&stage.observer, "q", names.iter().map(String::as_str)).await;
        for max in [1, 1, 2, 5, 1] {
            let messages = pulled(&stage.gateway, "q", json!({"max": max, "wait": "5s"})).await;
            assert!(!messages.is_empty() && messages.len() <= max, "{} of {max}", messages.len());
            let leases: Vec<_> = messages.iter().map(lease_id).collect();
            assert_eq!(settle(&stage.gateway, "q", json!({"ack": leases})).await.status, 200);
        }
        stage.gateway.stop().await;
        let left = stage.observer.drain("q").await;
        assert!(left.len() >= 20 && left.iter().all(|it| !it.redelivered), "{kind}: {left:?}");
    }
}

#[tokio::test]
async fn messages_of_a_quorum_queue_come_while_an_earlier_one_is_leased() {
    let stage = Stage::set("lease_quorum").await;
    stage.observer.declare_quorum_queue("q").await;
    publish(&stage.observer, "q", ["a", "b", "c", "d", "e"]).await;
    let first = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    assert_eq!(ids(&[pull_one(&stage.gateway, "q", "1m").await]), ["b"]);
    assert_eq!(ids(&pulled(&stage.gateway, "q", json!({"max": 5, "wait": "5s"})).await), ["c", "d", "e"]);
    assert_eq!(act(&stage.gateway, "q", "ack", &first).await, "acked");
}
