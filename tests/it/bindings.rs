//! Bindings of queues and exchanges. The second AMQP client and RabbitMQ itself check the results.

use lapin::ExchangeKind;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::json;

use crate::support::{contract::Answer, stage::Stage};

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

/// `arguments` in a query.
fn encoded(json: &str) -> String {
    utf8_percent_encode(json, NON_ALPHANUMERIC).to_string()
}

async fn publish(stage: &Stage, exchange: &str, routing_key: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = stage.post(&format!("/publish/{exchange}?routing_key={routing_key}")).body("x");
    for (name, value) in headers {
        request = request.header(format!("x-amqp-header-{name}"), *value);
    }
    Answer::to(request).await.status
}

#[tokio::test]
async fn a_binding_is_made_once_and_unbound_by_its_routing_key() {
    let stage = Stage::with_queue("bind").await;
    let path = "/queues/q/bindings/amq.topic";
    for _ in 0..2 {
        let answer = stage.declare(path, r#"{"routing_key":"eu.*"}"#).await;
        let binding = json!({"source": "amq.topic", "destination": "q", "destination_type": "queue", "routing_key": "eu.*"});
        assert_eq!((answer.status, answer.json()), (200, binding));
    }
    assert_eq!(publish(&stage, "amq.topic", "eu.new", &[]).await, 200);
    assert_eq!(stage.observer.count("q").await, Some(1), "two requests made one binding");
    let other = stage.ask(Method::DELETE, &format!("{path}?routing_key=us.*")).await;
    assert_eq!(other.status, 204, "AMQP does not tell whether a binding exists");
    assert_eq!(publish(&stage, "amq.topic", "eu.new", &[]).await, 200);
    assert_eq!(stage.ask(Method::DELETE, &format!("{path}?routing_key=eu.*")).await.status, 204);
    assert_eq!(publish(&stage, "amq.topic", "eu.new", &[]).await, 422);
}

#[tokio::test]
async fn a_binding_without_a_body_has_an_empty_routing_key() {
    let stage = Stage::with_queue("bind-empty").await;
    let answer = stage.ask(Method::PUT, "/queues/q/bindings/amq.fanout").await;
    assert_eq!((answer.status, answer.text("routing_key")), (200, String::new()));
    assert_eq!(publish(&stage, "amq.fanout", "any", &[]).await, 200);
}

#[tokio::test]
async fn arguments_of_a_binding_arrive_with_their_types_and_unbind_it() {
    let stage = Stage::with_queue("bind-headers").await;
    let arguments = r#"{"x-match":"any","tenant":"acme","shard":{"$amqp":"int32","value":7}}"#;
    let path = "/queues/q/bindings/amq.headers";
    let answer = stage.declare(path, &format!("{{\"arguments\":{arguments}}}")).await;
    assert_eq!(answer.status, 200);
    let told = stage.vhost.bindings("amq.headers").await;
    for said in [
        "{<<\"x-match\">>,longstr,<<\"any\">>}",
        "{<<\"shard\">>,signedint,7}",
        "{<<\"tenant\">>,longstr,<<\"acme\">>}",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    assert_eq!(publish(&stage, "amq.headers", "", &[("tenant", "acme")]).await, 200);
    assert_eq!(publish(&stage, "amq.headers", "", &[("tenant", "other")]).await, 422);
    let removed = stage.ask(Method::DELETE, &format!("{path}?arguments={}", encoded(arguments))).await;
    assert_eq!(removed.status, 204);
    assert_eq!(stage.vhost.bindings("amq.headers").await, "[]");
}

#[tokio::test]
async fn each_way_to_match_headers_works_as_rabbitmq_says() {
    let stage = Stage::with_queue("bind-match").await;
    let path = "/queues/q/bindings/amq.headers";
    for (way, one, both) in
        [("all", 422, 200), ("any", 200, 200), ("all-with-x", 422, 200), ("any-with-x", 200, 200)]
    {
        let arguments = format!(r#"{{"x-match":"{way}","a":"1","b":"2"}}"#);
        assert_eq!(stage.declare(path, &format!("{{\"arguments\":{arguments}}}")).await.status, 200, "{way}");
        assert_eq!(publish(&stage, "amq.headers", "", &[("a", "1")]).await, one, "{way}");
        assert_eq!(publish(&stage, "amq.headers", "", &[("a", "1"), ("b", "2")]).await, both, "{way}");
        let removed = stage.ask(Method::DELETE, &format!("{path}?arguments={}", encoded(&arguments))).await;
        assert_eq!(removed.status, 204, "{way}");
    }
}

#[tokio::test]
async fn an_exchange_is_bound_to_an_exchange_and_unbound() {
    let stage = Stage::with_queue("bind-exchange").await;
    assert_eq!(stage.declare("/exchanges/inner", r#"{"type":"fanout"}"#).await.status, 201);
    stage.observer.bind("q", "inner", "").await;
    let path = "/exchanges/inner/bindings/amq.topic";
    let answer = stage.declare(path, r#"{"routing_key":"eu.#"}"#).await;
    assert_eq!((answer.status, answer.text("destination_type")), (200, "exchange".to_owned()));
    assert_eq!(publish(&stage, "amq.topic", "eu.new.big", &[]).await, 200);
    assert_eq!(stage.ask(Method::DELETE, &format!("{path}?routing_key=eu.%23")).await.status, 204);
    assert_eq!(publish(&stage, "amq.topic", "eu.new.big", &[]).await, 422);
}

#[tokio::test]
async fn a_missing_end_is_404_for_binding_and_for_unbinding() {
    let stage = Stage::with_queue("bind-missing").await;
    for (path, name) in [
        ("/queues/none/bindings/amq.topic", "queue-not-found"),
        ("/queues/q/bindings/none", "exchange-not-found"),
        ("/exchanges/none/bindings/amq.topic", "exchange-not-found"),
        ("/exchanges/amq.fanout/bindings/none", "exchange-not-found"),
    ] {
        assert_eq!(stage.ask(Method::PUT, path).await.verdict(), problem(404, name), "{path}");
        assert_eq!(stage.ask(Method::DELETE, path).await.verdict(), problem(404, name), "{path}");
    }
}

#[tokio::test]
async fn wrong_bindings_are_400_and_bind_nothing() {
    let stage = Stage::with_queue("bind-wrong").await;
    stage.observer.declare_exchange("e", ExchangeKind::Headers).await;
    let path = "/queues/q/bindings/e";
    for (body, field) in [
        (r#"{"routing_kee":"x"}"#, "routing_kee"),
        (r#"{"arguments":{"x-match":"every"}}"#, "arguments.x-match"),
        (r#"{"arguments":{"a":18446744073709551615}}"#, "arguments.a"),
        (r#"{"arguments":[]}"#, "arguments"),
        ("[]", "body"),
    ] {
        let answer = stage.declare(path, body).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{body}");
        assert!(answer.text("detail").contains(field), "{body}: {}", answer.text("detail"));
    }
    for (query, told) in [
        ("?arguments=5", "arguments must be an object, not 5"),
        ("?arguments=%7B", "arguments is not complete JSON: it ends at line 1 column 1"),
        ("?arguments=%7B%7D%7D", "arguments is not valid JSON at line 1 column 3"),
        ("?arguments=%7B%7D,%22routing_key%22:%22x%22", "arguments is not valid JSON at line 1 column 3"),
        ("?arguments=%5B%5D", "arguments must be an object, not an array"),
        ("?routing_kee=x", "routing_kee"),
    ] {
        let answer = stage.ask(Method::DELETE, &format!("{path}{query}")).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{query}");
        assert!(answer.text("detail").starts_with(told), "{query}: {}", answer.text("detail"));
    }
    let with_body = stage.gateway.delete(path).header("content-type", "application/json").body("{}");
    assert_eq!(Answer::to(with_body).await.verdict(), problem(400, "malformed-request"));
    for path in [
        "/queues/q/bindings/amq.default",
        "/exchanges/amq.default/bindings/e",
        "/exchanges/e/bindings/amq.default",
    ] {
        assert_eq!(stage.ask(Method::PUT, path).await.verdict(), problem(400, "malformed-request"), "{path}");
    }
    assert_eq!(stage.vhost.bindings("e").await, "[]");
}
