//! The recipes in which an exchange chooses the queues: publish/subscribe, routing, topics, headers.

use std::time::Duration;

use lapin::ExchangeKind;
use serde_json::{Value, json};

use super::{apply, bodies, document, document_with, publish, stage_of, stage_with};
use crate::support::{contract::Answer, poll::eventually, stage::Stage};

const SOON: Duration = Duration::from_secs(30);

/// Publishes a text; gives status and outcome.
async fn told(stage: &Stage, exchange: &str, key: &str, text: &str) -> (u16, String) {
    let answer = publish(stage, (exchange, key), text, &[]).await;
    (answer.status, answer.text("outcome"))
}

/// The same with an envelope with these headers, whose body is the headers as well.
async fn told_of(stage: &Stage, headers: &Value) -> (u16, String) {
    let envelope = json!({"headers": headers, "body_text": headers.to_string()});
    let request =
        stage.post("/publish/documents").header("content-type", "application/vnd.amqp.message+json");
    let answer = Answer::to(request.body(envelope.to_string())).await;
    (answer.status, answer.text("outcome"))
}

fn confirmed() -> (u16, String) {
    (200, "confirmed".to_owned())
}

fn unroutable() -> (u16, String) {
    (422, "unroutable".to_owned())
}

#[tokio::test]
async fn publish_subscribe_copies_to_each_subscriber_and_a_later_one_gets_later_messages() {
    let stage = stage_of("publish-subscribe").await;
    assert_eq!(told(&stage, "news", "any", "early").await, confirmed());
    stage.observer.declare_queue("late").await;
    stage.observer.bind("late", "news", "").await;
    assert_eq!(told(&stage, "news", "", "later").await, confirmed());
    for queue in ["news.mail", "news.cache"] {
        assert_eq!(bodies(&stage, queue).await, ["early", "later"], "{queue}");
    }
    assert_eq!(bodies(&stage, "late").await, ["later"]);
    for queue in ["news.mail", "news.cache", "late"] {
        stage.observer.delete_queue(queue).await;
    }
    assert_eq!(told(&stage, "news", "", "x").await, unroutable());
    assert_eq!(told(&stage, "news", "&mandatory=false", "x").await, (200, "accepted".to_owned()));
}

/// With a limit of 2 in place of 1,000.
#[tokio::test]
async fn publish_subscribe_drops_the_oldest_messages_of_a_full_queue_and_of_no_other() {
    let small = document_with("publish-subscribe", "/queues/1/max_length", json!(2));
    let stage = stage_with(&small).await;
    for text in ["1", "2", "3", "4"] {
        assert_eq!(told(&stage, "news", "", text).await, confirmed());
    }
    assert_eq!(bodies(&stage, "news.cache").await, ["3", "4"]);
    assert_eq!(bodies(&stage, "news.mail").await, ["1", "2", "3", "4"]);
}

/// With 100 ms in place of a minute.
#[tokio::test]
async fn publish_subscribe_drops_the_old_messages_of_the_cache() {
    let stage = stage_with(&document_with("publish-subscribe", "/queues/1/message_ttl_ms", json!(100))).await;
    assert_eq!(told(&stage, "news", "", "old").await, confirmed());
    let gone = || async { stage.observer.count("news.cache").await == Some(0) };
    eventually(SOON, "the message expires", gone).await;
    assert_eq!(bodies(&stage, "news.mail").await, ["old"]);
}

#[tokio::test]
async fn routing_takes_equal_keys_and_refuses_others() {
    let stage = stage_of("routing").await;
    for key in ["critical", "warning"] {
        assert_eq!(told(&stage, "alerts", key, key).await, confirmed(), "{key}");
    }
    for key in ["info", "Critical", "critical.disk", ""] {
        assert_eq!(told(&stage, "alerts", key, key).await, unroutable(), "{key}");
    }
    assert_eq!(bodies(&stage, "alerts.pager").await, ["critical"]);
    assert_eq!(bodies(&stage, "alerts.archive").await, ["critical", "warning"]);
}

#[tokio::test]
async fn topics_match_words_and_the_alternate_exchange_takes_the_rest() {
    let stage = stage_of("topics").await;
    let keys = ["paid.eu", "created.eu", "paid", "paid.card.eu", "created.us"];
    for key in keys {
        assert_eq!(told(&stage, "orders", key, key).await, confirmed(), "{key}");
    }
    assert_eq!(bodies(&stage, "orders.eu").await, ["paid.eu", "created.eu"]);
    assert_eq!(bodies(&stage, "orders.paid").await, ["paid.eu", "paid", "paid.card.eu"]);
    assert_eq!(bodies(&stage, "orders.unrouted").await, ["created.us"]);
    stage.observer.bind("orders.paid", "orders", "#.eu").await;
    assert_eq!(told(&stage, "orders", "paid.eu", "one copy").await, confirmed());
    assert_eq!(bodies(&stage, "orders.paid").await, ["one copy"]);
    stage.observer.delete_queue("orders.unrouted").await;
    assert_eq!(told(&stage, "orders", "created.us", "x").await, unroutable());
}

#[tokio::test]
async fn topics_over_an_exchange_without_the_alternate_exchange_is_409_and_makes_nothing() {
    let stage = Stage::set("recipe").await;
    stage.observer.declare_exchange("orders", ExchangeKind::Topic).await;
    let before = stage.vhost.definitions().await;
    let answer = apply(&stage.gateway, &document("topics")).await;
    assert_eq!(answer.verdict(), (409, "precondition-failed".to_owned()));
    assert_eq!(answer.text("field"), "exchanges[0]");
    assert!(answer.text("detail").contains("'alternate-exchange'"), "{answer:?}");
    assert_eq!(stage.vhost.definitions().await, before);
}

#[tokio::test]
async fn headers_match_all_or_any_of_the_arguments_with_their_types() {
    let stage = stage_of("headers").await;
    let invoice = json!({"format": "pdf", "kind": "invoice"});
    for headers in [invoice.clone(), json!({"kind": "contract", "pages": 12}), json!({"confidential": "yes"})]
    {
        assert_eq!(told_of(&stage, &headers).await, confirmed(), "{headers}");
    }
    for headers in [json!({"format": "pdf"}), json!({"confidential": true}), json!({})] {
        assert_eq!(told_of(&stage, &headers).await, unroutable(), "{headers}");
    }
    assert_eq!(bodies(&stage, "documents.invoices").await, [invoice.to_string()]);
    let reviewed = [json!({"kind": "contract", "pages": 12}), json!({"confidential": "yes"})];
    assert_eq!(bodies(&stage, "documents.review").await, reviewed.map(|headers| headers.to_string()));
}

/// Further bindings, of which the page of the headers recipe speaks.
#[tokio::test]
async fn headers_match_by_presence_by_names_with_x_and_without_any_argument() {
    let stage = stage_of("headers").await;
    let bind = |arguments: Value| {
        let body = json!({"arguments": arguments}).to_string();
        let stage = &stage;
        async move { stage.declare("/queues/documents.review/bindings/documents", &body).await.status }
    };
    assert_eq!(told_of(&stage, &json!({"urgent": 5, "x-urgent": "1"})).await, unroutable());
    assert_eq!(bind(json!({"x-match": "any", "x-urgent": "1"})).await, 200);
    assert_eq!(told_of(&stage, &json!({"x-urgent": "1"})).await, unroutable());
    assert_eq!(bind(json!({"x-match": "any-with-x", "x-urgent": "1"})).await, 200);
    assert_eq!(told_of(&stage, &json!({"x-urgent": "1"})).await, confirmed());
    assert_eq!(bind(json!({"x-match": "all", "pages": 5})).await, 200);
    assert_eq!(told_of(&stage, &json!({"pages": "5"})).await, unroutable());
    assert_eq!(told_of(&stage, &json!({"pages": 5})).await, confirmed());
    assert_eq!(told_of(&stage, &json!({"urgent": 5})).await, unroutable());
    assert_eq!(bind(json!({"x-match": "all", "urgent": null})).await, 200);
    assert_eq!(told_of(&stage, &json!({"urgent": 5})).await, confirmed());
    assert_eq!(bind(json!({"x-match": "all"})).await, 200);
    assert_eq!(told_of(&stage, &json!({})).await, confirmed());
}
