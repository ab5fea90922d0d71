//! Batches: each message has its own outcome, and its order.
//!
//! A second AMQP client reads the messages that arrive.

use serde_json::{Value, json};

use crate::support::{contract::Answer, observer::message_id, stage::Stage};

/// Sends a batch to this path.
async fn batch(stage: &Stage, path: &str, items: &Value) -> Answer {
    Answer::to(stage.post(path).header("content-type", "application/json").body(items.to_string())).await
}

/// The values of one member of all results.
fn members(answer: &Value, member: &str) -> Vec<Value> {
    answer["results"].as_array().expect("results").iter().map(|result| result[member].clone()).collect()
}

#[tokio::test]
async fn a_batch_is_200_and_the_messages_arrive_in_the_order_of_the_request() {
    let stage = Stage::with_queue("batch_order").await;
    let items: Vec<_> =
        (0..500).map(|n| json!({"id": format!("i{n}"), "body_text": n.to_string()})).collect();
    let answer = batch(&stage, "/publish/amq.default/batch?routing_key=q", &Value::from(items)).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["counts"]["confirmed"]), (200, &500.into()), "{body}");
    let ids: Vec<_> = (0..500).map(|n| Value::from(format!("i{n}"))).collect();
    assert_eq!(members(&body, "id"), ids);
    let drained = stage.observer.drain("q").await;
    let texts: Vec<_> = drained.iter().map(|it| String::from_utf8_lossy(&it.data).into_owned()).collect();
    assert_eq!(texts, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    let ids: Vec<_> = drained.iter().map(|it| Value::from(message_id(it))).collect();
    assert_eq!(members(&body, "message_id"), ids);
}
