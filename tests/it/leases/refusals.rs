//! Queues that cannot be pulled from, and limits.

use lapin::options::{BasicCancelOptions, BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::*;

async fn verdict(stage: &Stage, queue: &str) -> (u16, String) {
    pull(&stage.gateway, queue, json!({"wait": "5s"})).await.verdict()
}

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

async fn declare(observer: &Observer, queue: &str, options: QueueDeclareOptions) {
    let channel = observer.channel().await;
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.expect("a queue");
}

#[tokio::test]
async fn a_queue_that_is_missing_a_stream_auto_deleted_or_of_another_connection_is_refused_by_name() {
    let stage = Stage::set("lease_refused").await;
    let stream = [("x-queue-type", AMQPValue::LongString("stream".into()))];
    stage.observer.declare_queue_with("stream", &stream).await;
    let auto_delete = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    declare(&stage.observer, "transient-auto", auto_delete).await;
    declare(&stage.observer, "durable-auto", QueueDeclareOptions { durable: true, ..auto_delete }).await;
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    declare(&stage.observer, "exclusive", exclusive).await;
    for (queue, status, name) in [
        ("missing", 404, "queue-not-found"),
        ("stream", 409, "not-supported"),
        ("transient-auto", 409, "not-supported"),
        ("durable-auto", 409, "not-supported"),
        ("exclusive", 409, "resource-locked"),
        ("amq.gen-x", 403, "reserved-name"),
        ("amq.rabbitmq.reply-to", 403, "reserved-name"),
    ] {
        assert_eq!(verdict(&stage, queue).await, problem(status, name), "{queue}");
    }
}

#[tokio::test]
async fn a_queue_with_an_exclusive_consumer_is_409_and_can_be_pulled_from_afterwards() {
    let stage = Stage::with_queue("lease_exclusive").await;
    let channel = stage.observer.channel().await;
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    let consumer = channel.basic_consume("q".into(), "only".into(), options, FieldTable::default()).await;
    let _consumer = consumer.expect("a consumer");
    assert_eq!(verdict(&stage, "q").await, problem(409, "resource-in-use"));
    channel.basic_cancel("only".into(), BasicCancelOptions::default()).await.expect("a cancel");
    publish(&stage.observer, "q", ["a"]).await;
    pull_one(&stage.gateway, "q", "1m").await;
}

#[tokio::test]
async fn the_fault_of_one_queue_ends_no_lease_of_another() {
    let stage = Stage::with_queue("lease_beside").await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    for queue in ["missing", "missing-too"] {
        assert_eq!(verdict(&stage, queue).await.0, 404);
    }
    stage.observer.declare_queue("deleted").await;
    publish(&stage.observer, "deleted", ["b"]).await;
    let lost = lease_id(&pull_one(&stage.gateway, "deleted", "1m").await);
    stage.observer.delete_queue("deleted").await;
    assert_eq!(verdict(&stage, "deleted").await.0, 404);
    assert_eq!(act(&stage.gateway, "deleted", "ack", &lost).await, "lease-expired");
    assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "acked");
}

#[tokio::test]
async fn a_queue_that_is_deleted_and_declared_with_another_type_is_pulled_from_and_its_old_leases_are_410() {
    for (before, after) in [("classic", "quorum"), ("quorum", "classic")] {
        let stage = Stage::set(&format!("lease_remade_{before}")).await;
        let kind = |kind: &str| [("x-queue-type", AMQPValue::LongString(kind.into()))];
        stage.observer.declare_queue_with("q", &kind(before)).await;
        publish(&stage.observer, "q", ["a", "b"]).await;
        let old = [(); 2].map(|()| pull_one(&stage.gateway, "q", "1m"));
        let [a, b] = futures_util::future::join_all(old).await.try_into().expect("two messages");
        stage.observer.delete_queue("q").await;
        stage.observer.declare_queue_with("q", &kind(after)).await;
        publish(&stage.observer, "q", ["c"]).await;
        let c = pull_one(&stage.gateway, "q", "1m").await;
        assert_eq!((ids(std::slice::from_ref(&c)), &c["redelivered"]), (vec!["c"], &false.into()));
        for (lease, action) in [(&a, "ack"), (&b, "release")] {
            let word = act(&stage.gateway, "q", action, &lease_id(lease)).await;
            assert!(["lease-expired", "acked", "released"].contains(&word.as_str()), "{word}");
        }
        assert_eq!(act(&stage.gateway, "q", "ack", &lease_id(&c)).await, "acked");
        stage.gateway.stop().await;
        assert_eq!(stage.observer.count("q").await, Some(0), "{after}");
    }
}

#[tokio::test]
async fn a_queue_that_is_deleted_while_a_caller_waits_is_404() {
    let stage = Stage::with_queue("lease_deleted").await;
    let waiting = pull(&stage.gateway, "q", json!({"wait": "30s"}));
    let deleting = async {
        let consumes =
            || async { stage.ask(reqwest::Method::GET, "/queues/q").await.json()["consumer_count"] == 1 };
        eventually(SOON, "the caller waits", consumes).await;
        stage.observer.delete_queue("q").await;
    };
    let (answer, ()) = tokio::join!(waiting, deleting);
    assert_eq!(answer.verdict(), problem(404, "queue-not-found"));
}

#[tokio::test]
async fn when_all_leases_are_taken_a_pull_is_503_until_one_is_settled() {
    let stage = Stage::set_with(
        "lease_limit",
        &[("GATEWAY_MAX_LEASES", "2"), ("GATEWAY_PULL_MAX", "2"), ("RABBITMQ_PREFETCH_COUNT", "1")],
    )
    .await;
    stage.observer.declare_queue("q").await;
    publish(&stage.observer, "q", ["a", "b", "c"]).await;
    let first = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    pull_one(&stage.gateway, "q", "1m").await;
    let answer = pull(&stage.gateway, "q", json!({"wait": "5s"})).await;
    assert_eq!(answer.verdict(), problem(503, "overloaded"));
    assert!(answer.text("detail").contains("GATEWAY_MAX_LEASES"), "{}", answer.json());
    assert_eq!(act(&stage.gateway, "q", "ack", &first).await, "acked");
    assert_eq!(pull_one(&stage.gateway, "q", "1m").await["body_text"], "c");
}

#[tokio::test]
async fn a_message_larger_than_the_room_for_leases_stays_in_the_queue() {
    let settings = [("GATEWAY_MAX_LEASE_BYTES", "64KiB")];
    let stage = Stage::set_with("lease_bytes", &settings).await;
    stage.observer.declare_queue("q").await;
    let large = |size: usize| vec![b'x'; size];
    stage.observer.publish("", "q", &large(40 * 1024), BasicProperties::default()).await;
    stage.observer.publish("", "q", &large(40 * 1024), BasicProperties::default()).await;
    let first = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    assert_eq!(verdict(&stage, "q").await, problem(503, "overloaded"));
    has(&stage.observer, "q", 1).await;
    assert_eq!(act(&stage.gateway, "q", "ack", &first).await, "acked");
    let second = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    assert_eq!(act(&stage.gateway, "q", "ack", &second).await, "acked");
    stage.observer.publish("", "q", &large(80 * 1024), BasicProperties::default()).await;
    let answer = pull(&stage.gateway, "q", json!({"wait": "5s"})).await;
    assert_eq!(answer.verdict(), problem(409, "not-supported"));
    assert!(answer.text("detail").contains("GATEWAY_MAX_LEASE_BYTES"), "{}", answer.json());
    has(&stage.observer, "q", 1).await;
}

#[tokio::test]
async fn further_queues_than_the_limit_are_503() {
    let stage = Stage::set_with("lease_queues", &[("GATEWAY_MAX_LEASE_QUEUES", "1")]).await;
    stage.observer.declare_queue("q").await;
    stage.observer.declare_queue("r").await;
    assert!(is_empty(&stage.gateway, "q").await);
    assert_eq!(verdict(&stage, "r").await, problem(503, "overloaded"));
    assert!(is_empty(&stage.gateway, "q").await);
}
