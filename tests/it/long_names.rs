//! Mistakes with long names in letters beyond ASCII. RabbitMQ's text for a mistake has at most 255 bytes: RabbitMQ 3.10 cuts it, also in
//! the middle of a character. RabbitMQ 4.0 cuts it at 255 letters, and where these have more bytes, it closes the connection.

use std::time::Duration;

use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::FieldTable,
};
use reqwest::Method;
use serde_json::json;

use crate::support::{
    broker::Broker, contract::Answer, gateway::TestGateway, link::Link, observer::Observer, poll::eventually,
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(30);

/// The answer of the RabbitMQ that the tests run on: the first of RabbitMQ 3, the second of RabbitMQ 4.
async fn of_this_rabbitmq<T>(three: T, four: T) -> T {
    if Broker::shared().await.major_version().await == 3 { three } else { four }
}

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[expect(clippy::disallowed_types, reason = "by try_new, as it must be")]
fn short_string(text: &str) -> lapin::types::ShortString {
    lapin::types::ShortString::try_new(text).expect("a name is short")
}

#[tokio::test]
async fn a_publish_to_a_missing_exchange_with_a_long_name_is_404_or_unknown_from_rabbitmq_4() {
    let stage = Stage::set("cut").await;
    // RabbitMQ 4 does not say what it did with the message.
    let publish = of_this_rabbitmq(problem(404, "exchange-not-found"), problem(504, "outcome-unknown")).await;
    for name in ["ü".repeat(125), format!("a{}", "ü".repeat(125))] {
        for (path, expected) in [("publish", &publish), ("rpc", &problem(404, "queue-not-found"))] {
            let answer = Answer::to(stage.post(&format!("/{path}/{name}?timeout=2s")).body("x")).await;
            assert_eq!(answer.verdict(), *expected, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_missing_queue_or_exchange_with_a_long_name_is_404() {
    let stage = Stage::with_queue("long-missing").await;
    for name in ["ü".repeat(125), format!("a{}", "ü".repeat(125))] {
        let [queue, exchange] = ["queues", "exchanges"].map(|noun| format!("/{noun}/{name}"));
        for (method, path, name) in [
            (Method::GET, queue.clone(), "queue-not-found"),
            (Method::DELETE, queue.clone(), "queue-not-found"),
            (Method::DELETE, format!("{queue}/messages"), "queue-not-found"),
            (Method::PUT, format!("{queue}/bindings/amq.topic"), "queue-not-found"),
            (Method::DELETE, format!("{queue}/bindings/amq.topic"), "queue-not-found"),
            (Method::GET, exchange.clone(), "exchange-not-found"),
            (Method::DELETE, exchange.clone(), "exchange-not-found"),
            (Method::PUT, format!("{exchange}/bindings/amq.topic"), "exchange-not-found"),
            (Method::PUT, format!("/queues/q/bindings/{name}"), "exchange-not-found"),
        ] {
            let answer = stage.ask(method.clone(), &path).await;
            assert_eq!(answer.verdict(), problem(404, name), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_declared_exchange_with_a_long_name_is_as_declared_and_can_be_deleted() {
    let stage = Stage::set("exchange-long").await;
    let name = "ü".repeat(120);
    let path = format!("/exchanges/{name}");
    assert_eq!(stage.declare(&path, r#"{"type":"topic"}"#).await.status, 201);
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let channel = stage.observer.channel().await;
    let same =
        channel.exchange_declare(short_string(&name), ExchangeKind::Topic, options, FieldTable::default());
    same.await.expect("it is a durable topic exchange");
    assert_eq!(stage.ask(Method::DELETE, &path).await.status, 204);
}

#[tokio::test]
async fn a_mistake_with_a_long_name_closes_no_connection_of_others() {
    let link = Link::to(Broker::shared().await.address()).await;
    let vhost = Broker::shared().await.vhost("long-name").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url_by(link.addr()))]).await;
    let queue = format!("/queues/{}", "ü".repeat(125));
    let routing_key = |letter: &str| {
        let key = letter.repeat(60);
        json!({"arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": key}})
    };
    for (request, status) in [
        (gateway.get(&queue), 404),
        (gateway.delete(&queue), 404),
        (gateway.put(&queue).json(&json!({})), 201),
        (gateway.get(&queue), 200),
        (gateway.delete(&format!("{queue}?if_empty=true")), of_this_rabbitmq(200, 504).await),
        (gateway.put("/queues/q").json(&routing_key("ü")), 201),
        (gateway.put("/queues/q").json(&routing_key("ä")), of_this_rabbitmq(409, 504).await),
        (gateway.get("/queues/q"), 200),
    ] {
        let told = format!("{request:?}");
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, status, "{told}: {:?}", answer.verdict());
    }
    assert_eq!(link.accepted_named("topology-0"), 1);
    gateway.stop().await;
}

/// RabbitMQ's text for such a queue has some 220 letters besides the name.
#[tokio::test]
async fn an_exclusive_queue_of_another_client_is_409_and_closes_no_connection_of_others() {
    let link = Link::to(Broker::shared().await.address()).await;
    let vhost = Broker::shared().await.vhost("long-locked").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url_by(link.addr()))]).await;
    let observer = Observer::connect(&vhost.url).await;
    let channel = observer.channel().await;
    eventually(SOON, "the connection is up", || async { link.accepted_named("topology-0") == 1 }).await;
    for name in ["q".repeat(60), "ü".repeat(10), "ü".repeat(12), "ü".repeat(30), "ü".repeat(50)] {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(short_string(&name), options, FieldTable::default()).await.expect("it is new");
        let queue = format!("/queues/{name}");
        for request in [
            gateway.get(&queue),
            gateway.delete(&queue),
            gateway.delete(&format!("{queue}?if_empty=true")),
            gateway.delete(&format!("{queue}/messages")),
            gateway.put(&queue).json(&json!({})),
        ] {
            let told = format!("{request:?}");
            assert_eq!(Answer::to(request).await.verdict(), problem(409, "resource-locked"), "{told}");
        }
    }
    assert_eq!(link.accepted_named("topology-0"), 1);
    gateway.stop().await;
}
