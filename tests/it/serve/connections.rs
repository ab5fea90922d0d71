//! Deadlines of a connection, and the limit of connections.

use std::time::{Duration, Instant};

use rabbitmq_gateway::http::ConnectionLimits;
use tokio::io::AsyncReadExt;

use super::toy::*;

fn about(deadline: Duration) -> std::ops::Range<Duration> {
    deadline.mul_f32(0.9)..deadline + Duration::from_millis(1500)
}

/// With these deadlines only the other deadlines can close a connection.
async fn patient_when_idle() -> Toy {
    let limits = ConnectionLimits { keep_alive_timeout: PATIENCE * 2, ..connection_limits() };
    toy_with(limits, &super::toy::limits()).await
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_disconnected_at_the_first_byte_deadline() {
    let toy = toy().await;
    assert!(about(FIRST_BYTE).contains(&Client::to(&toy).await.closed().await));
}

#[tokio::test]
async fn a_client_that_sends_half_a_header_is_disconnected_at_the_header_deadline() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send("GET /hello HTTP/1.1\r\nHost: loc").await;
    assert!(about(HEADER).contains(&client.closed().await));
}

#[tokio::test]
async fn single_bytes_do_not_extend_the_header_deadline() {
    let toy = toy().await;
    let (mut reader, mut writer) = Client::to(&toy).await.0.into_split();
    let begun = Instant::now();
    let dripping = async {
        loop {
            tokio::io::AsyncWriteExt::write_all(&mut writer, b"G").await.ok();
            dawdle(HEADER / 20).await;
        }
    };
    let mut rest = Vec::new();
    let reading = async {
        tokio::select! {
            _ = dripping => {}
            _ = reader.read_to_end(&mut rest) => {}
        }
    };
    within(PATIENCE, "the connection is closed", reading).await;
    assert!(about(HEADER).contains(&begun.elapsed()));
}

#[tokio::test]
async fn an_idle_connection_is_closed_at_the_keep_alive_deadline() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    for _ in 0..2 {
        client.send(get_request("/hello", "")).await;
        assert_eq!(client.answer().await.body, b"hello");
    }
    assert!(about(KEEP_ALIVE).contains(&client.closed().await));
}

#[tokio::test]
async fn the_header_deadline_holds_for_a_second_request() {
    let toy = patient_when_idle().await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/hello", "")).await;
    client.answer().await;
    client.send("GET /he").await;
    assert!(about(HEADER).contains(&client.closed().await));
}

#[tokio::test]
async fn a_request_may_take_longer_than_every_deadline_of_the_connection() {
    let toy = toy().await;
    assert_eq!(ask(&toy, get_request("/slow", "")).await.status, 200);
}

#[tokio::test]
async fn a_client_that_reads_no_bytes_of_its_answer_is_disconnected() {
    let toy = patient_when_idle().await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/big", "")).await;
    // This is longer than the deadline, and the socket's buffers are far smaller than the answer.
    dawdle(WRITE * 3).await;
    let mut taken = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(n @ 1..) = client.0.read(&mut buffer).await {
        taken += n;
    }
    assert!(taken < 64 << 20, "took {taken}");
}

#[tokio::test]
async fn a_client_that_reads_its_answer_slowly_is_not_disconnected() {
    // On a busy machine even a client that wants to read may read after a delay.
    let write_timeout = WRITE * 5;
    let limits = ConnectionLimits { write_timeout, ..connection_limits() };
    let toy = toy_with(limits, &super::toy::limits()).await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/big", "")).await;
    let begun = Instant::now();
    let mut taken = 0;
    let mut buffer = vec![0; 256 << 10];
    while taken < 64 << 20 {
        let n = client.0.read(&mut buffer).await.unwrap();
        assert!(n > 0, "cut after {taken}");
        taken += n;
        dawdle(write_timeout / 150).await;
    }
    assert!(begun.elapsed() > write_timeout, "too fast to show anything");
}

#[tokio::test]
async fn a_connection_over_the_limit_is_answered_503_and_closed() {
    let mut limits = connection_limits();
    limits.max_connections = 1;
    let toy = toy_with(limits, &super::toy::limits()).await;
    let mut first = Client::to(&toy).await;
    first.send(get_request("/hello", "")).await;
    first.answer().await;
    let mut second = Client::to(&toy).await;
    second.send(get_request("/hello", "")).await;
    let answer = second.answer().await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(second.closed().await < Duration::from_millis(500));
    first.send(get_request("/hello", "")).await;
    assert_eq!(first.answer().await.status, 200, "the first connection still works");
    drop(first);
    let again = || async { ask(&toy, get_request("/hello", "")).await.status == 200 };
    eventually(PATIENCE, "a connection is accepted again", again).await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/hello", "") + &get_request("/nowhere", "") + &get_request("/hello", "")).await;
    let statuses = [client.answer().await.status, client.answer().await.status, client.answer().await.status];
    assert_eq!(statuses, [200, 404, 200]);
}
