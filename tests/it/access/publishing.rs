//! Publishes, batches, streams and calls of principals who may use some routing keys only.

use lapin::{BasicProperties, ExchangeKind, message::Delivery};
use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ALL, SOON, Shops, by, missing, part, scope, with};
use crate::support::{
    contract::Answer,
    echo::{echo, serve},
    stage::Stage,
};

const ENVELOPE: &str = "application/vnd.amqp.message+json";

/// The exchange `orders` with a queue `q` that takes every message.
async fn orders(name: &str, rights: &str) -> Shops {
    let shops = Shops::set(name, rights).await;
    bind(&shops).await;
    shops
}

async fn bind(shops: &Shops) {
    shops.stage.observer.declare_exchange("orders", ExchangeKind::Topic).await;
    shops.stage.observer.declare_queue("q").await;
    shops.stage.observer.bind("q", "orders", "#").await;
}

#[tokio::test]
async fn a_principal_publishes_with_the_routing_keys_that_it_may_use_and_with_no_other() {
    let shops = orders("access_publish", "write = ['orders/eu.*']").await;
    let publish = async |path: &str| Answer::to(shops.by_shop(Method::POST, path).body("x")).await;
    for path in ["/publish/orders?routing_key=eu.new", "/publish/%6Frders?routing_key=eu.%2Fx"] {
        assert_eq!(publish(path).await.status, 200, "{path}");
    }
    let to = |rest: &str| scope(&shops.stage, "write", rest);
    for (path, expected) in [
        ("/publish/orders?routing_key=us.new", to("orders/us.new")),
        ("/publish/orders", to("orders/")),
        ("/publish/orders%2F..%2Fx?routing_key=eu.a", to("orders%2F..%2Fx")),
        ("/publish/amq.default?routing_key=q", to("amq.default")),
        ("/publish/amq.rabbitmq.trace?routing_key=eu.a", to("amq.rabbitmq.trace")),
    ] {
        assert_eq!(missing(&publish(path).await), [expected], "{path}");
    }
    assert_eq!(shops.stage.observer.drain("q").await.len(), 2);
}

#[tokio::test]
async fn each_routing_key_of_cc_and_bcc_needs_the_permission() {
    let shops = orders("access_cc", "write = ['orders/eu.*']").await;
    let publish = async |headers: &Value| {
        let envelope = json!({"routing_key": "eu.new", "body": 1, "headers": headers}).to_string();
        let request = shops.by_shop(Method::POST, "/publish/orders").header("content-type", ENVELOPE);
        Answer::to(request.body(envelope)).await
    };
    assert_eq!(publish(&json!({"CC": ["eu.a", "eu.b"], "BCC": ["eu.c"]})).await.status, 200);
    let to = |key: &str| scope(&shops.stage, "write", &format!("orders/{key}"));
    for (headers, expected) in [
        (json!({"CC": ["eu.a", "us.b"]}), vec![to("us.b")]),
        (json!({"BCC": ["us.c"], "CC": ["us.b"]}), vec![to("us.b"), to("us.c")]),
    ] {
        assert_eq!(missing(&publish(&headers).await), expected, "{headers}");
    }
    // The queue is bound to all routing keys, so it gets each message once.
    assert_eq!(shops.stage.observer.drain("q").await.len(), 1);
    let field =
        shops.by_shop(Method::POST, "/publish/orders?routing_key=eu.a").header("x-amqp-header-cc", "us.b");
    assert_eq!(Answer::to(field.body("x")).await.verdict(), (400, "malformed-request".to_owned()));
}

#[tokio::test]
async fn the_queue_for_replies_has_to_be_one_that_the_publisher_may_read_or_write() {
    let rights = "write = ['orders', 'amq.default/theirs']\nread = ['mine']";
    let shops = orders("access_reply_to", rights).await;
    let publish = async |reply_to: &str| {
        let request = shops.by_shop(Method::POST, "/publish/orders").header("x-amqp-reply-to", reply_to);
        Answer::to(request.body("x")).await
    };
    assert_eq!(publish("mine").await.status, 200);
    assert_eq!(publish("theirs").await.status, 200);
    assert_eq!(publish("").await.status, 200);
    let refused = publish("other").await;
    assert_eq!(missing(&refused), [scope(&shops.stage, "read", "other")]);
    assert_eq!(refused.json()["field"], "x-amqp-reply-to");
    let envelope = |exchange: &str| {
        let request = shops.by_shop(Method::POST, &format!("/publish/{exchange}"));
        request.header("content-type", ENVELOPE).body(r#"{"properties": {"reply_to": "other"}, "body": 1}"#)
    };
    let refused = Answer::to(envelope("orders")).await.json();
    assert_eq!((&refused["status"], &refused["field"]), (&403.into(), &"properties.reply_to".into()));
    // The routing key is refused too, so no field is the one at fault.
    let refused = Answer::to(envelope("amq.default")).await;
    assert_eq!((missing(&refused).len(), &refused.json()["field"]), (2, &Value::Null));
    assert_eq!(shops.stage.observer.drain("q").await.len(), 3);
}

#[tokio::test]
async fn a_foreign_item_of_a_batch_or_a_stream_is_refused_alone() {
    let shops = orders("access_bulk", "write = ['orders/eu.*']").await;
    let items: Vec<_> = (0..1000)
        .map(|n| {
            let area = if n == 700 { "us" } else { "eu" };
            json!({"routing_key": format!("{area}.{n}"), "body_text": "x"})
        })
        .collect();
    let batch = with(shops.by_shop(Method::POST, "/publish/orders/batch"), &Value::from(items.clone()));
    let answer = Answer::to(batch).await;
    assert_eq!(answer.status, 207);
    let lines = items.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let stream =
        shops.by_shop(Method::POST, "/publish/orders/stream").header("content-type", "application/x-ndjson");
    let stream = Answer::to(stream.body(lines)).await;
    let streamed = String::from_utf8(stream.body.clone()).expect("UTF-8");
    let of_stream = streamed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let results = answer.json()["results"].as_array().cloned().unwrap_or_default();
    for results in [results, of_stream.filter(|line| line["index"].is_u64()).collect()] {
        assert_eq!(results.len(), 1000);
        for result in &results {
            let is_foreign = result["index"] == 700;
            assert_eq!(result["outcome"], if is_foreign { "not_sent" } else { "confirmed" }, "{result}");
            let problem = &result["problem"];
            let expected =
                if is_foreign { json!([scope(&shops.stage, "write", "orders/us.700")]) } else { Value::Null };
            assert_eq!(problem["missing"], expected, "{result}");
        }
    }
    assert_eq!(shops.stage.observer.drain("q").await.len(), 1998);
}

#[tokio::test]
async fn a_receipt_is_replayed_to_its_own_principal_only() {
    let other = rabbitmq_gateway::domain::access::ApiKey::generate();
    let shops = Shops::set_with("access_replay", "write = ['orders']", &part("other", &other, ALL)).await;
    bind(&shops).await;
    let publish = async |key| {
        let request =
            by(shops.gateway(), key, Method::POST, "/publish/orders").header("idempotency-key", "k");
        Answer::to(request.header("content-type", "text/plain").body("x")).await
    };
    assert_eq!(publish(&shops.shop).await.header("idempotency-replayed"), "");
    assert_eq!(publish(&other).await.header("idempotency-replayed"), "");
    assert_eq!(publish(&shops.shop).await.header("idempotency-replayed"), "true");
    assert_eq!(shops.stage.observer.drain("q").await.len(), 2);
}

#[tokio::test]
async fn a_call_needs_the_permission_to_call_or_to_write_to_the_queue() {
    let rights = "call = ['pricing']\nwrite = ['amq.default/stock']";
    let shops = Shops::set("access_call", rights).await;
    for queue in ["pricing", "stock", "other"] {
        serve(&shops.stage.observer, queue, echo).await;
    }
    let call =
        async |queue: &str| Answer::to(shops.by_shop(Method::POST, &format!("/rpc/{queue}")).body("x")).await;
    assert_eq!(call("pricing").await.status, 200);
    assert_eq!(call("stock").await.status, 200);
    assert_eq!(missing(&call("other").await), [scope(&shops.stage, "call", "other")]);
    // A permission to call is none to publish: the caller would choose where the reply goes.
    let publish = shops
        .by_shop(Method::POST, "/publish/amq.default?routing_key=pricing")
        .header("content-type", ENVELOPE);
    let publish = Answer::to(publish.body(r#"{"body": 1}"#)).await;
    assert_eq!(missing(&publish), [scope(&shops.stage, "write", "amq.default/pricing")]);
}

#[tokio::test]
async fn messages_have_the_name_of_their_principal_where_the_operator_wants_it() {
    let key = ApiKey::generate();
    let file = part("shop", &key, ALL);
    let settings = [("GATEWAY_PRINCIPALS", file.as_str()), ("GATEWAY_STAMP_PRINCIPAL", "true")];
    let stage = Stage::set_with("access_stamp", &settings).await;
    stage.observer.declare_queue("q").await;
    let ask = async |path: &str, media_type: &str, body: &str| {
        let request = by(&stage.gateway, &key, Method::POST, path).header("content-type", media_type);
        Answer::to(request.body(body.to_owned())).await
    };
    let envelope = r#"{"routing_key": "q", "body": 1}"#;
    ask("/publish/amq.default?routing_key=q", "text/plain", "x").await;
    ask("/publish/amq.default/batch", "application/json", &format!("[{envelope}]")).await;
    ask("/publish/amq.default/stream", "application/x-ndjson", &format!("{envelope}\n")).await;
    let event = r#"{"specversion": "1.0", "id": "1", "source": "s", "type": "t"}"#;
    ask("/publish/amq.default?routing_key=q", "application/cloudevents+json", event).await;
    let names = |messages: &[Delivery]| -> Vec<String> {
        let header = |message: &Delivery| {
            let headers = message.properties.headers().clone().unwrap_or_default();
            let name = headers.inner().get("x-gateway-principal").and_then(|name| name.as_long_string());
            name.unwrap_or_else(|| panic!("{message:?}")).to_string()
        };
        messages.iter().map(header).collect()
    };
    let messages = stage.observer.drain("q").await;
    assert_eq!(names(&messages), ["shop"; 4], "{messages:?}");
    // The request of a call too.
    stage.observer.declare_queue("calls").await;
    let (answer, request) =
        tokio::join!(ask("/rpc/calls?timeout=1s", "text/plain", "x"), stage.observer.get_one("calls", SOON));
    assert_eq!((answer.status, names(&[request])), (504, vec!["shop".to_owned()]));
    // And replies.
    stage.observer.declare_queue("answers").await;
    for is_alone in [false, true] {
        let request =
            BasicProperties::default().with_reply_to("answers".into()).with_correlation_id("1".into());
        stage.observer.publish("", "q", b"?", request).await;
        let pulled = ask("/queues/q/messages/pull", "application/json", r#"{"max": 1, "wait": "20s"}"#).await;
        let lease = pulled.json()["messages"][0]["lease_id"].as_str().expect("a lease").to_owned();
        if is_alone {
            let reply = ask(&format!("/queues/q/leases/{lease}/reply"), "text/plain", "x").await;
            assert_eq!(reply.status, 204);
        } else {
            let reply = json!({"reply": [{"lease_id": lease, "body": 1}]}).to_string();
            assert_eq!(ask("/queues/q/messages/settle", "application/json", &reply).await.status, 200);
        }
        assert_eq!(names(&stage.observer.drain("answers").await), ["shop"]);
    }
}
