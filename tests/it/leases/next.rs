//! One message at a time for shells: the bytes of the message as the answer, and its lease as a path.

use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::support::{contract::Answer, gateway::TestGateway};

const NEXT: &str = "/queues/q/messages/next?wait=10s";

async fn ask(gateway: &TestGateway, method: Method, path: &str) -> Answer {
    Answer::to(gateway.client().request(method, gateway.url(path))).await
}

/// Takes the next message of the queue `q`. Returns the answer, and the path of the lease.
async fn next(gateway: &TestGateway, lease: &str) -> (Answer, String) {
    let answer = ask(gateway, Method::POST, &format!("{NEXT}&lease={lease}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let path = answer.header("location").to_owned();
    assert!(path.starts_with("/queues/q/leases/"), "{path}");
    (answer, path)
}

async fn is_none_ready(gateway: &TestGateway) -> bool {
    ask(gateway, Method::POST, "/queues/q/messages/next?wait=0").await.status == 204
}

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[tokio::test]
async fn the_next_message_is_its_bytes_with_its_properties_as_headers_and_its_lease_as_a_path() {
    let stage = Stage::with_queue("next_message").await;
    let mut headers = lapin::types::FieldTable::default();
    headers.insert("tenant".into(), AMQPValue::LongString("acme".into()));
    headers.insert("x-delivery-count".into(), AMQPValue::LongInt(2));
    headers.insert("x-death".into(), AMQPValue::FieldArray(Vec::new().into()));
    let properties = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_content_type("text/html".into())
        .with_content_encoding("UTF-8".into())
        .with_user_id("guest".into())
        .with_headers(headers);
    stage.observer.publish("", "q", b"<b>42</b>", properties).await;
    let (answer, lease) = next(&stage.gateway, "1m").await;
    assert_eq!(answer.body, b"<b>42</b>");
    for (name, value) in [
        ("content-type", "text/html"),
        ("content-encoding", ""),
        ("x-amqp-content-encoding", "UTF-8"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("x-amqp-message-id", "m-1"),
        ("x-amqp-user-id", "guest"),
        ("x-amqp-exchange", "amq.default"),
        ("x-amqp-routing-key", "q"),
        ("x-amqp-header-tenant", "acme"),
        ("x-amqp-header-x-delivery-count", "2"),
        ("x-amqp-headers-omitted", "1"),
        ("x-delivery-attempt", "3"),
        ("x-redelivered", "false"),
    ] {
        assert_eq!(answer.header(name), value, "{name}: {:?}", answer.headers);
    }
    let expires = answer.header("x-lease-expires-at");
    assert!(expires.starts_with("20") && expires.ends_with('Z'), "{expires}");
    for _ in 0..2 {
        assert_eq!(ask(&stage.gateway, Method::DELETE, &lease).await.status, 204);
    }
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn an_empty_message_and_a_queue_without_messages_are_told_apart() {
    let stage = Stage::with_queue("next_empty").await;
    assert!(is_none_ready(&stage.gateway).await);
    stage.observer.publish("", "q", b"", BasicProperties::default()).await;
    let (answer, lease) = next(&stage.gateway, "1m").await;
    assert!(answer.body.is_empty());
    assert!(is_none_ready(&stage.gateway).await, "the message stays with its caller");
    assert_eq!(ask(&stage.gateway, Method::DELETE, &lease).await.status, 204);
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn each_action_has_a_path_and_the_message_goes_where_the_action_says() {
    let stage = Stage::set("next_actions").await;
    declare_with_dead_letters(&stage.observer).await;
    publish(&stage.observer, "q", ["a"]).await;
    let (_, lease) = next(&stage.gateway, "5s").await;
    let extended = ask(&stage.gateway, Method::POST, &format!("{lease}/extend?lease=10m")).await;
    assert_eq!(extended.status, 204);
    assert!(extended.header("x-lease-expires-at").ends_with('Z'), "{extended:?}");
    assert_eq!(ask(&stage.gateway, Method::POST, &format!("{lease}/release")).await.status, 204);
    let (again, lease) = next(&stage.gateway, "1m").await;
    assert_eq!(again.header("x-redelivered"), "true");
    for _ in 0..2 {
        assert_eq!(ask(&stage.gateway, Method::POST, &format!("{lease}/reject")).await.status, 204);
    }
    assert_eq!(message_id(&stage.observer.get_one("dead", SOON).await), "a");
    publish(&stage.observer, "q", ["b"]).await;
    let (_, lease) = next(&stage.gateway, "1m").await;
    assert_eq!(ask(&stage.gateway, Method::POST, &format!("{lease}/ack")).await.status, 204);
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn the_problem_of_a_lease_is_the_status_of_its_request() {
    let stage = Stage::set_with("next_problems", &[("GATEWAY_LEASE_MAX", "2m")]).await;
    stage.observer.declare_queue("q").await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    let (_, lease) = next(&stage.gateway, "1m").await;
    let verdict = async |method, path: String| ask(&stage.gateway, method, &path).await.verdict();
    let too_long = verdict(Method::POST, format!("{lease}/extend?lease=3m")).await;
    assert_eq!(too_long, problem(400, "malformed-request"));
    assert_eq!(ask(&stage.gateway, Method::DELETE, &lease).await.status, 204);
    let other = ask(&stage.gateway, Method::POST, &format!("{lease}/release")).await;
    assert_eq!(other.verdict(), problem(409, "lease-settled"));
    assert_eq!(other.json()["settled_as"], "acked");
    let elsewhere = lease.replace("/queues/q/", "/queues/other/");
    assert_eq!(verdict(Method::DELETE, elsewhere).await, problem(410, "lease-expired"));
    let (_, lease) = next(&stage.gateway, "100ms").await;
    has(&stage.observer, "q", 1).await;
    assert_eq!(verdict(Method::DELETE, lease).await, problem(410, "lease-expired"));
}

#[tokio::test]
async fn a_lease_is_settled_by_its_path_at_any_replica() {
    let stage = Stage::with_queue("next_replica").await;
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url)]).await;
    publish(&stage.observer, "q", ["a"]).await;
    let (_, lease) = next(&stage.gateway, "1m").await;
    let extended = ask(&other, Method::POST, &format!("{lease}/extend?lease=2m")).await;
    assert_eq!((extended.status, extended.header("x-lease-expires-at").is_empty()), (204, false));
    assert_eq!(ask(&other, Method::DELETE, &lease).await.status, 204);
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn the_path_of_a_lease_can_be_requested_as_it_is_below_a_prefix_and_with_any_name() {
    let stage = Stage::set_with("next_location", &[("GATEWAY_TRUSTED_PROXIES", "127.0.0.1")]).await;
    stage.observer.declare_queue("a b/é").await;
    publish(&stage.observer, "a b/é", ["a"]).await;
    let request = stage.post("/queues/a%20b%2F%C3%A9/messages/next").header("x-forwarded-prefix", "/mq");
    let answer = Answer::to(request).await;
    let lease = answer.header("location").strip_prefix("/mq").expect("the prefix").to_owned();
    assert!(lease.starts_with("/queues/a%20b%2F%C3%A9/leases/1."), "{lease}");
    assert_eq!(ask(&stage.gateway, Method::DELETE, &lease).await.status, 204);
}

#[tokio::test]
async fn a_wrong_request_is_400_and_takes_no_message() {
    let stage = Stage::with_queue("next_wrong").await;
    publish(&stage.observer, "q", ["a"]).await;
    for (method, path, field) in [
        (Method::POST, "/queues/q/messages/next?wait=61s", "wait"),
        (Method::POST, "/queues/q/messages/next?wait=soon", "wait"),
        (Method::POST, "/queues/q/messages/next?lease=0", "lease"),
        (Method::POST, "/queues/q/messages/next?max=1", "max"),
        (Method::DELETE, "/queues/q/leases/x", "lease_id"),
        (Method::DELETE, "/queues/q/leases/1.a.1.0000000000000007?lease=5s", "lease"),
        (Method::POST, "/queues/q/leases/1.a.1.0000000000000007/extend", "lease"),
        (Method::POST, "/queues/q/leases/1.a.1.0000000000000007/extend?lease=0", "lease"),
        (Method::POST, "/queues/q/leases/1.a.1.0000000000000007/ack?timeout=61s", "timeout"),
    ] {
        let answer = ask(&stage.gateway, method, path).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{path}");
        assert_eq!(answer.json()["field"], field, "{path}");
    }
    let with_body = Answer::to(stage.post(NEXT).body(r#"{"wait": "5s"}"#)).await;
    assert_eq!(with_body.verdict(), problem(400, "malformed-request"));
    for (path, status, name) in [
        ("/queues/amq.gen-x/messages/next", 403, "reserved-name"),
        ("/queues/amq.gen-x/leases/1.a.1.0000000000000007/ack", 403, "reserved-name"),
        ("/queues/missing/messages/next", 404, "queue-not-found"),
    ] {
        assert_eq!(ask(&stage.gateway, Method::POST, path).await.verdict(), problem(status, name), "{path}");
    }
    assert_eq!(stage.observer.count("q").await, Some(1));
}

/// Callers leave at the moment when the message comes: it is with none of them, or it comes back with its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_strands_no_message() {
    let stage = Stage::with_queue("next_left").await;
    for n in 0..20 {
        let mut socket = TcpStream::connect(stage.gateway.address()).await.expect("the gateway accepts");
        let address = stage.gateway.address();
        let request =
            format!("POST /queues/q/messages/next?wait=60s&lease=1s HTTP/1.1\r\nhost: {address}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("the gateway reads");
        let name = n.to_string();
        let publishing = publish(&stage.observer, "q", [name.as_str()]);
        let leaving = async {
            if n % 2 == 0 {
                socket.read_u8().await.expect("an answer");
            }
            drop(socket);
        };
        tokio::join!(publishing, leaving);
    }
    has(&stage.observer, "q", 20).await;
}
