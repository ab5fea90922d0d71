//! Retries after a request whose message RabbitMQ did not confirm.

use std::time::Duration;

use lapin::{ExchangeKind, types::AMQPValue};
use serde_json::json;

use super::{
    KEY, SOON,
    in_flight::{has_one_message, hold_back},
    is_answered_by_replay, is_published, is_refused, is_replayed, keyed, keyed_at,
};
use crate::support::{
    contract::Answer,
    gateway::TestGateway,
    link::{Link, Mode, Way},
    load::prove,
    observer::Observer,
    poll::eventually,
    stage::{Stage, wired},
};

#[tokio::test]
async fn an_unroutable_message_is_published_by_the_retry_after_a_queue_is_there() {
    let stage = Stage::set("key-unroutable").await;
    for _ in 0..2 {
        let answer = is_refused(keyed(&stage, "k"), 422, "unroutable").await;
        assert_eq!(answer.text("outcome"), "unroutable");
    }
    stage.observer.declare_queue("q").await;
    let published = is_published(keyed(&stage, "k")).await;
    assert_eq!(published.json()["duplicate_possible"], false);
    is_answered_by_replay(keyed(&stage, "k")).await;
    assert_eq!(stage.observer.drain_ids("q").await, ["k"]);
}

#[tokio::test]
async fn a_message_that_was_not_sent_is_published_by_the_retry_and_its_key_is_free_for_another_message() {
    let stage = Stage::with_queue("key-not-sent").await;
    let request = |body: &'static str| stage.post("/publish/missing").header(KEY, "k").body(body);
    is_refused(request("x"), 404, "exchange-not-found").await;
    is_refused(request("y"), 404, "exchange-not-found").await;
    stage.observer.declare_exchange("missing", ExchangeKind::Fanout).await;
    stage.observer.bind("q", "missing", "").await;
    assert_eq!(is_published(request("z")).await.json()["duplicate_possible"], false);
    is_refused(request("x"), 422, "idempotency-key-reused").await;
    assert_eq!(stage.observer.drain_ids("q").await, ["k"]);
}

#[tokio::test]
async fn a_rejected_message_is_published_again_and_the_receipt_says_that_a_duplicate_is_possible() {
    let stage = Stage::set("key-rejected").await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    stage.observer.declare_queue_with("q", &full).await;
    for (key, minimal) in [("json", false), ("minimal", true)] {
        is_published(keyed(&stage, &format!("fills the queue for {key}"))).await;
        for _ in 0..2 {
            let answer = is_refused(keyed(&stage, key), 503, "rejected").await;
            assert_eq!(
                (answer.text("outcome"), answer.text("message_id")),
                ("rejected".to_owned(), key.to_owned())
            );
        }
        is_refused(keyed(&stage, key).body("other"), 422, "idempotency-key-reused").await;
        stage.observer.drain("q").await;
        if minimal {
            let answer = Answer::to(keyed(&stage, key).header("Prefer", "return=minimal")).await;
            assert_eq!((answer.status, is_replayed(&answer)), (204, false));
            assert_eq!(answer.header("x-gateway-duplicate-possible"), "true");
        } else {
            assert_eq!(is_published(keyed(&stage, key)).await.json()["duplicate_possible"], true);
        }
        let replayed = is_answered_by_replay(keyed(&stage, key)).await;
        assert_eq!(replayed.json()["duplicate_possible"], true);
        assert_eq!(stage.observer.drain_ids("q").await, [key]);
    }
}

/// Publishes with the key `k`, and cuts the connections when the message is in the queue and the confirm is held back.
async fn loses_the_confirm(observer: &Observer, link: &Link, gateway: &TestGateway) {
    let request = || {
        let path = "/publish/amq.default?routing_key=q&timeout=30s&retry=false";
        gateway.post(path).header("content-type", "application/octet-stream").header(KEY, "k").body("x")
    };
    hold_back(observer, link, gateway).await;
    link.set(Mode::BlackHole(Way::ToClient));
    let cut = async {
        has_one_message(observer).await;
        link.mend();
        link.cut();
    };
    let (answer, ()) = tokio::join!(is_refused(request(), 504, "outcome-unknown"), cut);
    assert_eq!(answer.text("outcome"), "unknown");
}

#[tokio::test]
async fn a_message_whose_outcome_is_unknown_is_published_again_and_the_receipt_says_that_a_duplicate_is_possible()
 {
    let (_vhost, observer, link, gateway) = wired("key-unknown", &[]).await;
    loses_the_confirm(&observer, &link, &gateway).await;
    let published = is_published(keyed_at(&gateway, "k")).await.json();
    assert_eq!((&published["attempts"], &published["duplicate_possible"]), (&json!(1), &json!(true)));
    assert_eq!(is_answered_by_replay(keyed_at(&gateway, "k")).await.json(), published);
    assert_eq!(observer.drain_ids("q").await, ["k", "k"]);
    gateway.stop().await;
}

/// The first request may have left a copy, so neither `unroutable` nor `not_sent` would be true.
#[tokio::test]
async fn a_retry_that_fails_after_an_unknown_outcome_is_unknown_too() {
    let (_vhost, observer, link, gateway) = wired("key-still-unknown", &[]).await;
    loses_the_confirm(&observer, &link, &gateway).await;
    prove(&gateway, "amq.default?routing_key=q").await;
    observer.delete_queue("q").await;
    let unknown = |answer: &Answer| {
        assert_eq!(
            (answer.text("outcome"), &answer.json()["retryable"]),
            ("unknown".to_owned(), &json!(true))
        );
        assert!(answer.text("detail").contains("an earlier attempt may have left"), "{}", answer.json());
    };
    unknown(&is_refused(keyed_at(&gateway, "k"), 504, "outcome-unknown").await);

    link.refuse().await;
    link.cut();
    let is_unready = || async { !gateway.is_ready().await };
    eventually(SOON, "the gateway has lost RabbitMQ", is_unready).await;
    let path = "/publish/amq.default?routing_key=q&timeout=500ms";
    let short =
        gateway.post(path).header("content-type", "application/octet-stream").header(KEY, "k").body("x");
    unknown(&is_refused(short, 504, "outcome-unknown").await);

    link.mend();
    observer.declare_queue("q").await;
    assert_eq!(is_published(keyed_at(&gateway, "k")).await.json()["duplicate_possible"], true);
    assert_eq!(observer.drain_ids("q").await, ["k"]);
    gateway.stop().await;
}

/// The key is finished as unknown also where the gateway gives up at the deadline, on a connection that is still up.
#[tokio::test]
async fn a_retry_after_silence_of_rabbitmq_is_published_again_with_the_same_id() {
    let settings = super::in_flight::PATIENT;
    let (_vhost, observer, link, gateway) = wired("key-silence", &settings).await;
    hold_back(&observer, &link, &gateway).await;
    let path = "/publish/amq.default?routing_key=q&timeout=1s";
    let short = gateway.post(path).header("content-type", "application/octet-stream").header(KEY, "k");
    is_refused(short.body("x"), 504, "outcome-unknown").await;
    link.mend();
    let published = is_published(keyed_at(&gateway, "k").timeout(Duration::from_secs(30))).await;
    assert_eq!(published.json()["duplicate_possible"], true);
    assert_eq!(observer.drain_ids("q").await, ["k", "k"]);
    gateway.stop().await;
}
