//! Callers who wait, share a queue, and leave.

use std::time::Instant;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::support::broker::Broker;

/// Sends a pull over a socket of its own.
async fn open_pull(stage: &Stage, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(stage.gateway.address()).await.expect("the gateway accepts");
    let request = format!(
        "POST /queues/q/messages/pull HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        stage.gateway.address(),
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("the gateway reads");
    socket
}

async fn consumers(stage: &Stage, queue: &str) -> u64 {
    let answer = stage.ask(reqwest::Method::GET, &format!("/queues/{queue}")).await;
    answer.json()["consumer_count"].as_u64().expect("a count")
}

async fn has_consumers(stage: &Stage, count: u64) {
    eventually(SOON, "the consumers", || async { consumers(stage, "q").await == count }).await;
}

#[tokio::test]
async fn a_waiting_caller_gets_a_message_as_soon_as_it_is_published() {
    let stage = Stage::with_queue("lease_waiting").await;
    let waiting = async {
        let begun = Instant::now();
        let messages = pulled(&stage.gateway, "q", json!({"wait": "20s"})).await;
        (messages, begun.elapsed())
    };
    let publishing = async {
        // While a caller waits, the gateway is a consumer of the queue.
        has_consumers(&stage, 1).await;
        publish(&stage.observer, "q", ["a"]).await;
    };
    let ((messages, waited), ()) = tokio::join!(waiting, publishing);
    assert_eq!(ids(&messages), ["a"]);
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    has_consumers(&stage, 0).await;
}

#[tokio::test]
async fn a_wait_that_ends_without_a_message_is_an_empty_answer() {
    let stage = Stage::with_queue("lease_wait_end").await;
    let begun = Instant::now();
    assert!(pulled(&stage.gateway, "q", json!({"wait": "600ms"})).await.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(600));
    has_consumers(&stage, 0).await;
}

#[tokio::test]
async fn many_waiting_callers_are_one_consumer_and_each_message_goes_to_one_of_them() {
    let stage = Stage::with_queue("lease_crowd").await;
    let pulls = (0..50).map(|_| pulled(&stage.gateway, "q", json!({"max": 1, "wait": "30s"})));
    let pulls = futures_util::future::join_all(pulls);
    let names: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let publishing = async {
        has_consumers(&stage, 1).await;
        publish(&stage.observer, "q", names.iter().map(String::as_str)).await;
    };
    let (answers, ()) = tokio::join!(pulls, publishing);
    let mut seen: Vec<_> = answers.iter().flat_map(|it| ids(it)).map(str::to_owned).collect();
    seen.sort_by_key(|id| id.parse::<u32>().expect("a number"));
    assert_eq!(seen, names);
}

#[tokio::test]
async fn a_caller_that_leaves_while_it_waits_strands_no_message() {
    let stage = Stage::with_queue("lease_left").await;
    let waiting = open_pull(&stage, r#"{"wait": "60s"}"#).await;
    has_consumers(&stage, 1).await;
    drop(waiting);
    has_consumers(&stage, 0).await;
    publish(&stage.observer, "q", ["a"]).await;
    assert_eq!(stage.observer.count("q").await, Some(1));
    assert_eq!(pull_one(&stage.gateway, "q", "1m").await["redelivered"], false);
}

#[tokio::test]
async fn a_caller_that_ends_its_side_while_it_waits_has_left() {
    let stage = Stage::with_queue("lease_fin").await;
    let mut waiting = open_pull(&stage, r#"{"wait": "60s"}"#).await;
    has_consumers(&stage, 1).await;
    waiting.shutdown().await.expect("a FIN");
    has_consumers(&stage, 0).await;
}

/// The body of the request never comes.
#[tokio::test]
async fn a_caller_that_ends_its_side_before_its_body_takes_no_message() {
    let stage = Stage::with_queue("lease_fin_early").await;
    publish(&stage.observer, "q", ["a"]).await;
    for sent in ["", r#"{"wait""#] {
        let mut socket = TcpStream::connect(stage.gateway.address()).await.expect("the gateway accepts");
        let head =
            "POST /queues/q/messages/pull HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let request = format!("{head}content-length: 15\r\n\r\n{sent}");
        socket.write_all(request.as_bytes()).await.expect("the gateway reads");
        socket.shutdown().await.expect("a FIN");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.expect("the gateway closes");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(pull_one(&stage.gateway, "q", "1m").await["redelivered"], false);
}

#[tokio::test]
async fn a_caller_that_ends_its_side_while_it_waits_for_the_next_message_has_left() {
    let stage = Stage::with_queue("lease_fin_next").await;
    let mut socket = TcpStream::connect(stage.gateway.address()).await.expect("the gateway accepts");
    let request = b"POST /queues/q/messages/next?wait=60s HTTP/1.1\r\nhost: localhost\r\n\r\n";
    socket.write_all(request).await.expect("the gateway reads");
    has_consumers(&stage, 1).await;
    socket.shutdown().await.expect("a FIN");
    has_consumers(&stage, 0).await;
}

/// Callers leave at the moment when messages come. In every order of the two, no message is lost and none has two leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_leave_while_their_messages_come_lose_none() {
    let stage = Stage::with_queue("lease_race").await;
    for n in 0..40 {
        let mut waiting = open_pull(&stage, r#"{"wait": "60s", "lease": "1s"}"#).await;
        let name = n.to_string();
        let publishing = publish(&stage.observer, "q", [name.as_str()]);
        let leaving = async {
            // Every second caller leaves after the first byte of its answer.
            if n % 2 == 0 {
                waiting.read_u8().await.expect("an answer");
            }
            drop(waiting);
        };
        tokio::join!(publishing, leaving);
    }
    let mut seen = Vec::new();
    while seen.len() < 40 {
        let messages = pulled(&stage.gateway, "q", json!({"max": 40, "wait": "10s"})).await;
        assert!(!messages.is_empty(), "{} of 40 came: {seen:?}", seen.len());
        seen.extend(ids(&messages).into_iter().map(str::to_owned));
        let leases: Vec<_> = messages.iter().map(lease_id).collect();
        assert_eq!(settle(&stage.gateway, "q", json!({"ack": leases})).await.status, 200);
    }
    seen.sort_by_key(|id| id.parse::<u32>().expect("a number"));
    assert_eq!(seen, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

/// The tag of the only consumer in the vhost.
async fn consumer_tag(stage: &Stage) -> String {
    let tags = format!(
        "[proplists:get_value(consumer_tag, C) || C <- rabbit_amqqueue:consumers_all(<<\"{}\">>), \
         proplists:get_value(queue_name, C) == rabbit_misc:r(<<\"{}\">>, queue, <<\"q\">>)]",
        stage.vhost.name, stage.vhost.name
    );
    Broker::shared().await.eval(&tags).await
}

/// A consumer with the tag of an earlier one gets more messages than it asks for when those of the earlier one are acked, and on a quorum
/// queue RabbitMQ 3.10 ends the connection.
#[tokio::test]
async fn each_round_has_another_consumer_tag_because_a_quorum_queue_keeps_cancelled_consumers() {
    let stage = Stage::set("lease_tags").await;
    stage.observer.declare_quorum_queue("q").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let waiting = open_pull(&stage, r#"{"wait": "60s"}"#).await;
        has_consumers(&stage, 1).await;
        let tag = consumer_tag(&stage).await;
        assert!(tag.len() > 20 && !seen.contains(&tag), "{tag} after {seen:?}");
        seen.push(tag);
        drop(waiting);
        has_consumers(&stage, 0).await;
    }
}
