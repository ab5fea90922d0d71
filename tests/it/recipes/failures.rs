//! The recipes for messages that are not processed: delayed retry, dead letters, quorum with delivery limit.

use std::time::{Duration, Instant};

use lapin::types::AMQPValue;
use serde_json::{Value, json};

use super::{apply, document, document_with, send, stage_of, stage_with};
use crate::support::{
    broker::Broker,
    observer::message_id,
    poll::eventually,
    stage::Stage,
    worker::{Worker, ack, body, death, header, reject},
};

const SOON: Duration = Duration::from_secs(30);
/// In place of the recipe's 30 seconds.
const DELAY: Duration = Duration::from_millis(300);

/// Waits for a dead letter; gives its body, and the reason and the queue of its death.
async fn dead_letter(stage: &Stage, queue: &str) -> (String, String, String) {
    let message = stage.observer.get_one(queue, SOON).await;
    let (reason, from) = death(&message);
    (body(&message), reason, from)
}

fn told(text: &str, reason: &str, queue: &str) -> (String, String, String) {
    (text.to_owned(), reason.to_owned(), queue.to_owned())
}

fn quick_retry() -> Value {
    document_with("delayed-retry", "/queues/1/message_ttl_ms", json!(DELAY.as_millis()))
}

#[tokio::test]
async fn delayed_retry_brings_a_message_back_after_the_delay_with_its_headers() {
    let stage = stage_with(&quick_retry()).await;
    let mut worker = Worker::start(&stage.observer, "payments", 1).await;
    for attempt in ["2", "3"] {
        let begin = Instant::now();
        let headers = [("x-amqp-header-attempt", attempt), ("x-amqp-message-id", "payment-42")];
        send(&stage, "payments.wait", "payment", &headers).await;
        let message = worker.next().await;
        assert!(begin.elapsed() >= DELAY, "{:?}", begin.elapsed());
        assert_eq!(header(&message, "attempt"), Some(AMQPValue::LongString(attempt.into())));
        assert_eq!(message_id(&message), "payment-42");
        assert_eq!(death(&message), ("expired".to_owned(), "payments.wait".to_owned()));
        ack(&message).await;
    }
}

#[tokio::test]
async fn delayed_retry_keeps_messages_that_workers_reject_or_over_which_they_die() {
    let stage = stage_of("delayed-retry").await;
    send(&stage, "payments", "given up", &[]).await;
    let mut worker = Worker::start(&stage.observer, "payments", 1).await;
    reject(&worker.next().await, false).await;
    assert_eq!(dead_letter(&stage, "payments.failed").await, told("given up", "rejected", "payments"));
    worker.leave().await;
    send(&stage, "payments", "poison", &[]).await;
    for delivery in 0..=20 {
        let mut worker = Worker::start(&stage.observer, "payments", 1).await;
        assert_eq!(worker.next().await.redelivered, delivery > 0);
        worker.leave().await;
    }
    assert_eq!(dead_letter(&stage, "payments.failed").await, told("poison", "delivery_limit", "payments"));
}

#[tokio::test]
async fn delayed_retry_holds_messages_while_their_queue_is_missing() {
    let stage = stage_with(&quick_retry()).await;
    stage.observer.delete_queue("payments").await;
    send(&stage, "payments.wait", "held", &[]).await;
    let held = || async { held_dead_letters(&stage, "payments.wait").await == "1" };
    eventually(SOON, "the wait queue holds the expired message", held).await;
    assert_eq!(stage.observer.count("payments.wait").await, Some(0), "the count omits it");
}

/// Why the worker of the recipe does not reject into the wait queue.
#[tokio::test]
async fn a_message_over_which_workers_die_stays_in_a_wait_queue_that_is_the_dead_letter_queue() {
    let mut cycle = quick_retry();
    cycle["queues"][0]["delivery_limit"] = json!(1);
    cycle["queues"][0]["dead_letter"] = json!({"exchange": "amq.default", "routing_key": "payments.wait"});
    let stage = stage_with(&cycle).await;
    let mut worker = Worker::start(&stage.observer, "payments", 1).await;
    send(&stage, "payments", "rejected", &[]).await;
    reject(&worker.next().await, false).await;
    assert_eq!(worker.take().await, "rejected", "a rejected message comes back");
    send(&stage, "payments", "poison", &[]).await;
    for _ in 0..2 {
        reject(&worker.next().await, true).await;
    }
    let held = || async { held_dead_letters(&stage, "payments.wait").await == "1" };
    eventually(SOON, "the wait queue holds the expired message", held).await;
    send(&stage, "payments.wait", "later", &[]).await;
    assert_eq!(worker.take().await, "later", "a message that expires later comes back");
    eventually(SOON, "the wait queue still holds the first message, and no other", held).await;
}

/// The number of dead letters that a quorum queue holds until their target has confirmed them.
async fn held_dead_letters(stage: &Stage, queue: &str) -> String {
    let name = format!("rabbit_misc:r(<<\"{}\">>, queue, <<\"{queue}\">>)", stage.vhost.name);
    let pid = format!("amqqueue:get_pid(element(2, rabbit_amqqueue:lookup({name})))");
    let query = "fun(S) -> element(1, rabbit_fifo:query_stat_dlx(S)) end";
    let look = format!("element(2, element(2, ra:local_query({pid}, {query})))");
    Broker::shared().await.eval(&look).await
}

/// RabbitMQ 4 drops such a message after as many returns where the queue has no dead letters.
#[tokio::test]
async fn work_queue_and_single_active_consumer_keep_a_message_that_always_fails_and_go_on() {
    for (recipe, queue) in [("work-queue", "tasks"), ("single-active-consumer", "ledger")] {
        let stage = stage_of(recipe).await;
        let dead_letters = format!("{queue}.dlq");
        let mut worker = Worker::start(&stage.observer, queue, 1).await;
        for text in ["poison", "refused", "later"] {
            send(&stage, queue, text, &[]).await;
        }
        for returns in 0..=20 {
            let message = worker.next().await;
            assert_eq!(body(&message), "poison", "{recipe}: {returns}: it delays the later ones");
            reject(&message, true).await;
        }
        assert_eq!(dead_letter(&stage, &dead_letters).await, told("poison", "delivery_limit", queue));
        reject(&worker.next().await, false).await;
        assert_eq!(dead_letter(&stage, &dead_letters).await, told("refused", "rejected", queue));
        assert_eq!(worker.take().await, "later", "{recipe}");
    }
}

#[tokio::test]
async fn dead_letters_are_kept_with_the_reason_why_the_queue_gave_them_up() {
    let stage = stage_with(&document_with("dead-letters", "/queues/0/max_length", json!(1))).await;
    send(&stage, "imports", "oldest", &[]).await;
    send(&stage, "imports", "newest", &[]).await;
    assert_eq!(dead_letter(&stage, "imports.dlq").await, told("oldest", "maxlen", "imports"));
    let mut worker = Worker::start(&stage.observer, "imports", 1).await;
    reject(&worker.next().await, false).await;
    assert_eq!(dead_letter(&stage, "imports.dlq").await, told("newest", "rejected", "imports"));
}

#[tokio::test]
async fn dead_letters_are_kept_when_their_own_time_or_that_of_the_queue_is_over() {
    let stage = stage_with(&document_with("dead-letters", "/queues/0/message_ttl_ms", json!(500))).await;
    for headers in [&[("x-amqp-expiration", "1")][..], &[]] {
        send(&stage, "imports", "late", headers).await;
        assert_eq!(dead_letter(&stage, "imports.dlq").await, told("late", "expired", "imports"));
    }
}

#[tokio::test]
async fn quorum_with_delivery_limit_keeps_a_message_after_its_sixth_return() {
    let stage = stage_of("quorum-delivery-limit").await;
    send(&stage, "shipments", "poison", &[]).await;
    let mut worker = Worker::start(&stage.observer, "shipments", 1).await;
    for returns in 0..6 {
        let message = worker.next().await;
        let count = header(&message, "x-delivery-count").unwrap_or(AMQPValue::LongLongInt(0));
        assert_eq!(count, AMQPValue::LongLongInt(returns));
        reject(&message, true).await;
    }
    assert_eq!(dead_letter(&stage, "shipments.dlq").await, told("poison", "delivery_limit", "shipments"));
    send(&stage, "shipments", "refused", &[]).await;
    reject(&worker.next().await, false).await;
    assert_eq!(dead_letter(&stage, "shipments.dlq").await, told("refused", "rejected", "shipments"));
}

#[tokio::test]
async fn quorum_with_delivery_limit_holds_dead_letters_while_their_queue_is_missing() {
    let stage = stage_of("quorum-delivery-limit").await;
    stage.observer.delete_queue("shipments.dlq").await;
    send(&stage, "shipments", "held", &[]).await;
    let mut worker = Worker::start(&stage.observer, "shipments", 1).await;
    reject(&worker.next().await, false).await;
    let held = || async { held_dead_letters(&stage, "shipments").await == "1" };
    eventually(SOON, "the queue holds the dead letter", held).await;
    assert_eq!(stage.observer.count("shipments").await, Some(0), "the count omits it");
    assert_eq!(apply(&stage.gateway, &document("quorum-delivery-limit")).await.status, 200);
}
