//! RPC: a reply belongs to its caller, and each way in which a call can end has its own answer.

mod losses;
mod proof;
mod servers;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable},
};
use serde_json::json;
use tokio::process::Command;

use crate::support::{
    contract::Answer,
    echo::{echo, id_of, serve},
    poll::eventually,
    raw::Raw,
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(10);
const ENVELOPE: &str = "application/vnd.amqp.message+json";

async fn call(stage: &Stage, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    Answer::to(stage.post(path).header("content-type", "text/plain").body(body)).await
}

fn problem(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[tokio::test]
async fn a_reply_reaches_its_caller_with_its_bytes_and_properties() {
    let stage = Stage::set("rpc").await;
    serve(&stage.observer, "echo", echo).await;
    let answer = call(&stage, "/rpc/echo", "hello").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hello"[..]));
    assert_eq!(answer.header("content-type"), "text/plain");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("content-security-policy"), "sandbox");
    assert_eq!(answer.header("x-amqp-header-x-http-status"), "202", "not a status unless configured");
    assert_eq!(answer.header("x-amqp-headers-omitted"), "1", "HTTP has no lists");
}

#[tokio::test]
async fn the_envelope_shows_the_whole_reply() {
    let stage = Stage::set("rpc-envelope").await;
    serve(&stage.observer, "echo", echo).await;
    for (query, accept) in [("", ENVELOPE), ("?reply=envelope", "*/*")] {
        let path = format!("/rpc/echo{query}");
        let request = stage.post(&path).header("content-type", "text/plain").header("accept", accept);
        let answer = Answer::to(request.body("hello")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, ENVELOPE), "{query}");
        let reply = answer.json();
        assert_eq!(reply["body_text"], "hello", "{query}");
        assert_eq!(reply["headers"]["list"], json!([{"$amqp": "int32", "value": 1}]), "{query}");
    }
    let request = stage.post("/rpc/echo?reply=raw").header("accept", ENVELOPE).body("hello");
    assert_eq!(Answer::to(request).await.body, b"hello", "the query decides");
    let unknown = Answer::to(stage.post("/rpc/echo?reply=json").body("hello")).await;
    assert_eq!((unknown.status, unknown.text("field")), (400, "reply".to_owned()));
}

#[tokio::test]
async fn a_reply_sets_the_status_when_a_setting_allows_it() {
    let stage = Stage::set_with("rpc-status", &[("GATEWAY_RPC_STATUS_HEADER", "true")]).await;
    serve(&stage.observer, "echo", echo).await;
    let answer = stage.post("/rpc/echo").body("x").send().await.unwrap();
    assert_eq!(answer.status(), 202);
}

/// Calls, and answers the request with this body and these properties.
async fn call_answered_with(stage: &Stage, body: &[u8], properties: BasicProperties) -> reqwest::Response {
    stage.observer.declare_queue("orders").await;
    let answering = answer_with(stage, body, properties);
    let (answer, ()) = tokio::join!(stage.post("/rpc/orders").body("7").send(), answering);
    answer.expect("an answer")
}

async fn answer_with(stage: &Stage, body: &[u8], properties: BasicProperties) {
    let request = stage.observer.get_one("orders", SOON).await;
    let id = request.properties.correlation_id().clone().expect("an id");
    let reply_to = request.properties.reply_to().clone().expect("a queue");
    stage.observer.publish("", reply_to.as_str(), body, properties.with_correlation_id(id)).await;
}

/// Calls with curl over HTTP/2, and answers the request with this body and these properties. Gives all that curl prints of the
/// answer.
async fn http2_call_answered_with(stage: &Stage, body: &[u8], properties: BasicProperties) -> String {
    stage.observer.declare_queue("orders").await;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--http2-prior-knowledge", "--include", "--max-time", "10", "--data", "7"]);
    let output = curl.arg(stage.gateway.url("/rpc/orders")).output();
    let (output, ()) = tokio::join!(output, answer_with(stage, body, properties));
    String::from_utf8(output.expect("curl runs").stdout).expect("text")
}

fn with_status(status: i32) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("x-http-status".into(), AMQPValue::LongInt(status));
    BasicProperties::default().with_headers(headers)
}

#[tokio::test]
async fn a_reply_with_an_error_status_is_answered_as_its_server_sent_it() {
    let stage = Stage::set_with("rpc-error", &[("GATEWAY_RPC_STATUS_HEADER", "true")]).await;
    for status in [400, 404, 408, 409, 413, 500, 501, 503] {
        for properties in [with_status(status), with_status(status).with_content_type("text/plain".into())] {
            let answer = call_answered_with(&stage, b"no order 7", properties).await;
            assert_eq!(i32::from(answer.status().as_u16()), status);
            assert_eq!(answer.text().await.expect("a whole body"), "no order 7", "{status}");
        }
    }
    for status in [204, 205, 304] {
        let properties = with_status(status).with_content_type("text/plain".into());
        let answer = call_answered_with(&stage, b"not read by clients", properties).await;
        assert_eq!(i32::from(answer.status().as_u16()), status);
        let length = answer.headers().get("content-length").map(|length| length.as_bytes().to_vec());
        // Without a length a client could not find the end of a 205 on HTTP/1.1 (RFC 9110, 15.3.6).
        assert_eq!(length, (status == 205).then(|| b"0".to_vec()), "{status}");
        assert!(!answer.headers().contains_key("content-type"), "{status}");
        assert_eq!(answer.bytes().await.expect("nothing"), "", "{status}");
    }
}

#[tokio::test]
async fn a_reply_over_http_2_keeps_its_status_and_has_no_content_where_the_status_has_none() {
    let stage = Stage::set_with("rpc-http2", &[("GATEWAY_RPC_STATUS_HEADER", "true")]).await;
    let text = |status| with_status(status).with_content_type("text/plain".into());
    let answer = http2_call_answered_with(&stage, b"no order 7", text(409)).await;
    assert!(answer.starts_with("HTTP/2 409") && answer.ends_with("\r\n\r\nno order 7"), "{answer}");
    for status in [204, 205, 304] {
        let answer = http2_call_answered_with(&stage, b"not read by clients", text(status)).await;
        assert!(answer.starts_with(&format!("HTTP/2 {status}")), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
        assert!(!answer.contains("\ncontent-type:") && !answer.contains("content-length: 1"), "{answer}");
    }
}

/// curl and browsers fail on a Content-Encoding that they do not know; Spring and kombu write a character set there.
#[tokio::test]
async fn a_reply_whose_content_encoding_is_a_character_set_can_be_read_by_http_clients() {
    let stage = Stage::set("rpc-encoding").await;
    let properties = BasicProperties::default().with_content_encoding("UTF-8".into());
    let properties = properties.with_content_type("json".into());
    let answer = call_answered_with(&stage, b"{}", properties).await;
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text"));
    assert_eq!((header("content-encoding"), header("x-amqp-content-encoding")), (None, Some("UTF-8")));
    assert_eq!((header("content-type"), header("x-amqp-content-type")), (None, Some("json")));
    let properties = BasicProperties::default().with_content_encoding("gzip".into());
    let answer = call_answered_with(&stage, b"x", properties).await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
}

#[tokio::test]
async fn the_server_sees_a_transient_request_that_expires_with_its_caller() {
    let stage = Stage::set("rpc-request").await;
    stage.observer.declare_queue("idle").await;
    let request = call(&stage, "/rpc/idle?timeout=1500ms", "work");
    let look = stage.observer.get_one("idle", SOON);
    let (answer, seen) = tokio::join!(request, look);
    assert_eq!(answer.verdict(), problem(504, "rpc-timeout"));
    assert_eq!(answer.text("outcome"), "unknown");
    let properties = &seen.properties;
    assert_eq!(*properties.delivery_mode(), Some(1));
    assert!(properties.reply_to().as_ref().unwrap().as_str().starts_with("amq.gen-"));
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str().len(), 36);
    let expires: u64 = properties.expiration().as_ref().unwrap().as_str().parse().unwrap();
    assert!((1..=1500).contains(&expires), "{expires}");
}

#[tokio::test]
async fn a_request_whose_call_timed_out_expires_in_its_queue() {
    let stage = Stage::set("rpc-abandoned").await;
    stage.observer.declare_queue("idle").await;
    let answer = call(&stage, "/rpc/idle?timeout=100ms", "work").await;
    assert_eq!(answer.verdict(), problem(504, "rpc-timeout"));
    let gone = || async { stage.observer.count("idle").await == Some(0) };
    eventually(SOON, "the request expires in its queue", gone).await;
}

#[tokio::test]
async fn a_missing_queue_is_404_at_once() {
    let stage = Stage::set("rpc-missing").await;
    let begun = Instant::now();
    let answer = call(&stage, "/rpc/nobody?timeout=20s", "x").await;
    assert_eq!(answer.verdict(), problem(404, "queue-not-found"));
    assert_eq!(answer.text("outcome"), "not_sent");
    assert!(begun.elapsed() < SOON);
}

#[tokio::test]
async fn a_queue_without_consumers_is_503_at_once_when_the_caller_asks_for_it() {
    let stage = Stage::set("rpc-consumers").await;
    stage.observer.declare_queue("idle").await;
    let answer = call(&stage, "/rpc/idle?require_consumers=true", "x").await;
    assert_eq!(answer.verdict(), problem(503, "no-consumers"));
    assert_eq!(stage.observer.count("idle").await, Some(0));
}

#[tokio::test]
async fn properties_that_the_gateway_sets_itself_are_refused_from_the_caller() {
    let stage = Stage::set("rpc-own").await;
    stage.observer.declare_queue("idle").await;
    let headers = [
        ("x-amqp-reply-to", "amq.rabbitmq.reply-to"),
        ("x-amqp-correlation-id", "1"),
        ("x-amqp-expiration", "5"),
    ];
    for (header, value) in headers {
        let answer = Answer::to(stage.post("/rpc/idle").header(header, value).body("x")).await;
        assert_eq!(answer.verdict(), problem(400, "malformed-request"), "{header}");
        assert_eq!(answer.text("detail"), format!("{header} is set by the gateway: leave it out"));
        assert_eq!(answer.text("field"), header);
    }
    for (member, value, field) in [
        ("routing_key", json!("k"), "routing_key"),
        ("mandatory", json!(true), "mandatory"),
        ("properties", json!({"reply_to": "q"}), "properties.reply_to"),
    ] {
        let body = json!({member: value, "body": 1}).to_string();
        let request = stage.post("/rpc/idle").header("content-type", ENVELOPE).body(body);
        let answer = Answer::to(request).await;
        assert_eq!(answer.text("field"), field);
    }
    assert_eq!(stage.observer.count("idle").await, Some(0), "nothing was sent");
}

#[tokio::test]
async fn hundreds_of_calls_at_once_each_get_their_own_reply() {
    let stage = Stage::set("rpc-many").await;
    serve(&stage.observer, "echo", echo).await;
    let calls = (0..400).map(|number| {
        let stage = &stage;
        async move {
            let answer = call(stage, "/rpc/echo", number.to_string()).await;
            (number.to_string(), String::from_utf8(answer.body).unwrap())
        }
    });
    for (asked, replied) in join_all(calls).await {
        assert_eq!(asked, replied);
    }
}

#[tokio::test]
async fn calls_over_the_limit_of_pending_replies_are_refused() {
    let stage = Stage::set_with("rpc-bound", &[("GATEWAY_MAX_PENDING_REPLIES", "2")]).await;
    stage.observer.declare_queue("idle").await;
    let two = async { join_all((0..2).map(|_| call(&stage, "/rpc/idle?timeout=2s", "x"))).await };
    let third = async {
        let full = || async { stage.gateway.metric("gateway_rpc_pending_replies").await == Some(2.0) };
        eventually(SOON, "two calls wait", full).await;
        call(&stage, "/rpc/idle?timeout=2s", "x").await
    };
    let (two, third) = tokio::join!(two, third);
    assert_eq!(third.verdict(), problem(503, "overloaded"));
    assert_eq!(third.text("outcome"), "not_sent");
    assert!(two.iter().all(|answer| answer.status == 504));
}

#[tokio::test]
async fn a_reply_with_more_headers_than_clients_read_is_answered_without_the_last_of_them() {
    let stage = Stage::set("rpc-headers").await;
    stage.observer.declare_queue("many").await;
    let answering = async {
        let request = stage.observer.get_one("many", SOON).await;
        let mut headers = FieldTable::default();
        headers.insert("a".into(), AMQPValue::LongString("x".repeat(20 << 10).into()));
        for n in 0..199 {
            headers.insert(format!("h{n}").into(), AMQPValue::LongInt(n));
        }
        let id = request.properties.correlation_id().clone().expect("an id");
        let reply_to = request.properties.reply_to().clone().expect("a queue");
        let properties = BasicProperties::default().with_correlation_id(id).with_headers(headers);
        stage.observer.publish("", reply_to.as_str(), b"x", properties).await;
    };
    let (answer, ()) = tokio::join!(call(&stage, "/rpc/many", "x"), answering);
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"x"[..]));
    assert_eq!(answer.header("x-amqp-header-h0"), "0");
    let omitted: usize = answer.header("x-amqp-headers-omitted").parse().expect("a number");
    assert!((120..150).contains(&omitted), "{omitted} of 200");
}

/// The server answers each request with 8 MiB.
fn large(request: &Delivery) -> Vec<(Option<String>, Vec<u8>)> {
    vec![(id_of(request), vec![b'x'; 8 << 20])]
}

#[tokio::test]
async fn replies_that_callers_do_not_read_use_no_more_than_the_memory_for_bodies() {
    const HELD: &str = "gateway_http_body_bytes_in_flight";
    let limits = [("GATEWAY_MAX_BYTES_IN_FLIGHT", "12MiB"), ("GATEWAY_MAX_BODY_BYTES", "1MiB")];
    let stage = Stage::set_with("rpc-slow-reader", &limits).await;
    serve(&stage.observer, "large", large).await;
    let mut slow = Raw::connect(stage.gateway.address()).await;
    slow.send("POST /rpc/large HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx").await;
    let held = || async { stage.gateway.metric(HELD).await.is_some_and(|bytes| bytes > 8e6) };
    eventually(SOON, "the reply is held", held).await;

    let next = call(&stage, "/rpc/large", "x").await;
    assert_eq!(next.verdict(), problem(503, "overloaded"));
    assert_eq!(next.text("outcome"), "unknown", "the server executed the request");
    drop(slow);
    let freed = || async { stage.gateway.metric(HELD).await == Some(0.0) };
    eventually(SOON, "the reply is dropped", freed).await;
    assert_eq!(call(&stage, "/rpc/large", "x").await.status, 200);
}

#[tokio::test]
async fn callers_that_disconnect_leave_no_pending_reply() {
    let stage = Stage::set("rpc-hangup").await;
    stage.observer.declare_queue("idle").await;
    let calls = (0..20).map(|_| {
        let request = stage.post("/rpc/idle?timeout=30s").body("x");
        async { request.timeout(Duration::from_millis(200)).send().await.is_err() }
    });
    assert!(join_all(calls).await.into_iter().all(|left| left));
    let empty = || async { stage.gateway.metric("gateway_rpc_pending_replies").await == Some(0.0) };
    eventually(SOON, "no call waits", empty).await;
}

/// The call was executed, and the key was ignored.
#[tokio::test]
async fn a_call_with_an_idempotency_key_is_refused_and_not_executed() {
    let stage = Stage::with_queue("rpc-key").await;
    let answer = Answer::to(stage.post("/rpc/q").header("idempotency-key", "5").body("x")).await;
    assert_eq!(
        (answer.verdict(), answer.text("field")),
        (problem(400, "malformed-request"), "Idempotency-Key".to_owned())
    );
    assert_eq!(stage.observer.count("q").await, Some(0));
}

/// If the gateway tried on the same connection again and again, it would use up the channels of the connection, and a later
/// permission would not help.
#[tokio::test]
async fn calls_are_answered_as_soon_as_the_gateway_may_declare_its_reply_queue() {
    const DIALS: &str = "gateway_broker_dials_total{result=\"connected\",role=\"reply\"}";
    let stage = Stage::with_queue("rpc-forbidden").await;
    let gateway = stage.gateway_as("callee", "^$", ".*", ".*").await;
    let dialled_anew = || async {
        let metrics = gateway.get("/metrics").send().await.unwrap().text().await.unwrap();
        metrics.lines().filter_map(|line| line.strip_prefix(DIALS)).any(|dials| dials.trim() == "2")
    };
    eventually(SOON, "the gateway tries on another connection", dialled_anew).await;
    stage.vhost.permit("callee", ".*", ".*", ".*").await;
    let is_answered = || async {
        let answer = Answer::to(gateway.post("/rpc/missing?timeout=15s").body("x")).await;
        answer.verdict() == problem(404, "queue-not-found")
    };
    eventually(SOON, "a call is answered", is_answered).await;
    gateway.stop().await;
}
