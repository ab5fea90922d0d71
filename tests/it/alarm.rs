//! A resource alarm of RabbitMQ: publishes are refused at once, and no message is lost or duplicated.

use std::time::{Duration, Instant};

use crate::support::{
    broker::{Broker, OwnBroker},
    gateway::TestGateway,
    load::{Answer, Load, prove, publish},
    observer::Observer,
    poll::eventually,
};

/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
/// Shorter than any wait for RabbitMQ.
const AT_ONCE: Duration = Duration::from_millis(500);

fn patient(_: usize) -> String {
    "amq.default?routing_key=q&timeout=30s".to_owned()
}

/// Publishes until RabbitMQ blocks the connection, which it does only after a first publish on it.
async fn gets_blocked(gateway: &TestGateway, name: &str) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    while answers.last().is_none_or(|answer| answer.problem() != "broker-blocked") {
        assert!(answers.len() < 10, "{answers:?}");
        let id = format!("{name}-{}", answers.len());
        let answer = publish(gateway, "amq.default?routing_key=q&timeout=1s", &id).await;
        if answer.problem() == "broker-blocked" {
            answer.assert_refused("broker-blocked");
        } else {
            answer.assert_unknown();
        }
        answers.push(answer);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_an_alarm_publishes_are_refused_at_once_and_afterwards_the_gateway_works_as_before() {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &broker.url()), ("RABBITMQ_CHANNEL_WINDOW", "2")]).await;
    publish(&gateway, "amq.default?routing_key=q", "before").await.assert_confirmed();

    broker.alarm_on().await;
    // Four messages are written and held, two on each channel; the others wait for a permit.
    let held = Load::of(&gateway, "held", 12, 1, |_| "amq.default?routing_key=q&timeout=4s".to_owned());
    let blocked = || async { !gateway.is_ready().await };
    eventually(SECOND * 2, "the gateway is not ready", blocked).await;
    let since = Instant::now();
    refuses_at_once(&gateway).await;
    tells_the_reason(&gateway).await;
    topology_works(&gateway).await;
    let mut answers = held.end().await;
    for answer in &answers.0 {
        if answer.outcome() == "not_sent" {
            answer.assert_refused("broker-blocked");
            assert!(answer.at - since < SECOND, "{answer:?}");
        } else {
            answer.assert_unknown();
        }
    }
    let unknown = answers.0.iter().filter(|answer| answer.outcome() == "unknown").count();
    assert!((1..=4).contains(&unknown), "{unknown} were written");

    broker.alarm_off().await;
    eventually(SECOND, "the gateway is ready", || gateway.is_ready()).await;
    let settled = || async { gateway.observes("publishes:overdue").await == 0 };
    eventually(SOON, "every overdue confirm arrives", settled).await;
    let after = Load::of(&gateway, "after", 8, 10, patient).end().await;
    after.assert_all_confirmed();
    answers.0.extend(after.0);
    let mut there = observer.drain_ids("q").await;
    there.retain(|id| id != "before");
    answers.assert_agree_with(&there);
    let held: Vec<_> = there.iter().filter(|id| id.starts_with("held")).collect();
    assert_eq!(held.len(), unknown, "each written message is in the queue once: {held:?}");
    assert_eq!(gateway.observes("publishes:in_flight").await, 0);
    assert_eq!(gateway.health().await["status"], "pass");
    gateway.stop().await;

    a_connection_blocked_for_too_long_is_replaced(&broker, &observer).await;
    however_many_are_held_the_next_is_refused_at_once(&broker).await;
    broker.give_back().await;
}

/// RabbitMQ does not read while the messages are written, so it blocks the connection after all of them. A busy machine may take some
/// seconds to write them, and none of them may have reached its deadline by then.
async fn however_many_are_held_the_next_is_refused_at_once(broker: &OwnBroker) {
    let settings = [("AMQP_URL", &*broker.url()), ("RABBITMQ_PUBLISH_CONNECTIONS", "1")];
    let gateway = TestGateway::start(&settings).await;
    prove(&gateway, "amq.default?routing_key=q").await;
    publish(&gateway, "amq.default?routing_key=q", "before").await.assert_confirmed();
    broker.alarm_on().await;
    broker.pause().await;
    let held = Load::of(&gateway, "many", 600, 1, |_| "amq.default?routing_key=q&timeout=12s".to_owned());
    let written = || async { gateway.observes("publishes:in_flight").await == 600 };
    eventually(SOON, "all messages are written", written).await;
    broker.resume().await;
    let answers = held.end().await;
    answers.0.iter().for_each(Answer::assert_unknown);
    eventually(SOON, "the connection is blocked", || async { !gateway.is_ready().await }).await;
    refuses_at_once(&gateway).await;
    broker.alarm_off().await;
    publish(&gateway, "amq.default?routing_key=q&timeout=15s", "after").await.assert_confirmed();
    gateway.stop().await;
}

async fn refuses_at_once(gateway: &TestGateway) {
    for number in 0..3 {
        let answer = publish(gateway, "amq.default?routing_key=q", &format!("refused-{number}")).await;
        answer.assert_refused("broker-blocked");
        assert!(answer.took() < AT_ONCE, "{answer:?}");
    }
}

async fn tells_the_reason(gateway: &TestGateway) {
    let answer = gateway.get("/health/rabbitmq").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let health: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(health["status"], "warn", "{health}");
    let blocked = &health["checks"]["publishing:blocked"][0];
    assert_eq!((&blocked["status"], &blocked["observedValue"]), (&"warn".into(), &true.into()), "{health}");
    assert!(blocked["output"].as_str().is_some_and(|reason| reason.contains("memory")), "{health}");
}

async fn topology_works(gateway: &TestGateway) {
    let declared = gateway.put("/queues/during").json(&serde_json::json!({})).send().await.unwrap();
    assert_eq!(declared.status(), 201);
    let queue = gateway.get("/queues/during").send().await.unwrap();
    assert_eq!(queue.status(), 200);
    assert_eq!(gateway.delete("/queues/during").send().await.unwrap().status(), 200);
    let document = serde_json::json!({"queues": [{"name": "during"}]});
    assert_eq!(gateway.put("/topology").json(&document).send().await.unwrap().status(), 200);
}

/// `RABBITMQ_BLOCKED_TIMEOUT`: the outcome of the connection's messages is `unknown`, and they are never sent again.
async fn a_connection_blocked_for_too_long_is_replaced(broker: &OwnBroker, observer: &Observer) {
    let settings = [
        ("AMQP_URL", &*broker.url()),
        ("RABBITMQ_PUBLISH_CONNECTIONS", "1"),
        ("RABBITMQ_BLOCKED_TIMEOUT", "2s"),
    ];
    let gateway = TestGateway::start(&settings).await;
    publish(&gateway, "amq.default?routing_key=q", "before").await.assert_confirmed();
    observer.drain("q").await;
    broker.alarm_on().await;
    let start = Instant::now();
    let held = publish(&gateway, "amq.default?routing_key=q&timeout=30s", "held").await;
    held.assert_unknown();
    assert!((SECOND * 2..SECOND * 4).contains(&(held.at - start)), "{held:?}");
    gets_blocked(&gateway, "again").await;
    broker.alarm_off().await;
    publish(&gateway, "amq.default?routing_key=q&timeout=15s", "after").await.assert_confirmed();
    let ids = observer.drain_ids("q").await;
    for id in &ids {
        assert!(id == "after" || id == "held" || id.starts_with("again"), "{ids:?}");
        assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{ids:?}");
    }
    gateway.stop().await;
}
