//! Servers of RPC calls that take their requests by a pull, and settle them by a reply.

use super::*;
use crate::support::{
    caller::Caller,
    contract::Answer,
    gateway::TestGateway,
    link::{Mode, Way},
    stage::wired,
};

const ENVELOPE: &str = "application/vnd.amqp.message+json";

pub async fn settle_reply(gateway: &TestGateway, lease: &str, body: &str) -> Value {
    let item = json!({"lease_id": lease, "properties": {"type": "sum"}, "body_text": body});
    settle(gateway, "q", json!({"reply": [item]})).await.json()["results"][0].clone()
}

pub fn text(delivery: &lapin::message::Delivery) -> &str {
    std::str::from_utf8(&delivery.data).expect("text")
}

#[tokio::test]
async fn a_reply_goes_to_its_caller_once_and_its_request_is_acked() {
    let stage = Stage::with_queue("reply_once").await;
    stage.observer.declare_queue("answers").await;
    let mut caller = Caller::at(&stage.observer, "answers").await;
    caller.ask("call 1").await;
    let request = pull_one(&stage.gateway, "q", "1m").await;
    assert_eq!(request["properties"]["reply_to"], "answers");
    let lease = lease_id(&request);
    let first = settle_reply(&stage.gateway, &lease, "30").await;
    assert_eq!((&first["outcome"], &first["reply_delivered"]), (&"replied".into(), &true.into()), "{first}");
    assert_eq!(settle_reply(&stage.gateway, &lease, "31").await, first);
    assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "lease-settled");
    let reply = caller.reply().await;
    let properties = &reply.properties;
    assert_eq!(text(&reply), "30");
    assert_eq!(properties.correlation_id().as_ref().expect("an id").as_str(), "call 1");
    assert_eq!(properties.kind().as_ref().expect("a type").as_str(), "sum");
    assert_eq!(properties.content_type().as_ref().expect("a type").as_str(), "text/plain; charset=utf-8");
    assert_eq!((*properties.delivery_mode(), properties.user_id()), (Some(1), &None));
    caller.ask("call 2").await;
    let next = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    settle_reply(&stage.gateway, &next, "32").await;
    assert_eq!(text(&caller.reply().await), "32");
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

/// Each side speaks HTTP only, and each to another replica.
#[tokio::test]
async fn a_call_over_http_is_answered_by_a_server_over_http_at_any_replica() {
    let stage = Stage::with_queue("reply_http").await;
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url)]).await;
    let large = "x".repeat(1_500_000);
    let call = async {
        let answer = Answer::to(stage.post("/rpc/q?timeout=30s").body("how much?")).await;
        (answer.status, answer.header("content-type").to_owned(), answer.body)
    };
    let serve = async {
        let request = pull_one(&stage.gateway, "q", "1m").await;
        let path = format!("/queues/q/leases/{}/reply", lease_id(&request));
        let request = || other.post(&path).header("content-type", "text/csv").body(large.clone());
        let answers = [Answer::to(request()).await, Answer::to(request()).await];
        answers.map(|answer| (answer.status, answer.header("x-reply-delivered").to_owned()))
    };
    let (answer, served) = tokio::join!(call, serve);
    assert_eq!((answer.0, answer.1.as_str()), (200, "text/csv"));
    assert!(answer.2 == large.as_bytes(), "{} bytes", answer.2.len());
    assert_eq!(served, [(204, "true".to_owned()), (204, "true".to_owned())]);
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn a_reply_to_a_caller_that_has_left_is_not_delivered_and_its_request_is_done() {
    let stage = Stage::with_queue("reply_left").await;
    stage.observer.declare_queue("answers").await;
    let caller = Caller::at(&stage.observer, "answers").await;
    caller.ask("call").await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    stage.observer.delete_queue("answers").await;
    let result = settle_reply(&stage.gateway, &lease, "30").await;
    assert_eq!((&result["outcome"], &result["reply_delivered"]), (&"replied".into(), &false.into()));
    let returned = stage.gateway.metric("gateway_settles_total{outcome=\"reply_returned\"}").await;
    assert_eq!(returned, Some(1.0));
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn a_message_that_wants_no_reply_keeps_its_lease() {
    let stage = Stage::with_queue("reply_none").await;
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url)]).await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    for gateway in [&stage.gateway, &other] {
        let result = settle_reply(gateway, &lease, "30").await;
        let problem = &result["problem"];
        let expected = (&"/problems/no-reply-to".into(), &422.into());
        assert_eq!((&problem["type"], &problem["status"]), expected, "{result}");
    }
    assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "acked");
}

/// The answer of RabbitMQ to the reply is lost with its connection, so the gateway cannot tell whether the caller has the reply.
#[tokio::test]
async fn a_reply_whose_answer_is_lost_is_not_sent_again() {
    let (_vhost, observer, link, gateway) = wired("reply_lost", &[]).await;
    observer.declare_queue("answers").await;
    let mut caller = Caller::at(&observer, "answers").await;
    // The first publish to a destination is isolated; this one makes it known.
    gateway.publish("amq.default", "answers", "known").await;
    assert_eq!(text(&caller.reply().await), "known");
    caller.ask("call").await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    for name in ["publish-*", "isolated-*"] {
        link.set_named(name, Mode::BlackHole(Way::ToClient));
    }
    let cut = async {
        assert_eq!(text(&caller.reply().await), "30");
        for name in ["publish-*", "isolated-*"] {
            link.mend_named(name);
            link.cut_named(name);
        }
    };
    let (result, ()) = tokio::join!(settle_reply(&gateway, &lease, "30"), cut);
    assert_eq!(
        (&result["outcome"], &result["reply_delivered"]),
        (&"replied".into(), &Value::Null),
        "{result}"
    );
    assert_eq!(settle_reply(&gateway, &lease, "30").await, result);
    caller.ask("next").await;
    let next = lease_id(&pull_one(&gateway, "q", "1m").await);
    let is_replied = || async { settle_reply(&gateway, &next, "31").await["outcome"] == "replied" };
    eventually(SOON, "the next reply is sent", is_replied).await;
    assert_eq!(text(&caller.reply().await), "31");
    gateway.stop().await;
    assert_eq!(observer.count("q").await, Some(0));
}

#[tokio::test]
async fn a_mistake_in_a_reply_is_400_and_settles_nothing() {
    let stage = Stage::with_queue("reply_wrong").await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    let ack = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    for (member, value, field) in [
        ("routing_key", json!("other"), "reply[0].routing_key"),
        ("properties", json!({"correlation_id": "x"}), "reply[0].properties.correlation_id"),
        ("properties", json!({"user_id": "guest"}), "reply[0].properties.user_id"),
        ("properties", json!({"priority": 256}), "reply[0].properties.priority"),
        ("headers", json!({"CC": []}), "reply[0].headers.CC"),
        ("body_base64", json!("eA=="), "reply[0].body"),
        ("colour", json!(1), "reply[0].colour"),
        ("properties", json!({"colour": 1}), "reply[0].properties.colour"),
        ("properties", json!({"reply_to": "amq.rabbitmq.reply-to"}), "reply[0].properties.reply_to"),
    ] {
        let mut item = json!({"lease_id": lease, "body_text": "30"});
        item[member] = value;
        let answer = settle(&stage.gateway, "q", json!({"ack": [ack], "reply": [item]})).await;
        assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()), "{field}: {}", answer.json());
        assert_eq!(answer.json()["field"], field, "{}", answer.json());
        let detail = answer.text("detail");
        assert!(detail.starts_with(&format!("{field} ")), "{detail}");
        let misleading = ["correlation_id,", "user_id,", "routing_key,", "/rpc/", "line"];
        assert!(misleading.iter().all(|word| !detail.contains(word)), "{detail}");
    }
    let path = format!("/queues/q/leases/{lease}/reply");
    let raw = Answer::to(stage.post(&path).header("x-amqp-correlation-id", "x").body("30")).await;
    assert_eq!((raw.status, raw.text("field")), (400, "x-amqp-correlation-id".to_owned()));
    for (envelope, field) in [
        (r#"{"body": 30, "properties": {"correlation_id": "x"}}"#, "properties.correlation_id"),
        (r#"{"body": 30, "colour": 1}"#, "colour"),
    ] {
        let envelope = stage.post(&path).header("content-type", ENVELOPE).body(envelope);
        let answer = Answer::to(envelope).await;
        assert_eq!((answer.status, answer.text("field").as_str()), (400, field), "{}", answer.json());
        assert!(!answer.text("detail").contains("mandatory"), "{}", answer.json());
    }
    assert_eq!(outcomes(&stage.gateway, "q", json!({"release": [ack, lease]})).await, ["released"; 2]);
}

/// The message asks for its reply at the control queue of the gateway, where other replicas settle leases.
#[tokio::test]
async fn a_reply_to_the_control_queue_settles_no_lease() {
    let stage = Stage::with_queue("reply_control").await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let owner = lease.split('.').nth(1).expect("an owner");
    let properties = BasicProperties::default().with_reply_to(format!("amq.gen-{owner}").into());
    stage.observer.publish("", "q", b"what?", properties).await;
    let request = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let forged = format!("{{\"queue\":\"q\",\"actions\":[[\"{lease}\",\"ack\"]]}}\n");
    let item = json!({
        "lease_id": request, "body_text": forged,
        "properties": {"type": "settle.v1", "reply_to": "amq.gen-x", "content_type": "application/json"}
    });
    assert_eq!(outcomes(&stage.gateway, "q", json!({"reply": [item]})).await, ["replied"]);
    let is_refused = || async {
        stage.gateway.metric("gateway_control_requests_total{result=\"refused\"}").await == Some(1.0)
    };
    eventually(SOON, "the gateway refuses the forged request", is_refused).await;
    assert_eq!(act(&stage.gateway, "q", "release", &lease).await, "released");
}

#[tokio::test]
async fn a_shell_retries_and_dead_letters_by_the_path_of_a_lease() {
    let stage = Stage::with_queue("reply_shell").await;
    stage.observer.declare_queue("dead").await;
    publish(&stage.observer, "q", ["a"]).await;
    let post = async |path: &str| Answer::to(stage.post(path)).await;
    let path = |message: &Value| format!("/queues/q/leases/{}", lease_id(message));
    let lease = path(&pull_one(&stage.gateway, "q", "1m").await);
    assert_eq!(post(&format!("{lease}/retry?delay=25h")).await.json()["field"], "delay");
    let retried = post(&format!("{lease}/retry?delay=1s&reason=database%20is%20away")).await;
    assert_eq!((retried.status, retried.header("x-retry-at").ends_with('Z')), (204, true), "{retried:?}");
    let again = pull_one(&stage.gateway, "q", "1m").await;
    assert_eq!(again["headers"]["x-last-error"], "database is away", "{again}");
    let lease = path(&again);
    let missing = post(&format!("{lease}/dead-letter")).await;
    assert_eq!(missing.verdict(), (404, "exchange-not-found".to_owned()));
    let reserved = post(&format!("{lease}/dead-letter?exchange=amq.default&routing_key=amq.gen-x")).await;
    assert_eq!(reserved.verdict(), (403, "reserved-name".to_owned()));
    let to = format!("{lease}/dead-letter?exchange=amq.default&routing_key=dead&reason=no%20order_id");
    for _ in 0..2 {
        assert_eq!(post(&to).await.status, 204);
    }
    assert_eq!(message_id(&stage.observer.get_one("dead", SOON).await), "a");
    let other = post(&format!("{lease}/retry")).await;
    assert_eq!(
        (other.verdict(), &other.json()["settled_as"]),
        ((409, "lease-settled".to_owned()), &"dead_lettered".into())
    );
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}
