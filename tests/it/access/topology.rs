//! Declarations, bindings and documents of principals who may use some names only: nothing is made when one permission is missing.

use lapin::ExchangeKind;
use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Shops, missing, part, scope, with};
use crate::support::{contract::Answer, raw::Raw};

const RIGHTS: &str = "configure = ['shop.*']\nwrite = ['shop.*', 'dead/k']\nread = ['shop.*', 'orders/eu.*']";

#[tokio::test]
async fn a_declaration_needs_the_places_of_its_messages_too() {
    let shops = Shops::set("access_declare", RIGHTS).await;
    let put = async |path: &str, body: &Value| Answer::to(with(shops.by_shop(Method::PUT, path), body)).await;
    for (path, body) in [
        ("/queues/shop.a", json!({})),
        ("/queues/shop.b", json!({"dead_letter": true})),
        ("/queues/shop.c", json!({"dead_letter": {"exchange": "dead", "routing_key": "k"}})),
        ("/exchanges/shop.e", json!({"type": "topic", "alternate_exchange": "shop.lost"})),
    ] {
        let answer = put(path, &body).await;
        assert_eq!(answer.status, 201, "{path} {body}: {answer:?}");
    }
    let before = shops.stage.vhost.definitions().await;
    let in_vhost = |verb: &str, rest: &str| scope(&shops.stage, verb, rest);
    let (write, configure) = (|rest| in_vhost("write", rest), |rest| in_vhost("configure", rest));
    for (path, body, expected) in [
        ("/queues/other", json!({}), configure("other")),
        ("/queues/shop.x", json!({"dead_letter": {"exchange": "dead"}}), write("dead")),
        ("/queues/shop.x", json!({"dead_letter": {"exchange": "dead", "routing_key": "z"}}), write("dead/z")),
        (
            "/queues/shop.x",
            json!({"arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "victim", "x-message-ttl": 0}}),
            write("amq.default/victim"),
        ),
        (
            "/exchanges/shop.x",
            json!({"type": "topic", "alternate_exchange": "amq.fanout"}),
            write("amq.fanout"),
        ),
        ("/exchanges/other", json!({"type": "topic"}), configure("other")),
    ] {
        assert_eq!(missing(&put(path, &body).await), [expected], "{path} {body}");
    }
    assert_eq!(shops.stage.vhost.definitions().await, before);
}

#[tokio::test]
async fn a_binding_needs_its_target_and_its_source_with_the_routing_key() {
    let shops = Shops::set("access_bind", RIGHTS).await;
    shops.stage.observer.declare_exchange("orders", ExchangeKind::Topic).await;
    shops.stage.observer.declare_queue("shop.q").await;
    shops.stage.observer.declare_queue("other").await;
    let bind =
        async |path: &str, body: &Value| Answer::to(with(shops.by_shop(Method::PUT, path), body)).await;
    assert_eq!(bind("/queues/shop.q/bindings/orders", &json!({"routing_key": "eu.new"})).await.status, 200);
    let bindings = async || shops.stage.vhost.bindings("orders").await;
    let before = bindings().await;
    let (read, write) = (|rest| scope(&shops.stage, "read", rest), |rest| scope(&shops.stage, "write", rest));
    for (path, body, expected) in [
        ("/queues/shop.q/bindings/orders", json!({"routing_key": "#"}), read("orders/#")),
        ("/queues/shop.q/bindings/orders", json!({}), read("orders/")),
        (
            "/queues/shop.q/bindings/orders",
            json!({"routing_key": "eu.a", "arguments": {"x-match": "any"}}),
            read("orders"),
        ),
        (
            "/queues/shop.q/bindings/amq.rabbitmq.trace",
            json!({"routing_key": "#"}),
            read("amq.rabbitmq.trace/#"),
        ),
        ("/queues/other/bindings/orders", json!({"routing_key": "eu.new"}), write("other")),
        ("/exchanges/amq.topic/bindings/orders", json!({"routing_key": "eu.new"}), write("amq.topic")),
    ] {
        assert_eq!(missing(&bind(path, &body).await), [expected], "{path} {body}");
    }
    assert_eq!(bindings().await, before);
    let unbind = |key: &str| {
        shops.by_shop(Method::DELETE, &format!("/queues/shop.q/bindings/orders?routing_key={key}"))
    };
    assert_eq!(missing(&Answer::to(unbind("us")).await), [read("orders/us")]);
    assert_eq!(Answer::to(unbind("eu.new")).await.status, 204);
}

#[tokio::test]
async fn nothing_of_a_document_is_made_when_one_item_of_ten_is_foreign() {
    let idle = ApiKey::generate();
    let shops = Shops::set_with("access_document", RIGHTS, &part("idle", &idle, "call = ['*']")).await;
    let mut queues: Vec<_> = (0..9).map(|n| json!({"name": format!("shop.{n}")})).collect();
    queues.push(json!({"name": "victim", "dead_letter": {"exchange": "elsewhere"}}));
    let document = json!({"queues": queues});
    let before = shops.stage.vhost.definitions().await;
    let apply = async |path: &str, document: &Value| {
        Answer::to(with(shops.by_shop(Method::PUT, path), document)).await
    };
    let all = [("configure", "victim"), ("read", "victim"), ("write", "elsewhere")];
    let all = all.map(|(verb, name)| scope(&shops.stage, verb, name));
    assert_eq!(missing(&apply("/topology", &document).await), all);
    let names = ["elsewhere", "victim"].map(|name| scope(&shops.stage, "read", name));
    assert_eq!(missing(&apply("/topology?dry_run=true", &document).await), names);
    assert_eq!(shops.stage.vhost.definitions().await, before);
    // A caller who could apply no item is refused before the gateway reads the document.
    let head =
        "PUT /topology HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 4000000\r\n";
    let idle = format!("{head}authorization: Bearer {}\r\n\r\n", idle.reveal());
    let refused = Raw::ask(shops.gateway().address(), idle).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("configure, write or read"), "{}", refused.text());
    let own = json!({"queues": queues[..9]});
    assert_eq!(apply("/topology?dry_run=true", &own).await.status, 200);
    assert_eq!(apply("/topology", &own).await.status, 200);
}
