//! The frames that give messages back. RabbitMQ counts a `basic.reject` of a quorum queue toward its delivery limit, and from 4.3 on
//! no `basic.nack`: so a restart or a caller who leaves must not cost a message one of its deliveries.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::support::{
    gateway::TestGateway,
    link::Link,
    process::Process,
    stage::{linked, wired},
};

/// The longest stop while leases are held.
const BRIEF: [(&str, &str); 1] = [("GATEWAY_SHUTDOWN_TIMEOUT", "1s")];
const NACK: &str = "nack, requeue";

/// Waits until the link has seen so many answers to deliveries, and returns them.
async fn answers(link: &Link, count: usize) -> Vec<&'static str> {
    let are_there = || async { link.answers().len() >= count };
    eventually(SOON, "the answers to the deliveries", are_there).await;
    link.answers()
}

async fn ask(address: std::net::SocketAddr, path: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("the gateway accepts");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("the gateway reads");
    socket
}

/// Every second caller leaves while its message comes; the others get an answer that has no room for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_no_caller_takes_go_back_by_nack() {
    let (_vhost, observer, link, url) = linked("wire_left").await;
    link.keep_answers();
    let small = [("GATEWAY_MAX_BODY_BYTES", "2KiB"), ("GATEWAY_MAX_BYTES_IN_FLIGHT", "2KiB")];
    let gateway = TestGateway::start(&[&small[..], &[("AMQP_URL", &url)]].concat()).await;
    for n in 0..20 {
        let mut socket = ask(gateway.address(), "/queues/q/messages/pull", r#"{"wait": "60s"}"#).await;
        let publishing = observer.publish("", "q", &[b'x'; 4096], BasicProperties::default());
        let leaving = async {
            if n % 2 == 0 {
                socket.read_u8().await.expect("an answer");
            }
            drop(socket);
        };
        tokio::join!(publishing, leaving);
        has(&observer, "q", 1).await;
        observer.drain("q").await;
    }
    let answers = answers(&link, 10).await;
    assert!(answers.iter().all(|answer| *answer == NACK), "{answers:?}");
}

async fn leased_by_process(address: std::net::SocketAddr, path: &str, body: Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("http://{address}{path}")).header("content-type", "application/json");
    request.body(body.to_string()).send().await.expect("an answer").json().await.expect("JSON")
}

/// Stops a gateway by a signal while it holds two leases, of which the first one is acked after the signal.
async fn stops(name: &str, signal: &str, acks: bool) -> Vec<&'static str> {
    let (_vhost, observer, link, url) = linked(name).await;
    link.keep_answers();
    publish(&observer, "q", ["a", "b"]).await;
    let settings =
        [("AMQP_URL", url.as_str()), ("GATEWAY_DRAIN_DELAY", "0s"), ("GATEWAY_SHUTDOWN_TIMEOUT", "2s")];
    let mut process = Process::spawn(&settings);
    let address = process.address().await;
    let mut leases = Vec::new();
    for _ in 0..2 {
        let pull = json!({"max": 1, "wait": "10s", "lease": "10m"});
        let answer = leased_by_process(address, "/queues/q/messages/pull", pull).await;
        leases.push(lease_id(&answer["messages"][0]));
    }
    process.signal(signal).await;
    if acks {
        let stops = || async { process.stderr().contains("stopping") };
        eventually(SOON, "it stops", stops).await;
        let answer =
            leased_by_process(address, "/queues/q/messages/settle", json!({"ack": [leases[0]]})).await;
        assert_eq!(answer["results"][0]["outcome"], "acked", "{answer}");
    }
    assert!(process.wait(SOON).await.success(), "{}", process.stderr());
    has(&observer, "q", if acks { 1 } else { 2 }).await;
    link.answers()
}

#[tokio::test]
async fn sigterm_gives_messages_back_by_nack_after_the_time_to_settle_them() {
    assert_eq!(stops("wire_term", "TERM", true).await, ["ack", NACK]);
}

#[tokio::test]
async fn sigint_gives_messages_back_by_nack() {
    assert_eq!(stops("wire_int", "INT", false).await, [NACK, NACK]);
}

#[tokio::test]
async fn an_expired_lease_and_a_reject_are_a_reject_and_a_release_is_a_nack() {
    let (_vhost, observer, link, url) = linked("wire_expired").await;
    link.keep_answers();
    let gateway = TestGateway::start(&[("AMQP_URL", &url)]).await;
    publish(&observer, "q", ["a"]).await;
    pull_one(&gateway, "q", "200ms").await;
    assert_eq!(answers(&link, 1).await, ["reject, requeue"]);
    for (action, written) in [("release", NACK), ("reject", "reject")] {
        let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
        act(&gateway, "q", action, &lease).await;
        assert_eq!(link.answers().pop(), Some(written));
    }
}

/// The retries and the number of the delivery as a caller sees them, with those that RabbitMQ has counted.
fn counts(message: &Value) -> (i64, i64, i64) {
    let number = |value: &Value| value.get("value").unwrap_or(value).as_i64().unwrap_or_default();
    let retries = number(&message["headers"]["x-retry-count"]);
    let deliveries = number(&message["broker"]["headers"]["x-delivery-count"]);
    (retries, deliveries, number(&message["delivery_attempt"]))
}

#[tokio::test]
async fn only_a_retry_raises_the_retry_count_and_every_delivery_of_a_quorum_queue_the_attempt() {
    let (vhost, observer, link, gateway) = wired("wire_count", &BRIEF).await;
    observer.declare_quorum_queue("quorum").await;
    publish(&observer, "quorum", ["a"]).await;
    let url = vhost.url_by(link.addr());
    let mut gateway = gateway;
    let mut attempts = Vec::new();
    for how in ["released", "expired", "lost", "restarted", "last"] {
        let lease = if how == "expired" { "200ms" } else { "1m" };
        let message = pull_one(&gateway, "quorum", lease).await;
        let (retries, deliveries, attempt) = counts(&message);
        assert_eq!((retries, attempt), (0, 1 + deliveries), "before it was {how}: {message}");
        attempts.push(attempt);
        match how {
            "released" => drop(act(&gateway, "quorum", "release", &lease_id(&message)).await),
            "lost" => link.cut(),
            "restarted" => {
                let next =
                    TestGateway::start(&[("AMQP_URL", &url), ("GATEWAY_SHUTDOWN_TIMEOUT", "1s")]).await;
                std::mem::replace(&mut gateway, next).stop().await;
            }
            "last" => {
                let retry = json!({"retry": [{"lease_id": lease_id(&message), "delay": "1s"}]});
                assert_eq!(outcomes(&gateway, "quorum", retry).await, ["retried"]);
            }
            _ => {}
        }
    }
    // RabbitMQ counts these since 3.8; from 4.3 on it does not count those that came back by a nack.
    assert!(attempts.is_sorted() && attempts[0] == 1 && attempts[4] > 2, "{attempts:?}");
    for retries in 1..=2 {
        let message = pull_one(&gateway, "quorum", "1m").await;
        assert_eq!(counts(&message), (retries, 0, 1 + retries), "{message}");
        let retry = json!({"retry": [{"lease_id": lease_id(&message)}]});
        assert_eq!(outcomes(&gateway, "quorum", retry).await, ["retried"]);
    }
}

#[tokio::test]
async fn a_message_that_returns_to_a_classic_queue_is_redelivered_and_has_no_retry_count() {
    let (_vhost, observer, link, gateway) = wired("wire_classic", &[]).await;
    publish(&observer, "q", ["a"]).await;
    for (lease, is_redelivered) in [("200ms", false), ("1m", true), ("1m", true)] {
        let message = pull_one(&gateway, "q", lease).await;
        assert_eq!((counts(&message), &message["redelivered"]), ((0, 0, 1), &is_redelivered.into()));
        if lease == "1m" {
            link.cut();
        }
        has(&observer, "q", 1).await;
    }
}
