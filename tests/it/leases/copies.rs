//! Messages that come again later, or go to the dead letters, by a confirmed copy.

use std::time::Instant;

use super::*;
use crate::support::{broker::Broker, gateway::TestGateway, stage::wired};

async fn retry(gateway: &TestGateway, queue: &str, lease: &str, delay: &str) -> Value {
    let item = json!({"lease_id": lease, "delay": delay, "reason": "the database is down"});
    let answer = settle(gateway, queue, json!({"retry": [item]})).await;
    answer.json()["results"][0].clone()
}

fn header<'a>(message: &'a Value, name: &str) -> &'a Value {
    let value = &message["headers"][name];
    value.get("value").unwrap_or(value)
}

#[tokio::test]
async fn a_retried_message_comes_again_after_its_delay_with_its_first_address_and_a_higher_count() {
    let stage = Stage::set("copy_retry").await;
    stage.observer.declare_exchange("shop", ExchangeKind::Topic).await;
    stage.observer.declare_quorum_queue("q").await;
    stage.observer.bind("q", "shop", "orders.#").await;
    let properties = BasicProperties::default().with_message_id("a".into()).with_expiration("60000".into());
    stage.observer.publish("shop", "orders.new", b"first", properties).await;
    let mut lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    for count in 1..=2 {
        let begun = Instant::now();
        let result = retry(&stage.gateway, "q", &lease, "1s").await;
        assert_eq!((&result["outcome"], &result["message_id"]), (&"retried".into(), &"a".into()), "{result}");
        assert_eq!(result["duplicate_possible"], false);
        assert!(result["retry_at"].as_str().is_some_and(|it| it.ends_with('Z')), "{result}");
        let again = retry(&stage.gateway, "q", &lease, "1s").await;
        assert_eq!(again, result);
        assert!(is_empty(&stage.gateway, "q").await);
        let message = pull_one(&stage.gateway, "q", "1m").await;
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!((&message["exchange"], &message["routing_key"]), (&"shop".into(), &"orders.new".into()));
        assert_eq!(message["delivery_attempt"], count + 1, "{message}");
        assert_eq!(header(&message, "x-last-error"), "the database is down");
        assert_eq!(header(&message, "x-original-expiration"), "60000");
        assert_eq!(
            (&message["body_text"], ids(std::slice::from_ref(&message))),
            (&"first".into(), vec!["a"])
        );
        lease = lease_id(&message);
    }
    assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "acked");
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
    assert_eq!(stage.observer.count("q.retry.1s").await, Some(0));
}

#[tokio::test]
async fn a_retry_without_a_delay_goes_behind_the_other_messages() {
    let stage = Stage::with_queue("copy_now").await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    assert_eq!(outcomes(&stage.gateway, "q", json!({"retry": [{"lease_id": lease}]})).await, ["retried"]);
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.extend(ids(&[pull_one(&stage.gateway, "q", "1m").await]).into_iter().map(str::to_owned));
    }
    assert_eq!(seen, ["b", "a"]);
}

#[tokio::test]
async fn a_dead_letter_has_its_reason_and_its_first_address_and_the_default_exchange_is_that_of_the_queue() {
    let stage = Stage::with_queue("copy_dead").await;
    stage.observer.declare_exchange("q.dlx", ExchangeKind::Fanout).await;
    stage.observer.declare_queue("dead").await;
    stage.observer.bind("dead", "q.dlx", "").await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let item = json!({"lease_id": lease, "reason": "no order_id"});
    assert_eq!(outcomes(&stage.gateway, "q", json!({"dead_letter": [item]})).await, ["dead_lettered"]);
    let dead = pull_one(&stage.gateway, "dead", "1m").await;
    assert_eq!(
        (header(&dead, "x-last-error"), header(&dead, "x-original-routing-key")),
        (&"no order_id".into(), &"q".into())
    );
    assert_eq!(header(&dead, "x-retry-count"), &Value::Null);
    stage.observer.declare_queue("elsewhere").await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let body = json!({
        "dead_letter": [{"lease_id": lease}],
        "dead_letter_to": {"exchange": "amq.default", "routing_key": "elsewhere"}
    });
    assert_eq!(outcomes(&stage.gateway, "q", body).await, ["dead_lettered"]);
    assert_eq!(message_id(&stage.observer.get_one("elsewhere", SOON).await), "b");
}

#[tokio::test]
async fn a_copy_that_no_queue_takes_leaves_the_lease_as_it_was() {
    let stage = Stage::with_queue("copy_nowhere").await;
    stage.observer.declare_exchange("lonely", ExchangeKind::Fanout).await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(0)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    stage.observer.declare_queue_with("full", &full).await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let dead = |exchange: &str, key: &str| {
        let to = json!({"exchange": exchange, "routing_key": key});
        json!({"dead_letter": [{"lease_id": lease}], "dead_letter_to": to})
    };
    assert_eq!(
        outcomes(&stage.gateway, "q", json!({"dead_letter": [{"lease_id": lease}]})).await,
        ["exchange-not-found"]
    );
    assert_eq!(outcomes(&stage.gateway, "q", dead("lonely", "x")).await, ["unroutable"]);
    assert_eq!(outcomes(&stage.gateway, "q", dead("amq.default", "full")).await, ["rejected"]);
    assert_eq!(settle(&stage.gateway, "q", dead("amq.default", "amq.gen-x")).await.verdict().0, 403);
    assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "acked");
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn a_wait_queue_that_was_deleted_is_declared_again_and_one_with_other_arguments_is_refused() {
    let stage = Stage::with_queue("copy_deleted").await;
    publish(&stage.observer, "q", ["a", "b", "c"]).await;
    for round in 0..2 {
        let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
        assert_eq!(retry(&stage.gateway, "q", &lease, "90s").await["outcome"], "retried", "{round}");
        assert_eq!(stage.observer.count("q.retry.90s").await, Some(1));
        stage.observer.delete_queue("q.retry.90s").await;
    }
    stage.observer.declare_queue("q.retry.2m").await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let refused = retry(&stage.gateway, "q", &lease, "2m").await;
    assert_eq!(refused["problem"]["type"], "/problems/precondition-failed", "{refused}");
    assert_eq!(act(&stage.gateway, "q", "release", &lease).await, "released");
}

#[tokio::test]
async fn a_delay_over_the_limit_is_400_and_a_queue_without_room_for_the_name_of_its_wait_queue_too() {
    let stage = Stage::set_with("copy_refused", &[("GATEWAY_RETRY_DELAY_MAX", "1m")]).await;
    let queue = "q".repeat(250);
    stage.observer.declare_queue(&queue).await;
    publish(&stage.observer, &queue, ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, &queue, "1m").await);
    let too_long =
        settle(&stage.gateway, &queue, json!({"retry": [{"lease_id": lease, "delay": "61s"}]})).await;
    assert_eq!(too_long.verdict(), (400, "malformed-request".to_owned()));
    assert!(too_long.text("detail").contains("GATEWAY_RETRY_DELAY_MAX"), "{}", too_long.json());
    let result = retry(&stage.gateway, &queue, &lease, "5s").await;
    assert_eq!(result["problem"]["status"], 400, "{result}");
    assert_eq!(outcomes(&stage.gateway, &queue, json!({"retry": [{"lease_id": lease}]})).await, ["retried"]);
}

#[tokio::test]
async fn another_replica_retries_and_dead_letters_too() {
    let stage = Stage::with_queue("copy_replica").await;
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url)]).await;
    stage.observer.declare_queue("dead").await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    let (a, b) = (pull_one(&stage.gateway, "q", "1m").await, pull_one(&stage.gateway, "q", "1m").await);
    let retried = retry(&other, "q", &lease_id(&a), "1s").await;
    assert_eq!(retried["outcome"], "retried", "{retried}");
    assert_eq!(retry(&stage.gateway, "q", &lease_id(&a), "1s").await, retried);
    let missing = json!({"dead_letter": [{"lease_id": lease_id(&b)}]});
    assert_eq!(outcomes(&other, "q", missing).await, ["exchange-not-found"]);
    let to = json!({"exchange": "amq.default", "routing_key": "dead"});
    let body = json!({"dead_letter": [{"lease_id": lease_id(&b)}], "dead_letter_to": to});
    assert_eq!(outcomes(&other, "q", body).await, ["dead_lettered"]);
    assert_eq!(message_id(&stage.observer.get_one("dead", SOON).await), "b");
    assert_eq!(ids(&[pull_one(&other, "q", "1m").await]), ["a"]);
}

#[tokio::test]
async fn during_an_alarm_a_copy_is_refused_and_its_lease_can_be_released() {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &broker.url())]).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    broker.alarm_on().await;
    // The gateway learns of an alarm when it publishes.
    let is_blocked = || async { gateway.publish("amq.default", "q", "x").await.status() == 503 };
    eventually(SOON, "publishers are blocked", is_blocked).await;
    let refused = outcomes(&gateway, "q", json!({"retry": [{"lease_id": lease}]})).await;
    assert_eq!(refused, ["broker-blocked"]);
    assert_eq!(act(&gateway, "q", "release", &lease).await, "released");
    broker.alarm_off().await;
}

/// RabbitMQ holds the copy, and its confirm comes late: the lease is neither settled nor held meanwhile.
#[tokio::test]
async fn a_copy_without_an_answer_is_unknown_and_counts_when_its_confirm_comes() {
    let (_vhost, observer, link, gateway) = wired("copy_late", &[]).await;
    observer.declare_queue("dead").await;
    publish(&observer, "q", ["a"]).await;
    // The first publish to a destination is isolated; this one makes it known.
    gateway.publish("amq.default", "dead", "known").await;
    observer.drain("dead").await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    for name in ["publish-*", "isolated-*"] {
        link.set_named(name, crate::support::link::Mode::Stall(crate::support::link::Way::ToClient));
    }
    let to = json!({"exchange": "amq.default", "routing_key": "dead"});
    let body = json!({"dead_letter": [{"lease_id": lease}], "dead_letter_to": to});
    let late =
        gateway.post("/queues/q/messages/settle?timeout=1s").header("content-type", "application/json");
    let late = crate::support::contract::Answer::to(late.body(body.to_string())).await;
    assert_eq!(late.json()["results"][0]["problem"]["type"], "/problems/outcome-unknown", "{}", late.json());
    assert_eq!(act(&gateway, "q", "ack", &lease).await, "lease-settled");
    for name in ["publish-*", "isolated-*"] {
        link.mend_named(name);
    }
    assert_eq!(outcomes(&gateway, "q", body).await, ["dead_lettered"]);
    assert_eq!(observer.drain("dead").await.len(), 1);
    gateway.stop().await;
    assert_eq!(observer.count("q").await, Some(0));
}
