//! Exchanges: inspect, declare and delete. The second AMQP client and RabbitMQ itself check the results.

use std::time::Duration;

use lapin::ExchangeKind;
use reqwest::Method;
use serde_json::json;

use crate::support::{contract::Answer, load::Load, poll::within, stage::Stage};

const SOON: Duration = Duration::from_secs(30);

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[tokio::test]
async fn a_declared_exchange_is_durable_and_declaring_it_again_changes_nothing() {
    let stage = Stage::set("exchange").await;
    let answer = stage.declare("/exchanges/e", r#"{"type":"topic"}"#).await;
    assert_eq!((answer.status, answer.json()), (201, json!({"name": "e"})));
    assert_eq!(stage.declare("/exchanges/e", r#"{"type":"topic"}"#).await.status, 200);
    stage.observer.declare_exchange("e", ExchangeKind::Topic).await;
    assert_eq!(stage.ask(Method::GET, "/exchanges/e").await.json(), json!({"name": "e"}));
}

#[tokio::test]
async fn each_property_and_argument_arrives_in_rabbitmq_with_its_type() {
    let stage = Stage::set("exchange-args").await;
    let body = r#"{"type":"headers","durable":false,"auto_delete":true,"internal":true,"alternate_exchange":"amq.fanout",
        "arguments":{"x-small":{"$amqp":"int8","value":-5},"x-text":"größe","x-list":[1,true]}}"#;
    assert_eq!(stage.declare("/exchanges/e", body).await.status, 201);
    let told = stage.vhost.exchange("e").await;
    for said in [
        "{type,headers}",
        "{durable,false}",
        "{auto_delete,true}",
        "{internal,true}",
        "{<<\"alternate-exchange\">>,longstr,<<\"amq.fanout\">>}",
        "{<<\"x-small\">>,byte,-5}",
        "{<<\"x-list\">>,array,[{long,1},{bool,true}]}",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
}

#[tokio::test]
async fn another_type_is_409_and_the_exchange_stays_as_it_was() {
    let stage = Stage::set("exchange-differs").await;
    assert_eq!(stage.declare("/exchanges/e", r#"{"type":"topic"}"#).await.status, 201);
    for (body, named) in [
        (r#"{"type":"fanout"}"#, "'type'"),
        (r#"{"type":"topic","durable":false}"#, "'durable'"),
        (r#"{"type":"topic","internal":true}"#, "'internal'"),
        (r#"{"type":"topic","alternate_exchange":"a"}"#, "'alternate-exchange'"),
    ] {
        let answer = stage.declare("/exchanges/e", body).await;
        assert_eq!(answer.verdict(), problem(409, "precondition-failed"), "{body}");
        assert!(answer.text("detail").contains(named), "{}", answer.text("detail"));
    }
    stage.observer.declare_exchange("e", ExchangeKind::Topic).await;
}

#[tokio::test]
async fn a_missing_exchange_is_404_and_the_default_exchange_is_always_there() {
    let stage = Stage::set("exchange-missing").await;
    for name in ["none", "no%20queue", "in%20use", "gr%C3%B6%C3%9Fe"] {
        for method in [Method::GET, Method::DELETE] {
            let answer = stage.ask(method, &format!("/exchanges/{name}")).await;
            assert_eq!(answer.verdict(), problem(404, "exchange-not-found"), "{name}");
        }
    }
    assert_eq!(stage.ask(Method::GET, "/exchanges/amq.default").await.json(), json!({"name": "amq.default"}));
    assert_eq!(stage.ask(Method::GET, "/exchanges/amq.topic").await.status, 200);
}

#[tokio::test]
async fn names_of_rabbitmq_are_reserved() {
    let stage = Stage::set("exchange-reserved").await;
    for name in ["amq.default", "amq.topic", "amq.mine"] {
        let path = format!("/exchanges/{name}");
        assert_eq!(
            stage.declare(&path, r#"{"type":"topic"}"#).await.verdict(),
            problem(403, "reserved-name")
        );
        assert_eq!(stage.ask(Method::DELETE, &path).await.verdict(), problem(403, "reserved-name"));
    }
    assert_eq!(stage.ask(Method::GET, "/exchanges/amq.topic").await.status, 200);
}

#[tokio::test]
async fn wrong_declarations_are_400_and_name_the_field() {
    let stage = Stage::set("exchange-wrong").await;
    for (body, field) in [
        ("{}", "type"),
        (r#"{"type":""}"#, "type"),
        (r#"{"type":5}"#, "type"),
        (r#"{"type":"topic","durabel":true}"#, "durabel"),
        (r#"{"type":"topic","alternate_exchange":""}"#, "alternate_exchange"),
        (r#"{"type":"topic","arguments":{"a":18446744073709551615}}"#, "arguments.a"),
        (r#"{"type":"topic","arguments":{"alternate-exchange":5}}"#, "alternate-exchange"),
    ] {
        let answer = stage.declare("/exchanges/e", body).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{body}");
        assert!(answer.text("detail").contains(field), "{body}: {}", answer.text("detail"));
    }
    let missing = stage.ask(Method::GET, "/exchanges/e").await;
    assert_eq!(missing.verdict(), problem(404, "exchange-not-found"), "a refused declaration made nothing");
}

/// RabbitMQ 3.10 closes the connection over a type that it does not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_type_is_400_and_names_its_plugin_while_others_publish_without_errors() {
    let stage = Stage::with_queue("exchange-type").await;
    let load = Load::start(&stage.gateway, "beside", 4, |_| "amq.default?routing_key=q".to_owned());
    for (body, advice) in [
        (
            r#"{"type":"x-delayed-message","arguments":{"x-delayed-type":"direct"}}"#,
            "rabbitmq_delayed_message_exchange",
        ),
        (r#"{"type":"x-nonsense"}"#, "use direct, fanout, topic or headers"),
        (r#"{"type":"Topic"}"#, "use direct, fanout, topic or headers"),
    ] {
        let answer = within(SOON, "an answer", stage.declare("/exchanges/e", body)).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{body}");
        assert_eq!(answer.text("field"), "type");
        assert!(answer.text("detail").contains(advice), "{}", answer.text("detail"));
        assert_eq!(stage.declare("/exchanges/good", r#"{"type":"topic"}"#).await.status / 100, 2);
    }
    let answers = load.stop().await;
    answers.assert_all_confirmed();
}

#[tokio::test]
async fn an_exchange_with_bindings_is_409_in_use_and_is_deleted_without_the_condition() {
    let stage = Stage::with_queue("exchange-in-use").await;
    stage.declare("/exchanges/e", r#"{"type":"topic"}"#).await;
    stage.observer.bind("q", "e", "key").await;
    let answer = stage.ask(Method::DELETE, "/exchanges/e?if_unused=true").await;
    assert_eq!(answer.verdict(), problem(409, "resource-in-use"));
    assert_eq!(stage.ask(Method::GET, "/exchanges/e").await.status, 200);
    assert_eq!(stage.ask(Method::DELETE, "/exchanges/e").await.status, 204);
    assert_eq!(stage.ask(Method::GET, "/exchanges/e").await.status, 404);
    let answer = Answer::to(stage.post("/publish/e?routing_key=key").body("x")).await;
    assert_eq!(answer.verdict(), problem(404, "exchange-not-found"));
    assert_eq!(answer.text("outcome"), "not_sent");
}

/// RabbitMQ answers publishes to the deleted exchange by closing their channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_beside_the_deletion_of_an_exchange_succeed_and_those_to_it_are_404() {
    let stage = Stage::with_queue("exchange-deleted").await;
    stage.declare("/exchanges/e", r#"{"type":"fanout"}"#).await;
    stage.observer.bind("q", "e", "").await;
    let beside = Load::start(&stage.gateway, "beside", 8, |_| "amq.default?routing_key=q".to_owned());
    let to_it = Load::start(&stage.gateway, "to-it", 8, |_| "e?routing_key=".to_owned());
    for round in 0..5 {
        assert_eq!(stage.ask(Method::DELETE, "/exchanges/e").await.status, 204, "{round}");
        assert_eq!(stage.declare("/exchanges/e", r#"{"type":"fanout"}"#).await.status, 201, "{round}");
        stage.observer.bind("q", "e", "").await;
        let answer = Answer::to(stage.post("/publish/e?routing_key=").body("x")).await;
        assert_eq!(answer.status, 200, "{round}");
    }
    let (beside, to_it) = (beside.stop().await, to_it.stop().await);
    beside.assert_all_confirmed();
    for answer in &to_it.0 {
        // Between the declaration and the binding no queue takes the message. RabbitMQ may have taken a message before it closed the
        // channel because of another one.
        let told = (answer.status.as_u16(), answer.outcome());
        let possible = [(200, "confirmed"), (404, "not_sent"), (422, "unroutable"), (504, "unknown")];
        assert!(possible.contains(&told), "{answer:?}");
    }
}
