//! Publish streams: one message a line, one result a line, at the same time.
//!
//! A second AMQP client reads the messages that arrive.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{observer::message_id, publish_stream::PublishStream, stage::Stage};

const PATH: &str = "/publish/amq.default/stream?routing_key=q";

async fn open(stage: &Stage) -> PublishStream {
    PublishStream::open(stage.gateway.address(), PATH).await
}

#[tokio::test]
async fn a_line_is_answered_while_the_stream_is_open() {
    let stage = Stage::with_queue("stream_open").await;
    let mut stream = open(&stage).await;
    for n in 0..3_u64 {
        stream.line(&json!({"id": format!("i{n}"), "body_text": "x"})).await;
        let result = stream.next().await.expect("a result");
        let message_id = message_id(&stage.observer.get_one("q", Duration::from_secs(5)).await);
        let expected = json!({
            "index": n, "id": format!("i{n}"), "outcome": "confirmed", "message_id": message_id,
            "attempts": 1, "duplicate_possible": false
        });
        assert_eq!(result, expected);
    }
    let (rest, summary) = stream.end().await;
    assert_eq!(rest, Vec::<Value>::new());
    let counts =
        json!({"confirmed": 3, "accepted": 0, "unroutable": 0, "rejected": 0, "not_sent": 0, "unknown": 0});
    assert_eq!(summary, json!({"read": 3, "counts": counts, "end": "complete"}));
}
