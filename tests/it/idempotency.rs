//! A caller repeats a publish with the same `Idempotency-Key`: the message is in the queue once, or the answer says that a duplicate
//! is possible.
//!
//! A second AMQP client reads the messages that arrive.

mod in_flight;
mod memory;
mod retries;

use std::time::Duration;

use lapin::ExchangeKind;
use reqwest::{RequestBuilder, header::HeaderValue};
use serde_json::json;

use crate::support::{contract::Answer, gateway::TestGateway, stage::Stage};

const SOON: Duration = Duration::from_secs(30);
const KEY: &str = "Idempotency-Key";
const ENVELOPE: &str = "application/vnd.amqp.message+json";

/// A request with this key to the queue `q`, of a gateway that may not be the one of a stage.
fn keyed_at(gateway: &TestGateway, key: &str) -> RequestBuilder {
    let path = "/publish/amq.default?routing_key=q&timeout=30s";
    gateway.post(path).header("content-type", "application/octet-stream").header(KEY, key).body("x")
}

/// The same for the gateway of a stage.
fn keyed(stage: &Stage, key: &str) -> RequestBuilder {
    keyed_at(&stage.gateway, key)
}

fn is_replayed(answer: &Answer) -> bool {
    assert!(["", "true"].contains(&answer.header("idempotency-replayed")), "{answer:?}");
    !answer.header("idempotency-replayed").is_empty()
}

/// Sends a request whose message RabbitMQ confirms now.
async fn is_published(request: RequestBuilder) -> Answer {
    let answer = Answer::to(request).await;
    assert_eq!((answer.status, is_replayed(&answer)), (200, false), "{}", answer.json());
    answer
}

/// Sends a request whose message RabbitMQ has confirmed before.
async fn is_answered_by_replay(request: RequestBuilder) -> Answer {
    let answer = Answer::to(request).await;
    assert_eq!((answer.status, is_replayed(&answer)), (200, true), "{}", answer.json());
    answer
}

async fn is_refused(request: RequestBuilder, status: u16, problem: &str) -> Answer {
    let answer = Answer::to(request).await;
    assert_eq!(answer.verdict(), (status, problem.to_owned()), "{}", answer.json());
    assert!(!is_replayed(&answer));
    answer
}

#[tokio::test]
async fn a_retry_after_the_confirm_gets_the_same_receipt_and_the_queue_has_one_message() {
    let stage = Stage::with_queue("key-replay").await;
    let first = is_published(keyed(&stage, "order-7")).await;
    let receipt = json!({
        "outcome": "confirmed", "message_id": "order-7", "exchange": "amq.default", "routing_key": "q",
        "attempts": 1, "duplicate_possible": false
    });
    assert_eq!(first.json(), receipt);
    for _ in 0..3 {
        assert_eq!(is_answered_by_replay(keyed(&stage, "order-7")).await.json(), receipt);
    }
    assert_eq!(stage.observer.drain_ids("q").await, ["order-7"]);
}

#[tokio::test]
async fn each_retry_chooses_the_form_of_its_receipt_by_its_own_prefer() {
    let stage = Stage::with_queue("key-prefer").await;
    is_published(keyed(&stage, "k")).await;
    let minimal = Answer::to(keyed(&stage, "k").header("Prefer", "return=minimal")).await;
    assert_eq!((minimal.status, minimal.body.len(), is_replayed(&minimal)), (204, 0, true));
    assert_eq!((minimal.header("x-amqp-message-id"), minimal.header("x-gateway-attempts")), ("k", "1"));
    assert_eq!(minimal.header("x-gateway-duplicate-possible"), "false");
    assert_eq!(is_answered_by_replay(keyed(&stage, "k")).await.text("message_id"), "k");
    assert_eq!(stage.observer.count("q").await, Some(1));
}

#[tokio::test]
async fn a_message_that_was_accepted_without_a_queue_is_not_published_again() {
    let stage = Stage::set("key-accepted").await;
    let request =
        || stage.post("/publish/amq.default?routing_key=q&mandatory=false").header(KEY, "k").body("x");
    assert_eq!(is_published(request()).await.text("outcome"), "accepted");
    stage.observer.declare_queue("q").await;
    assert_eq!(is_answered_by_replay(request()).await.text("outcome"), "accepted");
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn another_message_with_the_same_key_is_422_and_not_published() {
    let stage = Stage::with_queue("key-reused").await;
    stage.observer.declare_queue("other").await;
    is_published(keyed(&stage, "k")).await;
    let to = |query: &str| {
        let path = format!("/publish/amq.default?{query}");
        stage.post(&path).header("content-type", "application/octet-stream").header(KEY, "k")
    };
    for other in [
        to("routing_key=q").body("y"),
        to("routing_key=other").body("x"),
        to("routing_key=q&mandatory=false").body("x"),
        to("routing_key=q").header("X-Amqp-Priority", "0").body("x"),
        to("routing_key=q").header("X-Amqp-Delivery-Mode", "transient").body("x"),
        to("routing_key=q").header("X-Amqp-Header-Tenant", "acme").body("x"),
        stage.publish().header("content-encoding", "gzip").header(KEY, "k").body("x"),
    ] {
        let answer = is_refused(other, 422, "idempotency-key-reused").await;
        let body = answer.json();
        assert_eq!((&body["field"], &body["message_id"]), (&json!(KEY), &json!("k")));
        assert_eq!((&body["outcome"], &body["retryable"]), (&json!("not_sent"), &json!(false)));
        assert!(answer.text("detail").contains("the Idempotency-Key \"k\""), "{body}");
    }
    is_answered_by_replay(keyed(&stage, "k")).await;
    assert_eq!(stage.observer.drain_ids("q").await, ["k"]);
    assert_eq!(stage.observer.count("other").await, Some(0));
}

#[tokio::test]
async fn a_retry_may_have_new_trace_headers_another_timeout_and_no_retry() {
    let stage = Stage::with_queue("key-trace").await;
    is_published(keyed(&stage, "k").header("traceparent", "00-1").header("baggage", "k=v")).await;
    let retry = stage.post("/publish/amq.default?routing_key=q&timeout=3s&retry=false&mandatory=true");
    let retry = retry.header("content-type", "application/octet-stream").header("traceparent", "00-2");
    is_answered_by_replay(retry.header("tracestate", "a=1").header(KEY, "k").body("x")).await;
    assert_eq!(stage.observer.count("q").await, Some(1));
}

#[tokio::test]
async fn a_quoted_key_and_a_bare_key_are_the_same_and_an_envelope_may_repeat_a_raw_body() {
    let stage = Stage::with_queue("key-forms").await;
    let raw = |key: &str| {
        let request = stage.post("/publish/amq.default?routing_key=q").header(KEY, key);
        request.header("content-type", "text/plain; charset=utf-8").header("x-amqp-header-n", "1").body("x")
    };
    let envelope = |headers: &str| {
        let body = format!(r#"{{"routing_key": "q", "headers": {headers}, "body_text": "x"}}"#);
        stage.post("/publish/amq.default").header("content-type", ENVELOPE).header(KEY, "a \"b\"").body(body)
    };
    is_published(raw("\"a \\\"b\\\"\"")).await;
    is_answered_by_replay(raw("a \"b\"")).await;
    is_answered_by_replay(envelope(r#"{"n": "1"}"#)).await;
    is_refused(envelope(r#"{"n": 1}"#), 422, "idempotency-key-reused").await;
    assert_eq!(stage.observer.drain_ids("q").await, ["a \"b\""]);
}

#[tokio::test]
async fn the_same_key_for_another_exchange_is_another_key_and_each_spelling_of_an_exchange_is_the_same() {
    let stage = Stage::with_queue("key-scope").await;
    stage.observer.declare_exchange("events", ExchangeKind::Fanout).await;
    stage.observer.bind("q", "events", "").await;
    let to =
        |exchange: &str| stage.post(&format!("/publish/{exchange}?routing_key=q")).header(KEY, "k").body("x");
    for (exchange, same) in [("amq.default", "amq%2Edefault"), ("events", "e%76ents")] {
        is_published(to(exchange)).await;
        is_answered_by_replay(to(same)).await;
    }
    assert_eq!(stage.observer.drain_ids("q").await, ["k", "k"]);
}

#[tokio::test]
async fn a_key_that_is_no_key_is_400_and_not_published() {
    let stage = Stage::with_queue("key-bad").await;
    let too_long = "x".repeat(256);
    for (keys, told) in [
        (&[""][..], "must not be empty"),
        (&["\"\""], "must not be empty"),
        (&["\"k"], "does not end with one"),
        (&["\"k\", \"l\""], "after the closing quote"),
        (&["a\tb"], "must not contain control characters"),
        (&[&too_long], "at most 255 bytes"),
        (&["k", "k"], "more than once"),
        (&["k", "l"], "more than once"),
    ] {
        let value = |key: &str| HeaderValue::from_bytes(key.as_bytes()).unwrap();
        let request = keys.iter().fold(stage.publish(), |request, key| request.header(KEY, value(key)));
        let answer = is_refused(request.body("x"), 400, "malformed-request").await;
        assert_eq!((answer.text("field"), answer.text("outcome")), (KEY.to_owned(), "not_sent".to_owned()));
        assert!(answer.text("detail").contains(told), "{keys:?}: {}", answer.json());
    }
    is_published(keyed(&stage, &"x".repeat(255))).await;
    assert_eq!(stage.observer.count("q").await, Some(1));
}

#[tokio::test]
async fn a_message_id_beside_a_key_must_be_the_key() {
    let stage = Stage::with_queue("key-and-id").await;
    let raw = |id: &str| keyed(&stage, "\"k\"").header("X-Amqp-Message-Id", id);
    let envelope = |id: &str| {
        let body = format!(r#"{{"routing_key": "q", "properties": {{"message_id": "{id}"}}, "body": 1}}"#);
        stage.post("/publish/amq.default").header("content-type", ENVELOPE).header(KEY, "e").body(body)
    };
    for other in [raw("other"), raw("\"k\""), envelope("other")] {
        let answer = is_refused(other, 400, "malformed-request").await;
        assert_eq!(answer.text("field"), KEY);
        assert!(answer.text("detail").contains("give the same value in both"), "{}", answer.json());
    }
    for same in [raw("k"), envelope("e")] {
        is_published(same).await;
    }
    for same in [keyed(&stage, "k"), raw(""), envelope("")] {
        is_answered_by_replay(same).await;
    }
    assert_eq!(stage.observer.drain_ids("q").await, ["k", "e"]);
}

/// The key is then the only id that the caller knows.
#[tokio::test]
async fn the_problem_of_a_malformed_message_with_a_key_has_the_key_as_the_message_id() {
    let stage = Stage::with_queue("key-malformed").await;
    for request in [
        keyed(&stage, "k").header("X-Amqp-Priority", "high"),
        keyed(&stage, "k").header("X-Amqp-Header-CC", "other"),
        stage.post("/publish/amq.default").header("content-type", ENVELOPE).header(KEY, "k").body("{"),
    ] {
        let answer = is_refused(request, 400, "malformed-request").await;
        assert_eq!(answer.text("message_id"), "k", "{}", answer.json());
    }
    is_published(keyed(&stage, "k")).await;
}
