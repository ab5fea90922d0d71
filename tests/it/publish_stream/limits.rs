//! Streams over a limit, and clients that send or read too slowly, too much or not at all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATH, open};
use crate::support::{contract::Answer, poll::eventually, publish_stream::PublishStream, stage::Stage};

const SOON: Duration = Duration::from_secs(20);
const KIB: usize = 1024;

/// The text of a message with a body of this size.
fn sized(bytes: usize) -> Value {
    json!({"body_text": "x".repeat(bytes)})
}

async fn stage(name: &str, settings: &[(&str, &str)]) -> Stage {
    let stage = Stage::set_with(name, settings).await;
    stage.observer.declare_queue("q").await;
    stage
}

fn end(summary: &Value) -> (u64, &str) {
    (summary["read"].as_u64().expect("a number"), summary["end"].as_str().expect("a word"))
}

#[tokio::test]
async fn a_line_over_the_limit_is_413_and_the_next_line_is_published() {
    let stage = stage("stream_long_line", &[("GATEWAY_MAX_BODY_BYTES", "64KiB")]).await;
    let mut stream = open(&stage).await;
    stream.line(&sized(80 * KIB)).await;
    stream.line(&sized(63 * KIB)).await;
    stream.line(&sized(300 * KIB)).await;
    stream.line(&sized(1)).await;
    let (mut results, summary) = stream.end().await;
    results.sort_by_key(|result| result["index"].as_u64());
    let outcomes: Vec<_> = results.iter().map(|it| it["outcome"].as_str().expect("an outcome")).collect();
    assert_eq!(outcomes, ["not_sent", "confirmed", "not_sent", "confirmed"]);
    assert_eq!(results[0]["problem"]["type"], "/problems/payload-too-large");
    assert_eq!(results[2]["problem"]["limit"], 64 * KIB);
    assert_eq!(end(&summary), (4, "complete"));
}

#[tokio::test]
async fn a_line_that_never_ends_ends_the_stream_and_the_lines_before_it_are_confirmed() {
    let stage = stage("stream_endless_line", &[("GATEWAY_MAX_BODY_BYTES", "64KiB")]).await;
    let mut stream = open(&stage).await;
    stream.line(&sized(1)).await;
    for _ in 0..11 {
        stream.send(vec![b'x'; 64 * KIB]).await;
    }
    let (results, summary) = stream.rest().await;
    assert_eq!((results.len(), end(&summary)), (2, (2, "client-error")), "{summary}");
    assert!(summary["detail"].as_str().is_some_and(|it| it.contains("over the limit")), "{summary}");
    assert_eq!(stage.observer.count("q").await, Some(1));
}

#[tokio::test]
async fn a_client_that_sends_no_byte_for_too_long_gets_the_summary() {
    let stage = stage("stream_idle", &[("GATEWAY_BODY_TIMEOUT", "400ms")]).await;
    let mut stream = open(&stage).await;
    stream.line(&sized(1)).await;
    stream.send(b"{\"half\": ").await;
    let (results, summary) = stream.rest().await;
    assert_eq!((results.len(), end(&summary)), (1, (1, "client-error")), "{summary}");
    assert!(summary["detail"].as_str().is_some_and(|it| it.contains("GATEWAY_BODY_TIMEOUT")), "{summary}");
}

#[tokio::test]
async fn a_malformed_chunk_ends_the_stream_after_the_results_of_its_lines() {
    let stage = stage("stream_malformed", &[]).await;
    let mut stream = open(&stage).await;
    stream.line(&sized(1)).await;
    stream.next().await.expect("a result");
    stream.send_raw(b"no chunk\r\n").await;
    let (_, summary) = stream.rest().await;
    assert_eq!(end(&summary), (1, "client-error"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_and_never_reads_is_cut_off_and_others_publish_meanwhile() {
    let settings = [("GATEWAY_WRITE_TIMEOUT", "1s"), ("GATEWAY_MAX_BYTES_IN_FLIGHT", "16MiB")];
    let stage = stage("stream_unread", &settings).await;
    let (mut writer, _answer) = open(&stage).await.split();
    let lines = "{\"body\":1}\n".repeat(1000);
    let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
    let sending = tokio::spawn(async move { while writer.send_raw(chunk.as_bytes()).await {} });
    while !sending.is_finished() {
        let answer = Answer::to(stage.publish().body("beside")).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    let is_closed = || async { stage.gateway.metric("gateway_publish_streams").await == Some(0.0) };
    eventually(SOON, "the stream is closed", is_closed).await;
    let confirmed = r#"gateway_bulk_messages_total{operation="stream",outcome="confirmed"}"#;
    let confirmed = stage.gateway.metric(confirmed).await;
    assert!(confirmed.is_some_and(|confirmed| confirmed > 100.0), "{confirmed:?}");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_has_its_lines_settled_and_counted() {
    let stage = stage("stream_left", &[]).await;
    let mut stream = open(&stage).await;
    for _ in 0..50 {
        stream.line(&sized(1)).await;
    }
    stream.next().await.expect("a result");
    drop(stream);
    let counted = || async {
        let name = r#"gateway_bulk_messages_total{operation="stream",outcome="confirmed"}"#;
        // Read first: the counts are complete when the stream has given up its slot.
        let open = stage.gateway.metric("gateway_publish_streams").await;
        stage.gateway.metric(name).await.filter(|_| open == Some(0.0))
    };
    let confirmed = eventually(SOON, "the stream is closed", counted).await;
    assert_eq!(stage.observer.count("q").await.map(f64::from), Some(confirmed));
}

#[tokio::test]
async fn a_client_that_ends_its_side_after_the_last_line_gets_all_results_and_the_summary() {
    let stage = stage("stream_half_closed", &[]).await;
    let mut stream = open(&stage).await;
    for _ in 0..300 {
        stream.line(&sized(1)).await;
    }
    stream.finish().await;
    stream.shutdown().await;
    let (results, summary) = stream.rest().await;
    assert_eq!((results.len(), end(&summary)), (300, (300, "complete")));
}

#[tokio::test]
async fn further_streams_than_the_limit_are_503_and_single_publishes_still_work() {
    let settings = [("GATEWAY_MAX_PUBLISH_STREAMS", "2"), ("GATEWAY_MAX_REQUESTS_IN_FLIGHT", "1")];
    let stage = stage("stream_bound", &settings).await;
    let (mut first, mut second) = (open(&stage).await, open(&stage).await);
    assert_eq!((first.header().await.0, second.header().await.0), (200, 200));
    let (status, header) = open(&stage).await.into_header().await;
    assert_eq!(status, 503, "{header}");
    assert!(header.contains("retry-after"), "{header}");
    assert_eq!(Answer::to(stage.publish().body("beside")).await.status, 200);
    assert_eq!(end(&first.end().await.1), (0, "complete"));
    let reopened = || async { open(&stage).await.into_header().await.0 == 200 };
    eventually(SOON, "a stream is open again", reopened).await;
    drop(second);
}

#[tokio::test]
async fn a_stream_with_a_wrong_path_parameter_or_header_is_refused_before_its_first_line() {
    let stage = stage("stream_refused", &[]).await;
    for (path, header, status) in [
        ("/publish/amq.default/stream?timeout=2m", "", 400),
        ("/publish/amq.default/stream?colour=red", "", 400),
        ("/publish/%00/stream", "", 400),
        (PATH, "x-amqp-type: greeting\r\n", 400),
        (PATH, "idempotency-key: once\r\n", 400),
        (PATH, "ce-specversion: 1.0\r\n", 400),
        (PATH, "content-encoding: gzip\r\n", 415),
    ] {
        let stream = PublishStream::open_with(stage.gateway.address(), path, header).await;
        assert_eq!(stream.into_header().await.0, status, "{path} {header}");
    }
    for media_type in ["application/json", "application/x-ndjson; charset=latin1"] {
        let request = stage.post(PATH).header("content-type", media_type).body("{\"body\":1}");
        assert_eq!(Answer::to(request).await.verdict(), (415, "unsupported-media-type".to_owned()));
    }
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_budget_of_bodies_is_full_streams_wait_and_no_line_fails() {
    let settings = [("GATEWAY_MAX_BODY_BYTES", "1MiB"), ("GATEWAY_MAX_BYTES_IN_FLIGHT", "1MiB")];
    let stage = stage("stream_budget", &settings).await;
    let streams = (0..4).map(|_| async {
        let mut stream = open(&stage).await;
        for _ in 0..40 {
            stream.line(&sized(100 * KIB)).await;
        }
        stream.end().await
    });
    for (results, summary) in futures_util::future::join_all(streams).await {
        assert_eq!((results.len(), &summary["counts"]["confirmed"]), (40, &40.into()), "{summary}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_with_long_unfinished_lines_leave_room_for_single_publishes() {
    let settings = [("GATEWAY_MAX_BODY_BYTES", "512KiB"), ("GATEWAY_MAX_BYTES_IN_FLIGHT", "2MiB")];
    let stage = stage("stream_hoarding", &settings).await;
    let streams = (0..8).map(|_| async {
        let mut stream = open(&stage).await;
        // The gateway reads no further bytes when the streams together hold their half of the budget.
        let sending = tokio::time::timeout(Duration::from_secs(1), stream.send(vec![b'x'; 400 * KIB]));
        let _waits = sending.await;
        stream
    });
    let streams = futures_util::future::join_all(streams).await;
    let held = || async {
        let held = stage.gateway.metric("gateway_http_body_bytes_in_flight").await;
        held.is_some_and(|held| held > 900_000.0)
    };
    eventually(SOON, "the streams hold their share", held).await;
    let answer = Answer::to(stage.publish().body(vec![b'y'; 400 * KIB])).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    drop(streams);
}

/// A frame that was larger than the room of all streams waited for ever, and a line at the limit was refused as overloaded.
#[tokio::test]
async fn frames_and_lines_as_large_as_the_room_of_all_streams_are_read_in_parts() {
    for (name, body, budget, line) in
        [("stream_small_room", "4KiB", "8KiB", 3000), ("stream_tight_room", "1MiB", "1MiB", 1024 * KIB - 50)]
    {
        let settings = [
            ("GATEWAY_MAX_BODY_BYTES", body),
            ("GATEWAY_MAX_BYTES_IN_FLIGHT", budget),
            ("GATEWAY_BODY_TIMEOUT", "3s"),
        ];
        let stage = stage(name, &settings).await;
        let mut stream = open(&stage).await;
        stream.send(format!("{}\n", sized(line)).repeat(5)).await;
        let (results, summary) = stream.end().await;
        assert_eq!((results.len(), &summary["counts"]["confirmed"]), (5, &5.into()), "{name}: {summary}");
    }
}

#[tokio::test]
async fn the_deadline_of_a_line_begins_with_its_last_byte() {
    let stage = stage("stream_deadline", &[]).await;
    let path = format!("{PATH}&timeout=700ms");
    let mut stream = PublishStream::open(stage.gateway.address(), &path).await;
    let begun = Instant::now();
    let line = sized(1).to_string();
    for byte in line.as_bytes().chunks(2) {
        stream.send(byte).await;
        crate::support::poll::pass(Duration::from_millis(80)).await;
    }
    stream.send(b"\n").await;
    let result = stream.next().await.expect("a result");
    assert_eq!(result["outcome"], "confirmed");
    assert!(begun.elapsed() > Duration::from_millis(700), "the line was sent too fast for the test");
}
