//! Leases of principals: a lease is unknown to every other principal, at every replica.

use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ALL, Shops, by, missing, part, scope, with};
use crate::support::{
    contract::Answer, gateway::TestGateway, observer::Observer, poll::eventually, stage::Stage,
};

const READ: &str = "read = ['q']";

async fn message(observer: &Observer) {
    observer.publish("", "q", b"x", lapin::BasicProperties::default()).await;
    eventually(super::SOON, "the message is there", async || observer.count("q").await == Some(1)).await;
}

/// The id of the lease of the one message.
async fn pull(gateway: &TestGateway, key: &ApiKey) -> String {
    let request = by(gateway, key, Method::POST, "/queues/q/messages/pull");
    let answer = Answer::to(with(request, &json!({"max": 1, "wait": "5s"}))).await;
    let body = answer.json();
    body["messages"][0]["lease_id"].as_str().unwrap_or_else(|| panic!("a message: {body}")).to_owned()
}

/// The name of the problem of this settle, or its outcome.
async fn settle(gateway: &TestGateway, key: &ApiKey, actions: &Value) -> String {
    let request = by(gateway, key, Method::POST, "/queues/q/messages/settle");
    let result = Answer::to(with(request, actions)).await.json()["results"][0].clone();
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let problem = text(&result["problem"]["type"]).map(|path| path.replace("/problems/", ""));
    problem.or_else(|| text(&result["outcome"])).unwrap_or_else(|| panic!("a result: {result}"))
}

#[tokio::test]
async fn a_lease_of_another_principal_is_unknown_also_at_another_replica() {
    let (shop, acme) = (ApiKey::generate(), ApiKey::generate());
    let file = part("shop", &shop, READ) + &part("acme", &acme, READ);
    let settings = [("GATEWAY_PRINCIPALS", file.as_str())];
    let stage = Stage::set_with("access_lease", &settings).await;
    stage.observer.declare_quorum_queue("q").await;
    let other = TestGateway::start(&[("AMQP_URL", stage.vhost.url.as_str()), settings[0]]).await;
    message(&stage.observer).await;
    let lease = pull(&stage.gateway, &shop).await;
    for gateway in [&stage.gateway, &other] {
        for action in ["ack", "release", "reject"] {
            assert_eq!(settle(gateway, &acme, &json!({action: [lease]})).await, "lease-expired", "{action}");
        }
        let single = by(gateway, &acme, Method::DELETE, &format!("/queues/q/leases/{lease}"));
        assert_eq!(Answer::to(single).await.verdict(), (410, "lease-expired".to_owned()));
    }
    assert_eq!(stage.vhost.unacked("q").await, 1);
    assert_eq!(settle(&other, &shop, &json!({"ack": [lease]})).await, "acked");
    // A settle again has the same answer, and only for the same principal.
    assert_eq!(settle(&stage.gateway, &shop, &json!({"ack": [lease]})).await, "acked");
    assert_eq!(settle(&stage.gateway, &acme, &json!({"ack": [lease]})).await, "lease-expired");
    other.stop().await;
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn dead_letters_go_to_the_queues_own_exchange_or_to_one_that_the_principal_may_write() {
    let rights = "read = ['q']\nwrite = ['morgue/k']";
    let shops = Shops::set("access_dead_letter", rights).await;
    let observer = &shops.stage.observer;
    observer.declare_queue("q").await;
    for exchange in ["q.dlx", "morgue", "foreign"] {
        observer.declare_exchange(exchange, lapin::ExchangeKind::Fanout).await;
        observer.declare_queue(&format!("of-{exchange}")).await;
        observer.bind(&format!("of-{exchange}"), exchange, "").await;
    }
    for (to, expected) in [
        (Value::Null, None),
        (json!({"exchange": "morgue", "routing_key": "k"}), None),
        (json!({"exchange": "morgue", "routing_key": "other"}), Some("morgue/other")),
        (json!({"exchange": "foreign"}), Some("foreign/q")),
        (json!({"exchange": "q.dlx", "routing_key": "other"}), Some("q.dlx/other")),
    ] {
        message(observer).await;
        let lease = pull(shops.gateway(), &shops.shop).await;
        let mut actions = json!({"dead_letter": [{"lease_id": lease}]});
        if !to.is_null() {
            actions["dead_letter_to"] = to.clone();
        }
        let request = with(shops.by_shop(Method::POST, "/queues/q/messages/settle"), &actions);
        let answer = Answer::to(request).await;
        if let Some(expected) = expected {
            assert_eq!(missing(&answer), [scope(&shops.stage, "write", expected)], "{to}");
            assert_eq!(settle(shops.gateway(), &shops.shop, &json!({"ack": [lease]})).await, "acked");
        } else {
            assert_eq!(answer.status, 200, "{to}: {answer:?}");
        }
    }
    for (queue, count) in [("of-q.dlx", 1), ("of-morgue", 1), ("of-foreign", 0)] {
        assert_eq!(observer.count(queue).await, Some(count), "{queue}");
    }
}

#[tokio::test]
async fn a_reply_asks_for_replies_only_at_queues_that_the_principal_may_read_or_write() {
    let shops = Shops::set("access_reply", "read = ['q']\nwrite = ['amq.default/mine']").await;
    let observer = &shops.stage.observer;
    for queue in ["q", "theirs"] {
        observer.declare_queue(queue).await;
    }
    let request = lapin::BasicProperties::default().with_reply_to("theirs".into());
    observer.publish("", "q", b"x", request).await;
    eventually(super::SOON, "the message is there", async || observer.count("q").await == Some(1)).await;
    let lease = pull(shops.gateway(), &shops.shop).await;
    let reply = async |reply_to: &str| {
        let path = format!("/queues/q/leases/{lease}/reply");
        let request = shops.by_shop(Method::POST, &path).header("x-amqp-reply-to", reply_to);
        Answer::to(request.header("content-type", "text/plain").body("x")).await
    };
    let refused = reply("victim").await;
    assert_eq!(missing(&refused), [scope(&shops.stage, "read", "victim")]);
    assert_eq!(refused.json()["field"], "x-amqp-reply-to");
    let to = |reply_to| json!({"lease_id": lease, "properties": {"reply_to": reply_to}, "body": 1});
    let document = async |actions: Value| {
        let request = with(shops.by_shop(Method::POST, "/queues/q/messages/settle"), &actions);
        Answer::to(request).await
    };
    let other = "1.JzTY20BRgKO-HjmUJj0wLg.1.0000000000000000";
    let refused = document(json!({"reply": [{"lease_id": other, "body": 1}, to("victim")]})).await;
    assert_eq!(refused.json()["field"], "reply[1].properties.reply_to", "{refused:?}");
    // The target of the dead letters is refused too, so no field is the one at fault.
    // An empty name is that of no queue.
    for (reply_to, count) in [("victim", 2), ("", 1)] {
        let both = json!({
            "reply": [to(reply_to)],
            "dead_letter": [{"lease_id": other}],
            "dead_letter_to": {"exchange": "x"},
        });
        let refused = document(both).await;
        assert_eq!((missing(&refused).len(), &refused.json()["field"]), (count, &Value::Null), "{refused:?}");
    }
    assert_eq!(missing(&reply("amq.gen-x").await), [scope(&shops.stage, "read", "amq.gen-x")]);
    assert_eq!(reply("mine").await.status, 204);
    assert_eq!(observer.drain("theirs").await.len(), 1);
}

#[tokio::test]
async fn a_message_with_the_user_id_of_the_gateway_is_refused_so_that_nobody_speaks_for_a_replica() {
    let shops = Shops::set("access_user_id", ALL).await;
    shops.stage.observer.declare_queue("q").await;
    let publish = async |gateway: &TestGateway, key: &ApiKey| {
        let request = by(gateway, key, Method::POST, "/publish/amq.default?routing_key=q");
        let request = request.header("content-type", "application/vnd.amqp.message+json");
        Answer::to(request.body(r#"{"properties": {"user_id": "guest"}, "body": 1}"#)).await
    };
    let refused = publish(shops.gateway(), &shops.root).await;
    assert_eq!((refused.status, &refused.json()["field"]), (400, &"properties.user_id".into()));
    let open = TestGateway::start(&[("AMQP_URL", shops.stage.vhost.url.as_str())]).await;
    assert_eq!(publish(&open, &shops.root).await.status, 200);
    open.stop().await;
}
