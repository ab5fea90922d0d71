//! Several replicas: any of them settles any lease.

use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::*;
use crate::support::{
    contract::Answer,
    gateway::TestGateway,
    link::{Mode, Way},
    stage::wired,
};

async fn second(url: &str) -> TestGateway {
    TestGateway::start(&[("AMQP_URL", url)]).await
}

async fn settle_within(gateway: &TestGateway, timeout: &str, lease: &str) -> Answer {
    let request = gateway.post(&format!("/queues/q/messages/settle?timeout={timeout}"));
    let body = json!({"ack": [lease]}).to_string();
    Answer::to(request.header("content-type", "application/json").body(body)).await
}

#[tokio::test]
async fn a_lease_is_settled_at_any_replica_with_the_same_answer() {
    let stage = Stage::with_queue("replica_settle").await;
    let other = second(&stage.vhost.url).await;
    publish(&stage.observer, "q", ["a", "b", "c"]).await;
    let [a, b, c] = [(); 3].map(|()| pull_one(&stage.gateway, "q", "1m"));
    let (a, b, c) = (lease_id(&a.await), lease_id(&b.await), lease_id(&c.await));
    for _ in 0..2 {
        assert_eq!(act(&other, "q", "ack", &a).await, "acked");
        assert_eq!(act(&stage.gateway, "q", "ack", &a).await, "acked");
        assert_eq!(act(&other, "q", "release", &a).await, "lease-settled");
        assert_eq!(act(&other, "r", "ack", &a).await, "lease-expired");
    }
    let extend = json!({"extend": [{"lease_id": b, "lease": "2m"}], "reject": [c]});
    assert_eq!(outcomes(&other, "q", extend).await, ["extended", "rejected"]);
    assert_eq!(act(&other, "q", "release", &b).await, "released");
    has(&stage.observer, "q", 1).await;
}

#[tokio::test]
async fn leases_of_two_replicas_are_settled_in_one_request_in_its_order() {
    let stage = Stage::with_queue("replica_mixed").await;
    let other = second(&stage.vhost.url).await;
    publish(&stage.observer, "q", ["0", "1", "2", "3"]).await;
    let mut leases = Vec::new();
    for gateway in [&stage.gateway, &other, &stage.gateway, &other] {
        leases.push(lease_id(&pull_one(gateway, "q", "1m").await));
    }
    let answer = settle(&other, "q", json!({"ack": leases})).await;
    let body = answer.json();
    let results = body["results"].as_array().expect("results");
    let order: Vec<_> = results.iter().map(|it| it["lease_id"].as_str().expect("an id")).collect();
    assert_eq!((answer.status, order), (200, leases.iter().map(String::as_str).collect()));
    other.stop().await;
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

/// Waits until another replica answers 410. RabbitMQ puts the messages of a lost connection back a moment before it deletes the control
/// queue of that connection. A request that comes between the two gets no answer, so it is 504.
async fn are_410(other: &TestGateway, lease: &str) {
    let is_expired = || async {
        let answer = settle_within(other, "1s", lease).await;
        let problem = answer.json()["results"][0]["problem"]["type"].clone();
        assert!(["/problems/lease-expired", "/problems/outcome-unknown"].map(Value::from).contains(&problem));
        problem == "/problems/lease-expired"
    };
    eventually(SOON, "the lease is 410", is_expired).await;
}

#[tokio::test]
async fn while_rabbitmq_has_the_control_queue_of_a_replica_that_is_gone_its_leases_are_504_and_then_410() {
    let (vhost, observer, link, gateway) = wired("replica_going", &[]).await;
    let other = second(&vhost.url).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    let stuck = vhost.suspend_queue(&name_of_control_queue(&lease)).await;
    link.refuse().await;
    link.cut();
    has(&observer, "q", 1).await;
    let answer = settle_within(&other, "1s", &lease).await;
    assert_eq!(answer.json()["results"][0]["problem"]["type"], "/problems/outcome-unknown");
    stuck.resume().await;
    are_410(&other, &lease).await;
    assert_eq!(observer.count("q").await, Some(1));
}

#[tokio::test]
async fn leases_of_a_replica_that_is_gone_are_410_at_the_others() {
    let (vhost, observer, link, gateway) = wired("replica_gone", &[]).await;
    let other = second(&vhost.url).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    link.refuse().await;
    link.cut();
    has(&observer, "q", 1).await;
    are_410(&other, &lease).await;
    assert_eq!(act(&other, "q", "ack", &lease_id(&pull_one(&other, "q", "1m").await)).await, "acked");
}

/// Its messages are perhaps settled, and perhaps not: the answer is never 410.
#[tokio::test]
async fn leases_of_a_replica_that_does_not_answer_are_504_until_it_answers_again() {
    let (vhost, observer, link, gateway) = wired("replica_silent", &[]).await;
    let other = second(&vhost.url).await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    link.set_named("lease-0", Mode::Stall(Way::Both));
    let answer = settle_within(&other, "1s", &lease).await;
    let problem = answer.json()["results"][0]["problem"].clone();
    assert_eq!((answer.status, &problem["type"]), (207, &"/problems/outcome-unknown".into()), "{problem}");
    assert_eq!(observer.count("q").await, Some(0));
    link.mend_named("lease-0");
    let acked = || async { act(&other, "q", "ack", &lease).await == "acked" };
    eventually(SOON, "the lease is acked", acked).await;
}

fn name_of_control_queue(lease: &str) -> String {
    format!("amq.gen-{}", lease.split('.').nth(1).expect("an owner"))
}

#[tokio::test]
async fn when_a_control_queue_is_deleted_by_hand_its_messages_come_back() {
    let stage = Stage::with_queue("replica_deleted").await;
    let other = second(&stage.vhost.url).await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let queue = name_of_control_queue(&lease);
    let broker = crate::support::broker::Broker::shared().await;
    broker
        .eval(&format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"{queue}\">>)), \
             rabbit_amqqueue:delete(Q, false, false, <<\"test\">>)",
            stage.vhost.name
        ))
        .await;
    has(&stage.observer, "q", 1).await;
    for gateway in [&stage.gateway, &other] {
        assert_eq!(act(gateway, "q", "ack", &lease).await, "lease-expired");
    }
    let again = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    assert_ne!(name_of_control_queue(&again), queue);
    assert_eq!(act(&other, "q", "ack", &again).await, "acked");
}

#[tokio::test]
async fn a_forged_request_at_the_control_queue_has_no_effect_and_an_unknown_version_is_unsupported() {
    let stage = Stage::with_queue("replica_forged").await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let control = name_of_control_queue(&lease);
    let channel = stage.observer.channel().await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let replies = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.expect("a queue");
    let send = async |kind: &str, user: Option<&str>, id: &str| {
        let body = json!({"queue": "q", "actions": [[lease, "ack"]]}).to_string();
        let properties = BasicProperties::default()
            .with_type(kind.into())
            .with_reply_to(replies.name().clone())
            .with_correlation_id(id.into());
        let properties = match user {
            Some(user) => properties.with_user_id(user.into()),
            None => properties,
        };
        let options = BasicPublishOptions::default();
        let sent = channel
            .basic_publish("".into(), control.as_str().into(), options, body.as_bytes(), properties)
            .await;
        sent.expect("a publish");
    };
    send("settle.v1", None, "forged").await;
    send("settle.v9", Some("guest"), "later").await;
    let get = || async {
        channel.basic_get(replies.name().clone(), BasicGetOptions::default()).await.expect("an answer")
    };
    let answer = eventually(SOON, "an answer", get).await;
    let properties = &answer.delivery.properties;
    assert_eq!(properties.correlation_id(), &Some("later".into()));
    assert_eq!(properties.kind(), &Some("unsupported".into()));
    // The forged request came first, and its lease is still held.
    assert_eq!(act(&stage.gateway, "q", "release", &lease).await, "released");
}

#[tokio::test]
async fn during_an_alarm_the_owner_settles_and_another_replica_says_that_publishers_are_blocked() {
    let broker = crate::support::broker::Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    let (gateway, other) = (second(&broker.url()).await, second(&broker.url()).await);
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    broker.alarm_on().await;
    // The gateway learns of an alarm when it publishes.
    let is_blocked = || async { other.publish("amq.default", "q", "x").await.status() == 503 };
    eventually(SOON, "publishers are blocked", is_blocked).await;
    assert_eq!(act(&other, "q", "ack", &lease).await, "broker-blocked");
    assert_eq!(act(&gateway, "q", "ack", &lease).await, "acked");
    broker.alarm_off().await;
}
