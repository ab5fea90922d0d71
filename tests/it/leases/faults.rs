//! RabbitMQ is lost, restarted or silent while messages are leased and callers wait.

use super::*;
use crate::support::{
    broker::Broker,
    contract::Answer,
    gateway::TestGateway,
    link::{Mode, Way},
    stage::{linked, wired},
};

#[tokio::test]
async fn after_a_lost_connection_its_leases_are_410_and_the_messages_come_again() {
    let (_vhost, observer, link, gateway) = wired("lease_lost", &[]).await;
    publish(&observer, "q", ["a"]).await;
    let lost = lease_id(&pull_one(&gateway, "q", "1m").await);
    link.cut();
    has(&observer, "q", 1).await;
    let again = pull_one(&gateway, "q", "1m").await;
    assert_eq!(again["redelivered"], true);
    assert_eq!(act(&gateway, "q", "ack", &lost).await, "lease-expired");
    assert_eq!(act(&gateway, "q", "ack", &lease_id(&again)).await, "acked");
}

#[tokio::test]
async fn a_waiting_pull_survives_a_lost_connection() {
    let (_vhost, observer, link, gateway) = wired("lease_survives", &[]).await;
    assert!(is_empty(&gateway, "q").await);
    let waiting = pulled(&gateway, "q", json!({"wait": "30s"}));
    let faults = async {
        for _ in 0..3 {
            let consumes = || async {
                let queue = gateway.get("/queues/q").send().await.expect("an answer").json::<Value>().await;
                queue.is_ok_and(|queue| queue["consumer_count"] == 1)
            };
            eventually(SOON, "the caller waits", consumes).await;
            link.cut();
        }
        publish(&observer, "q", ["a"]).await;
    };
    let (messages, ()) = tokio::join!(waiting, faults);
    assert_eq!(ids(&messages), ["a"]);
}

/// The ack is written, and RabbitMQ does not read it.
#[tokio::test]
async fn an_ack_that_rabbitmq_has_not_read_is_unknown_and_never_acked() {
    let (_vhost, observer, link, gateway) = wired("lease_barrier", &[]).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    link.set(Mode::Stall(Way::ToBroker));
    let request = gateway.post("/queues/q/messages/settle?timeout=1s");
    let request = request.header("content-type", "application/json");
    let answer = Answer::to(request.body(json!({"ack": [lease]}).to_string())).await;
    let problem = answer.json()["results"][0]["problem"].clone();
    assert_eq!((answer.status, &problem["type"]), (207, &"/problems/outcome-unknown".into()), "{problem}");
    link.cut();
    link.mend();
    has(&observer, "q", 1).await;
    assert_eq!(act(&gateway, "q", "ack", &lease).await, "lease-expired");
}

/// The channel of a busy quorum queue keeps acks back beyond a number, and loses them with the connection.
#[tokio::test]
async fn many_acks_that_were_answered_acked_do_not_come_back_when_the_connection_is_lost_at_once() {
    let (vhost, observer, link, gateway) = wired("lease_many_acks", &[]).await;
    observer.declare_quorum_queue("many").await;
    let messages = (0..200).map(|_| (vec![b'x'; 100], BasicProperties::default()));
    observer.publish_all("", "many", messages).await;
    let mut leases = Vec::new();
    while leases.len() < 200 {
        let messages = pulled(&gateway, "many", json!({"max": 200, "wait": "10s"})).await;
        leases.extend(messages.iter().map(lease_id));
    }
    let busy = vhost.suspend_queue("many").await;
    let outcomes = outcomes(&gateway, "many", json!({"ack": leases})).await;
    link.cut();
    busy.resume().await;
    assert!(outcomes.iter().all(|outcome| outcome == "acked"), "{outcomes:?}");
    let is_settled = || async { vhost.unacked("many").await == 0 };
    eventually(SOON, "RabbitMQ has noticed the loss", is_settled).await;
    assert_eq!(observer.count("many").await, Some(0));
}

/// The ack is written, and the connection is lost before RabbitMQ has read it.
#[tokio::test]
async fn an_ack_on_a_connection_that_is_lost_is_unknown_and_neither_acked_nor_expired() {
    let (_vhost, observer, link, url) = linked("lease_ack_lost").await;
    link.keep_answers();
    let gateway = TestGateway::start(&[("AMQP_URL", &url)]).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    link.set_named("lease-0", Mode::BlackHole(Way::ToBroker));
    let cutting = async {
        eventually(SOON, "the ack is written", || async { link.answers() == ["ack"] }).await;
        link.mend();
        link.cut();
    };
    let (word, ()) = tokio::join!(act(&gateway, "q", "ack", &lease), cutting);
    assert_eq!(word, "outcome-unknown");
    has(&observer, "q", 1).await;
    assert_eq!(act(&gateway, "q", "ack", &lease).await, "lease-expired");
}

/// The message has come, and the caller does not have it yet: RabbitMQ has not confirmed the end of the round.
#[tokio::test]
async fn a_message_that_came_right_before_its_connection_was_lost_is_given_out_once() {
    let (_vhost, observer, link, gateway) = wired("lease_once", &[]).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    assert_eq!(act(&gateway, "q", "ack", &lease).await, "acked");
    let waiting = pulled(&gateway, "q", json!({"max": 10, "wait": "30s"}));
    let faults = async {
        let consumes = || async {
            let queue = gateway.get("/queues/q").send().await.expect("an answer").json::<Value>().await;
            queue.is_ok_and(|queue| queue["consumer_count"] == 1)
        };
        eventually(SOON, "the caller waits", consumes).await;
        link.set_named("lease-0", Mode::BlackHole(Way::ToBroker));
        publish(&observer, "q", ["b"]).await;
        let has_come = || async { gateway.metric("gateway_leases").await == Some(1.0) };
        eventually(SOON, "the message has come", has_come).await;
        link.mend();
        link.cut();
    };
    let (messages, ()) = tokio::join!(waiting, faults);
    assert_eq!((ids(&messages), &messages[0]["redelivered"]), (vec!["b"], &true.into()));
    assert_eq!(act(&gateway, "q", "ack", &lease_id(&messages[0])).await, "acked");
    gateway.stop().await;
    assert_eq!(observer.count("q").await, Some(0));
}

#[tokio::test]
async fn a_pull_while_rabbitmq_is_away_is_503_ten_seconds_after_its_wait() {
    let (_vhost, _observer, link, gateway) = wired("lease_away", &[]).await;
    link.refuse().await;
    link.cut();
    let begun = std::time::Instant::now();
    let answer = pull(&gateway, "q", json!({"wait": "1s"})).await;
    assert_eq!(answer.verdict(), (503, "broker-unavailable".to_owned()));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(20), "{waited:?}");
}

/// RabbitMQ closes the channel of a consumer that does not ack in time.
#[tokio::test]
async fn when_rabbitmq_loses_patience_the_leases_are_410_and_pulls_go_on() {
    let broker = Broker::own().await;
    for (name, milliseconds) in [("consumer_timeout", 2000), ("channel_tick_interval", 500)] {
        broker.eval(&format!("application:set_env(rabbit, {name}, {milliseconds})")).await;
    }
    let (observer, gateway) = with_queue(&broker).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "5m").await);
    has(&observer, "q", 1).await;
    assert_eq!(act(&gateway, "q", "ack", &lease).await, "lease-expired");
    let again = pull_one(&gateway, "q", "1m").await;
    assert_eq!(act(&gateway, "q", "ack", &lease_id(&again)).await, "acked");
}

/// Consuming has a connection of its own, which RabbitMQ does not block.
#[tokio::test]
async fn during_an_alarm_messages_are_pulled_and_acked() {
    let broker = Broker::own().await;
    let (observer, gateway) = with_queue(&broker).await;
    publish(&observer, "q", ["a", "b"]).await;
    let first = lease_id(&pull_one(&gateway, "q", "1m").await);
    broker.alarm_on().await;
    assert_eq!(act(&gateway, "q", "ack", &first).await, "acked");
    let second = lease_id(&pull_one(&gateway, "q", "1m").await);
    assert_eq!(act(&gateway, "q", "ack", &second).await, "acked");
    broker.alarm_off().await;
    // A gateway that is only dropped may connect again.
    gateway.stop().await;
    drop(observer);
    broker.give_back().await;
}

async fn with_queue(broker: &Broker) -> (Observer, TestGateway) {
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    let gateway = TestGateway::start(&[("AMQP_URL", &broker.url())]).await;
    (observer, gateway)
}
