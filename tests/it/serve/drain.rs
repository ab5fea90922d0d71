//! The three steps of a shutdown.

use std::time::Duration;

use super::toy::*;

/// Sends a request and checks that the answer asks the client to close the connection.
async fn is_answered_for_the_last_time(client: &mut Client) {
    client.send(get_request("/hello", "")).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
}

#[tokio::test]
async fn new_connections_are_served_while_closing_and_asked_to_close() {
    let toy = toy().await;
    let mut old = Client::to(&toy).await;
    old.send(get_request("/hello", "")).await;
    assert_eq!(old.answer().await.header("connection"), None);
    toy.lifecycle.close();
    let mut new = Client::to(&toy).await;
    for client in [&mut old, &mut new] {
        is_answered_for_the_last_time(client).await;
        assert!(client.closed().await < KEEP_ALIVE / 2);
    }
}

#[tokio::test]
async fn draining_finishes_requests_in_flight_and_closes_idle_connections() {
    let toy = toy().await;
    let (mut busy, mut idle, mut silent) =
        (Client::to(&toy).await, Client::to(&toy).await, Client::to(&toy).await);
    busy.send(get_request("/slow", "")).await;
    idle.send(get_request("/hello", "")).await;
    idle.answer().await;
    toy.is_busy_with(1).await;
    toy.lifecycle.drain();
    assert!(idle.closed().await < KEEP_ALIVE / 2);
    assert!(silent.closed().await < FIRST_BYTE / 2);
    assert!(tokio::net::TcpStream::connect(toy.address).await.is_err(), "still accepting");
    let answer = busy.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    tokio::time::timeout(PATIENCE, toy.task).await.expect("serve goes on").unwrap();
}

/// The operating system accepts connections before the gateway does: until then the test holds the only thread.
#[tokio::test]
async fn clients_that_connected_just_before_the_end_are_answered() {
    let toy = toy().await;
    let connect = || std::net::TcpStream::connect(toy.address).expect("the system accepts");
    let clients: Vec<_> = std::iter::repeat_with(connect).take(64).collect();
    toy.lifecycle.drain();
    for client in clients {
        client.set_nonblocking(true).unwrap();
        let mut client = Client(tokio::net::TcpStream::from_std(client).unwrap());
        is_answered_for_the_last_time(&mut client).await;
    }
    tokio::time::timeout(PATIENCE, toy.task).await.expect("serve goes on").unwrap();
}

#[tokio::test]
async fn a_request_that_arrives_at_the_end_is_answered() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/hello", "")).await;
    client.answer().await;
    toy.lifecycle.drain();
    toy.accepts_no_more().await;
    dawdle(Duration::from_millis(100)).await;
    is_answered_for_the_last_time(&mut client).await;
    tokio::time::timeout(PATIENCE, toy.task).await.expect("serve goes on").unwrap();
}

#[tokio::test]
async fn aborting_drops_the_remaining_requests() {
    let toy = toy().await;
    let mut stuck = Client::to(&toy).await;
    stuck.send(get_request("/stuck", "")).await;
    toy.is_busy_with(1).await;
    toy.lifecycle.drain();
    toy.accepts_no_more().await;
    assert!(!toy.task.is_finished());
    toy.lifecycle.abort();
    tokio::time::timeout(Duration::from_secs(1), toy.task).await.expect("serve goes on").unwrap();
    stuck.closed().await;
}
