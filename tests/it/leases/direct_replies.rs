//! Replies by direct reply-to, and replies that take the room of others.

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::FutureExt;

use super::replies::{settle_reply, text};
use super::*;
use crate::support::{
    broker::Broker,
    caller::{Caller, DIRECT},
    contract::Answer,
    gateway::TestGateway,
    link::{Mode, Way},
    stage::wired,
};

/// An address of a process with this number, on a node that does not exist.
fn made_up(number: u32) -> String {
    let node = b"reply@1";
    let term = [&[131, 88, 119, 7], &node[..], &number.to_be_bytes(), &[0; 4], &[1; 4]].concat();
    format!("amq.rabbitmq.reply-to.{}.a2V5", STANDARD.encode(term))
}

async fn ask_at(stage: &Stage, queue: &str, reply_to: &str) {
    let properties = BasicProperties::default().with_reply_to(reply_to.into());
    stage.observer.publish("", queue, b"what?", properties).await;
}

#[tokio::test]
async fn a_client_of_direct_reply_to_gets_its_reply() {
    let stage = Stage::with_queue("reply_direct").await;
    let mut caller = Caller::at(&stage.observer, DIRECT).await;
    caller.ask("call").await;
    let request = pull_one(&stage.gateway, "q", "1m").await;
    let address = request["broker"]["reply_to"].as_str().expect("an address");
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{request}");
    let result = settle_reply(&stage.gateway, &lease_id(&request), "30").await;
    assert_eq!(result["outcome"], "replied");
    assert_eq!(result.get("reply_delivered"), Some(&Value::Null), "{result}");
    let reply = caller.reply().await;
    assert_eq!(text(&reply), "30");
    assert_eq!(reply.properties.correlation_id().as_ref().expect("an id").as_str(), "call");
}

#[tokio::test]
async fn a_text_that_is_no_address_of_direct_reply_to_is_422_and_keeps_its_lease() {
    let stage = Stage::with_queue("reply_no_address").await;
    for reply_to in ["amq.rabbitmq.reply-to.", "amq.rabbitmq.reply-to.AAAA.x"] {
        ask_at(&stage, "q", reply_to).await;
        let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
        let result = settle_reply(&stage.gateway, &lease, "30").await;
        assert_eq!(result["problem"]["type"], "/problems/no-reply-to", "{result}");
        assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "acked");
    }
}

/// A connection that does not answer holds all these replies.
#[tokio::test]
async fn replies_that_wait_at_a_replica_keep_no_ack_waiting_that_comes_from_another_one() {
    let (vhost, observer, link, gateway) = wired("reply_slots", &[]).await;
    let other = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
    link.set_named("slow-*", Mode::Stall(Way::Both));
    observer.declare_queue("acks").await;
    publish(&observer, "acks", ["a"]).await;
    let properties = || BasicProperties::default().with_reply_to(made_up(1).into());
    for _ in 0..270 {
        observer.publish("", "q", b"what?", properties()).await;
    }
    let mut calls = Vec::new();
    while calls.len() < 270 {
        let messages = pulled(&gateway, "q", json!({"max": 250, "wait": "10s", "lease": "5m"})).await;
        calls.extend(messages.iter().map(lease_id));
    }
    let lease = lease_id(&pull_one(&gateway, "acks", "1m").await);
    let replies = calls.iter().map(|lease| {
        let request = other.post(&format!("/queues/q/leases/{lease}/reply?timeout=20s"));
        Answer::to(request.body("30"))
    });
    let acked = async {
        let are_waiting = || async { other.metric("gateway_rpc_pending_replies").await >= Some(270.0) };
        eventually(SOON, "the replies wait", are_waiting).await;
        act(&other, "acks", "ack", &lease).await
    };
    tokio::select! {
        biased;
        outcome = acked => assert_eq!(outcome, "acked"),
        _ = futures_util::future::join_all(replies) => panic!("the replies have answers"),
    }
}

/// RabbitMQ 3 closes the connection of a reply to such an address, and RabbitMQ 4 drops the reply. Publishes have other connections.
#[tokio::test]
async fn an_address_of_direct_reply_to_that_no_client_has_disturbs_no_other_caller() {
    let stage = Stage::with_queue("reply_forged").await;
    stage.observer.declare_queue("others").await;
    let closes_connections = Broker::shared().await.major_version().await == 3;
    for n in 0..5 {
        ask_at(&stage, "q", &made_up(1)).await;
        let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
        let (result, others) = tokio::join!(
            settle_reply(&stage.gateway, &lease, "30"),
            futures_util::future::join_all((0..20).map(|_| stage.gateway.publish(
                "amq.default",
                "others",
                "x"
            )))
        );
        if n == 0 || !closes_connections {
            assert_eq!(result["outcome"], "replied", "{result}");
        } else {
            assert_eq!(result["problem"]["type"], "/problems/no-reply-to", "{n}: {result}");
        }
        assert!(others.iter().all(|answer| answer.status() == 200));
    }
    assert_eq!(stage.gateway.metric("gateway_publish_resends_total").await, Some(0.0));
    assert_eq!(stage.observer.count("others").await, Some(100));
}

/// Both replies wait for a connection that does not answer, and the owner has room for one.
#[tokio::test]
async fn a_large_reply_at_another_replica_is_503_while_there_is_no_room_and_413_if_it_never_fits() {
    let settings = [("GATEWAY_MAX_LEASE_BYTES", "1MiB")];
    let (vhost, observer, link, gateway) = wired("reply_room", &settings).await;
    let other = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
    link.set_named("slow-*", Mode::Stall(Way::Both));
    let reply_to = |address: String| BasicProperties::default().with_reply_to(address.into());
    let mut leases = Vec::new();
    for address in [made_up(1), made_up(2), "answers".to_owned()] {
        observer.publish("", "q", b"what?", reply_to(address)).await;
        leases.push(lease_id(&pull_one(&gateway, "q", "1m").await));
    }
    let reply = |lease: &str, bytes: usize| {
        let request = other.post(&format!("/queues/q/leases/{lease}/reply?timeout=20s"));
        Answer::to(request.body("x".repeat(bytes))).boxed()
    };
    let never = reply(&leases[2], 1024 * 1024).await;
    assert_eq!(never.verdict(), (413, "payload-too-large".to_owned()));
    assert!(never.text("detail").contains("GATEWAY_MAX_LEASE_BYTES"), "{}", never.json());
    assert_eq!(never.json()["limit"], 1024 * 1024);
    let two = [reply(&leases[0], 600_000), reply(&leases[1], 600_000)];
    let (first, _, waiting) = futures_util::future::select_all(two).await;
    assert_eq!(first.verdict(), (503, "overloaded".to_owned()), "{}", first.json());
    assert_eq!(act(&other, "q", "ack", &leases[2]).await, "acked");
    drop(waiting);
}

#[tokio::test]
async fn a_reply_that_is_not_written_by_its_deadline_is_503_at_any_replica_and_its_lease_goes_on() {
    let (vhost, observer, link, gateway) = wired("reply_unwritten", &[]).await;
    let other = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
    link.set_named("slow-*", Mode::Stall(Way::Both));
    let properties = BasicProperties::default().with_reply_to(made_up(1).into());
    observer.publish("", "q", b"what?", properties).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    for replica in [&gateway, &other] {
        let reply =
            Answer::to(replica.post(&format!("/queues/q/leases/{lease}/reply?timeout=1s")).body("30"));
        assert_eq!(reply.await.verdict(), (503, "broker-unavailable".to_owned()));
    }
    assert_eq!(act(&other, "q", "ack", &lease).await, "acked");
}
