//! The recipes about the way in which consumers get messages: work queue, priority, stream, single active consumer.

use std::time::Duration;

use lapin::types::AMQPValue;
use reqwest::Method;
use serde_json::json;

use super::{bodies, document_with, publish, send, stage_of, stage_with};
use crate::support::{
    poll::eventually,
    worker::{Worker, ack, body, header},
};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn work_queue_shares_tasks_and_gives_those_of_a_dead_worker_to_another() {
    let stage = stage_of("work-queue").await;
    let mut one = Worker::start(&stage.observer, "tasks", 1).await;
    let mut two = Worker::start(&stage.observer, "tasks", 1).await;
    for text in ["a", "b", "c"] {
        send(&stage, "tasks", text, &[]).await;
    }
    let (first, second) = (one.next().await, two.next().await);
    let mut held = [body(&first), body(&second)];
    held.sort();
    assert_eq!(held, ["a", "b"], "each worker has one task");
    assert_eq!(stage.observer.count("tasks").await, Some(1), "no worker has a second task");
    one.leave().await;
    ack(&second).await;
    let mut rest = Vec::new();
    for _ in 0..2 {
        let task = two.next().await;
        ack(&task).await;
        rest.push((body(&task), task.redelivered));
    }
    rest.sort();
    assert_eq!(rest, [(body(&first), true), ("c".to_owned(), false)]);
}

/// With a limit of 2 in place of 100,000.
#[tokio::test]
async fn work_queue_refuses_tasks_when_it_is_full_and_keeps_the_others() {
    let stage = stage_with(&document_with("work-queue", "/queues/0/max_length", json!(2))).await;
    let mut taken = Vec::new();
    let refused = loop {
        let text = taken.len().to_string();
        let answer = publish(&stage, ("amq.default", "tasks"), &text, &[]).await;
        if answer.status != 200 {
            break answer;
        }
        taken.push(text);
        assert!(taken.len() < 10, "a full queue refuses");
    };
    assert_eq!((refused.status, refused.text("outcome")), (503, "rejected".to_owned()));
    assert!(taken.len() >= 2, "{taken:?}");
    assert_eq!(bodies(&stage, "tasks").await, taken);
}

#[tokio::test]
async fn priority_delivers_urgent_messages_first_and_equal_ones_in_order() {
    let stage = stage_of("priority").await;
    send(&stage, "renders", "none", &[]).await;
    for priority in ["1", "5", "200", "0"] {
        send(&stage, "renders", priority, &[("x-amqp-priority", priority)]).await;
    }
    assert_eq!(bodies(&stage, "renders").await, ["5", "200", "1", "none", "0"], "200 counts as 5");
}

#[tokio::test]
async fn stream_is_read_by_many_readers_from_their_own_offsets_and_keeps_its_messages() {
    let stage = stage_of("stream").await;
    let texts = ["0", "1", "2", "3", "4"];
    for text in texts {
        send(&stage, "audit", text, &[]).await;
    }
    let offset = |text: &str| AMQPValue::LongString(text.into());
    let mut live = Worker::read(&stage.observer, "audit", offset("next")).await;
    for _ in 0..2 {
        let mut new = Worker::read(&stage.observer, "audit", offset("first")).await;
        for text in texts {
            assert_eq!(new.take().await, text, "reading removes nothing");
        }
    }
    let mut known = Worker::read(&stage.observer, "audit", AMQPValue::LongLongInt(3)).await;
    let message = known.next().await;
    assert_eq!(
        (body(&message).as_str(), header(&message, "x-stream-offset")),
        ("3", Some(AMQPValue::LongLongInt(3)))
    );
    send(&stage, "audit", "5", &[]).await;
    assert_eq!(live.take().await, "5", "a live view gets new messages only");
    assert_eq!((known.take().await, known.take().await), ("4".to_owned(), "5".to_owned()));
    for path in ["/queues/audit/messages", "/queues/audit?if_empty=true"] {
        let answer = stage.ask(Method::DELETE, path).await;
        assert_eq!(answer.verdict(), (409, "not-supported".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn single_active_consumer_hands_over_in_order_when_it_leaves() {
    let stage = stage_of("single-active-consumer").await;
    let mut active = Worker::start(&stage.observer, "ledger", 2).await;
    let mut spare = Worker::start(&stage.observer, "ledger", 10).await;
    for text in ["1", "2", "3", "4"] {
        send(&stage, "ledger", text, &[]).await;
    }
    assert_eq!(active.take().await, "1");
    assert_eq!(body(&active.next().await), "2");
    // Other counts than 1 stand for messages on their way to the spare consumer, which has room for all.
    let held = || async { stage.observer.count("ledger").await == Some(1) };
    eventually(SOON, "the active consumer holds 2 and 3, the spare one has none", held).await;
    let told = stage.ask(Method::GET, "/queues/ledger").await.json();
    assert_eq!(told["consumer_count"], 1, "RabbitMQ counts the active consumer only: {told}");
    active.leave().await;
    let mut next = Vec::new();
    for _ in 0..3 {
        let message = spare.next().await;
        next.push((body(&message), message.redelivered));
    }
    let expected = [("2", true), ("3", true), ("4", false)].map(|(text, again)| (text.to_owned(), again));
    assert_eq!(next, expected);
}
