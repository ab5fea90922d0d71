//! Publish streams: one message a line, one result a line, at the same time.
//!
//! A second AMQP client reads the messages that arrive.

mod clients;
mod limits;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{contract::Answer, observer::message_id, publish_stream::PublishStream, stage::Stage};

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

#[tokio::test]
async fn lines_arrive_in_the_order_of_the_request_and_each_has_a_result() {
    let stage = Stage::with_queue("stream_order").await;
    let mut stream = open(&stage).await;
    let lines: Vec<_> = (0..5000).map(|n| format!("{{\"body_text\":\"{n}\"}}\n")).collect();
    let lines = lines.concat();
    for piece in lines.as_bytes().chunks(10_007) {
        stream.send(piece).await;
    }
    let (results, summary) = stream.end().await;
    assert_eq!(
        (&summary["read"], &summary["counts"]["confirmed"]),
        (&5000.into(), &5000.into()),
        "{summary}"
    );
    let mut indices: Vec<_> = results.iter().map(|it| it["index"].as_u64().expect("a number")).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..5000).collect::<Vec<_>>());
    let bodies: Vec<_> = stage.observer.drain("q").await.into_iter().map(|it| it.data).collect();
    let expected: Vec<_> = (0..5000).map(|n| n.to_string().into_bytes()).collect();
    assert!(bodies == expected, "the messages are in another order");
}

#[tokio::test]
async fn a_wrong_line_fails_alone_and_blank_lines_are_ignored() {
    let stage = Stage::with_queue("stream_wrong").await;
    let mut stream = open(&stage).await;
    stream.send("{\"id\":\"a\",\"body\":1}\r\n\n  \n{\"id\":\"b\"}\n\u{feff}{\"body\":1}\nx\n[]\n").await;
    stream.send(b"\xff").await;
    stream.send("\n{\"id\":\"f\",\"routing_key\":\"q\",\"body\":2}").await;
    let (mut results, summary) = stream.end().await;
    results.sort_by_key(|it| it["index"].as_u64());
    let outcomes: Vec<_> = results.iter().map(|it| it["outcome"].as_str().expect("an outcome")).collect();
    assert_eq!(
        outcomes,
        ["confirmed", "not_sent", "not_sent", "not_sent", "not_sent", "not_sent", "confirmed"]
    );
    assert_eq!((&results[1]["id"], &results[1]["problem"]["field"]), (&"b".into(), &"body".into()));
    assert_eq!((&summary["read"], &summary["end"]), (&7.into(), &"complete".into()));
    assert_eq!(stage.observer.drain("q").await.len(), 2);
}

#[tokio::test]
async fn with_return_minimal_failures_and_every_ten_thousandth_line_are_told() {
    let stage = Stage::with_queue("stream_minimal").await;
    let path = "/publish/amq.default/stream";
    let header = "prefer: return=minimal\r\n";
    let mut stream = PublishStream::open_with(stage.gateway.address(), path, header).await;
    let good = "{\"routing_key\":\"q\",\"body\":1}\n".repeat(10_000);
    stream.send(&good).await;
    stream.send("{\"id\":\"lost\",\"routing_key\":\"nowhere\",\"body\":1}\n").await;
    stream.send(&good).await;
    stream.finish().await;
    let (status, header) = stream.header().await;
    assert!(status == 200 && header.contains("preference-applied: return=minimal"), "{header}");
    let (lines, summary) = stream.rest().await;
    let marks: Vec<_> = lines.iter().filter_map(|line| line["settled"].as_u64()).collect();
    assert_eq!((marks, lines.len()), (vec![10_000, 20_000], 3), "{lines:?}");
    assert!(lines.iter().any(|line| line["id"] == "lost" && line["outcome"] == "unroutable"), "{lines:?}");
    assert_eq!(summary["counts"]["confirmed"], 20_000);
}

#[tokio::test]
async fn a_client_that_expects_100_continue_sends_its_body_after_it() {
    let stage = Stage::with_queue("stream_continue").await;
    let header = "expect: 100-continue\r\n";
    let mut stream = PublishStream::open_with(stage.gateway.address(), PATH, header).await;
    stream.answer_is_100().await;
    stream.line(&json!({"body": 1})).await;
    let (results, summary) = stream.end().await;
    assert_eq!((results.len(), &summary["end"]), (1, &"complete".into()));
}

#[tokio::test]
async fn a_whole_body_by_a_client_without_streaming_works_too() {
    let stage = Stage::with_queue("stream_whole").await;
    let body = "{\"body\":1}\n{\"body\":2}\n";
    let request = stage.post(PATH).header("content-type", "application/x-ndjson").body(body);
    let answer = Answer::to(request).await;
    let text = String::from_utf8(answer.body.clone()).expect("UTF-8");
    assert_eq!((answer.status, text.lines().count()), (200, 3), "{text}");
    assert_eq!((answer.header("cache-control"), answer.header("x-accel-buffering")), ("no-store", "no"));
}
