//! Parts of a request that the gateway would not use are refused, because a caller means something by them.

use reqwest::{Method, RequestBuilder};

use super::*;
use crate::support::contract::Answer;

/// The actions by path, each with a text of the refusal of a body.
const ACTIONS: [(Method, &str, &str); 7] = [
    (Method::DELETE, "", "timeout"),
    (Method::POST, "/ack", "timeout"),
    (Method::POST, "/release", "timeout"),
    (Method::POST, "/reject", "timeout"),
    (Method::POST, "/extend", "lease and timeout are parameters of the query"),
    (Method::POST, "/retry", "delay, reason and timeout are parameters of the query"),
    (Method::POST, "/dead-letter", "exchange, routing_key, reason and timeout are parameters of the query"),
];

/// A stage whose queue `q` has one message, and the path of the lease of that message.
async fn leased(name: &str) -> (Stage, String) {
    let stage = Stage::with_queue(name).await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    (stage, format!("/queues/q/leases/{lease}"))
}

fn request(stage: &Stage, method: &Method, path: &str) -> RequestBuilder {
    stage.gateway.client().request(method.clone(), stage.gateway.url(path))
}

async fn expect_refused(request: RequestBuilder, field: &str, said: &str) {
    let answer = Answer::to(request).await;
    assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()), "{field}: {answer:?}");
    assert_eq!(answer.text("field"), field, "{}", answer.json());
    assert!(answer.text("detail").contains(said), "{}", answer.json());
}

#[tokio::test]
async fn a_body_of_an_action_by_path_is_400_naming_the_parameters_and_the_lease_goes_on() {
    let (stage, lease) = leased("unused_body").await;
    for (method, action, said) in &ACTIONS {
        let asked = request(&stage, method, &format!("{lease}{action}"));
        expect_refused(asked.body(r#"{"delay": "1h", "lease": "2m"}"#), "body", said).await;
    }
    assert_eq!(stage.ask(Method::DELETE, &lease).await.status, 204);
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn an_idempotency_key_of_a_pull_or_a_settle_is_400_and_says_why_it_is_not_needed() {
    let (stage, lease) = leased("unused_key").await;
    let settled = "no second effect";
    for (method, action, _) in &ACTIONS {
        let asked = request(&stage, method, &format!("{lease}{action}")).header("idempotency-key", "k");
        expect_refused(asked, "Idempotency-Key", settled).await;
    }
    for (path, said) in [
        (format!("{lease}/reply"), settled),
        ("/queues/q/messages/settle".to_owned(), settled),
        ("/queues/q/messages/pull".to_owned(), "when their leases expire"),
        ("/queues/q/messages/next".to_owned(), "when their leases expire"),
    ] {
        let asked =
            stage.post(&path).header("idempotency-key", "k").header("content-type", "application/json");
        expect_refused(asked, "Idempotency-Key", said).await;
    }
    assert_eq!(stage.ask(Method::DELETE, &lease).await.status, 204);
}

#[tokio::test]
async fn properties_as_headers_are_400_where_they_would_change_no_message() {
    let (stage, lease) = leased("unused_headers").await;
    let none = "this request carries no message";
    for (path, said) in [
        (format!("{lease}/retry"), none),
        (format!("{lease}/dead-letter"), none),
        ("/queues/q/messages/pull".to_owned(), none),
        ("/queues/q/messages/next".to_owned(), none),
        ("/queues/q/messages/settle".to_owned(), "beside an envelope"),
    ] {
        let asked =
            stage.post(&path).header("x-amqp-expiration", "5").header("content-type", "application/json");
        expect_refused(asked, "x-amqp-expiration", said).await;
    }
    assert_eq!(stage.ask(Method::DELETE, &lease).await.status, 204);
}

#[tokio::test]
async fn the_problems_of_copies_by_path_are_in_the_contract_and_the_lease_goes_on() {
    let (stage, lease) = leased("copies_by_path").await;
    let limits = [
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    stage.observer.declare_queue_with("full", &limits).await;
    stage.observer.declare_queue("q.retry.1s").await;
    let verdict = async |path: &str| Answer::to(stage.post(&format!("{lease}{path}"))).await.verdict();
    let to = "/dead-letter?exchange=amq.default&routing_key=";
    for (path, status, name) in [
        (format!("{to}full"), 503, "rejected"),
        (format!("{to}missing"), 422, "unroutable"),
        ("/retry?delay=1s".to_owned(), 409, "precondition-failed"),
    ] {
        assert_eq!(verdict(&path).await, (status, name.to_owned()), "{path}");
    }
    assert_eq!(verdict("/ack").await.0, 204);
    let properties = BasicProperties::default().with_reply_to("full".into());
    stage.observer.publish("", "q", b"call", properties).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let reply = stage.post(&format!("/queues/q/leases/{lease}/reply")).header("x-amqp-expiration", "5000");
    assert_eq!(Answer::to(reply.body("30")).await.verdict(), (503, "rejected".to_owned()));
    assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "acked");
}

#[tokio::test]
async fn what_the_user_of_the_gateway_may_not_do_by_path_is_403_in_the_contract() {
    let stage = Stage::with_queue("copies_denied").await;
    let gateway = stage.gateway_as("copies_denied", ".*", ".*", ".*").await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = format!("/queues/q/leases/{}", lease_id(&pull_one(&gateway, "q", "5m").await));
    stage.vhost.permit("copies_denied", "^$", ".*", ".*").await;
    let verdict = async |path: &str| Answer::to(gateway.post(&format!("{lease}{path}"))).await.verdict();
    assert_eq!(verdict("/retry?delay=1m").await, (403, "forbidden".to_owned()));
    assert_eq!(verdict("/ack").await.0, 204);
}
