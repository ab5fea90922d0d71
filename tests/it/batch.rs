//! Batches: each message has its own outcome, and its order.
//!
//! A second AMQP client reads the messages that arrive.

use std::time::{Duration, Instant};

use lapin::{BasicProperties, message::Delivery, types::AMQPValue};
use serde_json::{Value, json};

use crate::support::{contract::Answer, gateway::TestGateway, observer::message_id, stage::Stage};

/// Sends a batch to this path.
async fn batch(stage: &Stage, path: &str, items: &Value) -> Answer {
    Answer::to(stage.post(path).header("content-type", "application/json").body(items.to_string())).await
}

/// The values of one member of all results.
fn members(answer: &Value, member: &str) -> Vec<Value> {
    answer["results"].as_array().expect("results").iter().map(|result| result[member].clone()).collect()
}

#[tokio::test]
async fn a_batch_is_200_and_the_messages_arrive_in_the_order_of_the_request() {
    let stage = Stage::with_queue("batch_order").await;
    let items: Vec<_> =
        (0..500).map(|n| json!({"id": format!("i{n}"), "body_text": n.to_string()})).collect();
    let answer = batch(&stage, "/publish/amq.default/batch?routing_key=q", &Value::from(items)).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["counts"]["confirmed"]), (200, &500.into()), "{body}");
    let ids: Vec<_> = (0..500).map(|n| Value::from(format!("i{n}"))).collect();
    assert_eq!(members(&body, "id"), ids);
    let drained = stage.observer.drain("q").await;
    let texts: Vec<_> = drained.iter().map(|it| String::from_utf8_lossy(&it.data).into_owned()).collect();
    assert_eq!(texts, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    let ids: Vec<_> = drained.iter().map(|it| Value::from(message_id(it))).collect();
    assert_eq!(members(&body, "message_id"), ids);
}

/// Envelopes with these ids and texts, in this order.
fn texts(from: usize, to: usize) -> Value {
    (from..to).map(|n| json!({"id": format!("i{n}"), "body_text": n.to_string()})).collect()
}

async fn bodies(stage: &Stage, queue: &str) -> Vec<String> {
    let drained = stage.observer.drain(queue).await;
    drained.iter().map(|it| String::from_utf8_lossy(&it.data).into_owned()).collect()
}

/// The outcomes of all results, each with the name of its problem.
fn verdicts(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().replace("/problems/", "");
    let results = answer["results"].as_array().expect("results").iter();
    results.map(|it| (text(&it["outcome"]), text(&it["problem"]["type"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(outcome, problem)| ((*outcome).to_owned(), (*problem).to_owned())).collect()
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_outcome_and_the_batch_is_207() {
    let stage = Stage::with_queue("batch_mixed").await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    stage.observer.declare_queue_with("full", &full).await;
    stage.observer.publish("", "full", b"fills it", BasicProperties::default()).await;
    let items = json!([
        {"id": "a", "routing_key": "q", "body": {"n": 1}},
        {"id": "b", "routing_key": "nowhere", "body": 2},
        {"id": "c", "routing_key": "full", "body": 3},
        {"id": "d", "routing_key": "nowhere", "mandatory": false, "body": 4},
        {"id": "e", "routing_key": "q"},
        {"id": "f", "routing_key": "amq.rabbitmq.reply-to", "body": 6},
        7,
        {"id": "h", "exchange": "other", "routing_key": "q", "body": 8},
        {"id": 9, "routing_key": "q", "body": 9},
        {"id": "x".repeat(81), "routing_key": "q", "body": 10},
        {"routing_key": "q", "properties": {"message_id": "m11"}, "body": 11},
    ]);
    let answer = batch(&stage, "/publish/amq.default/batch", &items).await;
    let body = answer.json();
    assert_eq!(answer.status, 207, "{body}");
    let malformed = ("not_sent", "malformed-request");
    let expected = [
        ("confirmed", ""),
        ("unroutable", "unroutable"),
        ("rejected", "rejected"),
        ("accepted", ""),
        malformed,
        ("not_sent", "reserved-name"),
        malformed,
        malformed,
        malformed,
        malformed,
        ("confirmed", ""),
    ];
    assert_eq!(verdicts(&body), pairs(&expected), "{body}");
    let counts =
        json!({"confirmed": 2, "accepted": 1, "unroutable": 1, "rejected": 1, "not_sent": 6, "unknown": 0});
    assert_eq!(body["counts"], counts);
    let ids: Vec<_> = ["a", "b", "c", "d", "e", "f", "", "h", "", "", ""]
        .map(|id| if id.is_empty() { Value::Null } else { id.into() })
        .into();
    assert_eq!(members(&body, "id"), ids);
    assert_eq!(members(&body, "index"), (0..11).map(Value::from).collect::<Vec<_>>());
    let field = |n: usize| body["results"][n]["problem"]["field"].as_str().unwrap_or_default().to_owned();
    assert_eq!([4, 6, 7, 8, 9].map(field), ["body", "item", "exchange", "id", "id"]);
    assert!(
        body["results"][1]["problem"]["detail"].as_str().is_some_and(|it| it.contains("/queues/nowhere"))
    );
    assert_eq!(body["results"][2]["problem"]["retryable"], true);
    assert_eq!(body["results"][10]["message_id"], "m11");
    assert_eq!(bodies(&stage, "q").await, [r#"{"n":1}"#, "11"]);
}

#[tokio::test]
async fn an_empty_batch_is_200() {
    let stage = Stage::set("batch_empty").await;
    let answer = batch(&stage, "/publish/amq.default/batch", &json!([])).await;
    assert_eq!((answer.status, &answer.json()["results"]), (200, &json!([])));
}

#[tokio::test]
async fn a_body_that_is_no_array_or_too_long_an_array_is_refused_and_no_message_is_sent() {
    let stage = Stage::with_queue("batch_refused").await;
    let long = format!("[{}", "{\"routing_key\":\"q\",\"body\":1},".repeat(1000)) + "1]";
    for (body, status, field) in [
        (r#"{"routing_key":"q","body":1}"#, 400, "body"),
        (r#"[{"routing_key":"q","body":1},"#, 400, "body"),
        ("\u{feff}[]", 400, "body"),
        ("", 400, "body"),
        (long.as_str(), 413, ""),
    ] {
        let request = stage.post("/publish/amq.default/batch").header("content-type", "application/json");
        let answer = Answer::to(request.body(body.to_owned())).await;
        assert_eq!((answer.status, answer.text("field").as_str()), (status, field), "{body:.40}");
        assert_eq!(
            (answer.text("outcome").as_str(), &answer.json()["retryable"]),
            ("not_sent", &false.into())
        );
        assert!(status != 413 || answer.text("detail").contains("GATEWAY_MAX_BATCH_ITEMS"));
    }
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn headers_of_a_single_message_and_other_media_types_are_refused_on_the_batch_path() {
    let stage = Stage::with_queue("batch_headers").await;
    let request = |name: &'static str, value: &'static str| {
        let request = stage.post("/publish/amq.default/batch?routing_key=q").header(name, value);
        let has_type = name == "content-type";
        let request = if has_type { request } else { request.header("content-type", "application/json") };
        Answer::to(request.body(r#"[{"body":1}]"#))
    };
    for (name, value, status) in [
        ("content-type", "text/plain", 415),
        ("content-type", "application/json; charset=latin1", 415),
        ("content-encoding", "gzip", 415),
        ("x-amqp-type", "greeting", 400),
        ("idempotency-key", "once", 400),
    ] {
        let answer = request(name, value).await;
        assert_eq!(answer.status, status, "{name}");
    }
    assert_eq!(stage.observer.count("q").await, Some(0));
}

#[tokio::test]
async fn with_return_minimal_only_the_failed_messages_are_listed() {
    let stage = Stage::with_queue("batch_minimal").await;
    let items = json!([{"routing_key": "q", "body": 1}, {"routing_key": "nowhere", "body": 2}]);
    let request = stage.post("/publish/amq.default/batch").header("content-type", "application/json");
    let answer = Answer::to(request.header("prefer", "return=minimal").body(items.to_string())).await;
    let body = answer.json();
    assert_eq!((answer.status, answer.header("preference-applied")), (207, "return=minimal"));
    assert_eq!((members(&body, "index"), &body["counts"]["confirmed"]), (vec![1.into()], &1.into()));
}

#[tokio::test]
async fn parameters_hold_for_the_messages_that_do_not_say_them_and_contradict_the_others() {
    let stage = Stage::with_queue("batch_parameters").await;
    let items = json!([
        {"routing_key": "q", "body": 1},
        {"body": 2},
        {"routing_key": "q", "mandatory": true, "body": 3},
        {"routing_key": "other", "body": 4},
    ]);
    let path = "/publish/amq.default/batch?routing_key=q&mandatory=false";
    let body = batch(&stage, path, &items).await.json();
    let malformed = ("not_sent", "malformed-request");
    assert_eq!(verdicts(&body), pairs(&[("accepted", ""), ("accepted", ""), malformed, malformed]), "{body}");
    assert_eq!(body["results"][3]["problem"]["field"], "routing_key");
    for path in ["batch?timeout=2m", "batch?timeout=0", "batch?retry=maybe", "batch?colour=red"] {
        let answer = batch(&stage, &format!("/publish/amq.default/{path}"), &items).await;
        assert_eq!(answer.status, 400, "{path}");
    }
}

#[tokio::test]
async fn every_message_carries_the_trace_of_the_request_unless_it_has_its_own() {
    let stage = Stage::with_queue("batch_trace").await;
    let items = json!([{"body": 1}, {"headers": {"traceparent": "own"}, "body": 2}]);
    let request = stage.post("/publish/amq.default/batch?routing_key=q").header("traceparent", "outer");
    let answer = Answer::to(request.header("content-type", "application/json").body(items.to_string())).await;
    assert_eq!(answer.status, 200);
    let traces = stage.observer.drain("q").await;
    let trace = |it: &Delivery| it.properties.headers().as_ref()?.inner().get("traceparent").cloned();
    let text = |text: &str| Some(AMQPValue::LongString(text.into()));
    assert_eq!(traces.iter().map(trace).collect::<Vec<_>>(), [text("outer"), text("own")]);
}

#[tokio::test]
async fn messages_with_one_message_id_are_published_one_after_the_other() {
    let stage = Stage::with_queue("batch_same_id").await;
    let item = |n: usize| json!({"properties": {"message_id": "one"}, "body_text": n.to_string()});
    let items: Value = (0..40).map(item).collect();
    let answer = batch(&stage, "/publish/amq.default/batch?routing_key=q", &items).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(bodies(&stage, "q").await, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// A small batch of wrong items had an answer 80 times its size, outside every limit.
#[tokio::test]
async fn a_batch_whose_results_have_no_room_is_refused_before_a_message_is_sent() {
    let settings = [("GATEWAY_MAX_BODY_BYTES", "64KiB"), ("GATEWAY_MAX_BYTES_IN_FLIGHT", "64KiB")];
    let stage = Stage::set_with("batch_room", &settings).await;
    stage.observer.declare_queue("q").await;
    let path = "/publish/amq.default/batch?routing_key=q";
    let answer = batch(&stage, path, &texts(0, 150)).await;
    assert_eq!(answer.verdict(), (503, "overloaded".to_owned()));
    assert_eq!(answer.text("outcome"), "not_sent");
    assert_eq!(stage.observer.count("q").await, Some(0));
    assert_eq!(batch(&stage, path, &texts(0, 100)).await.status, 200);
    assert_eq!(stage.gateway.metric("gateway_http_body_bytes_in_flight").await, Some(0.0));
}

#[tokio::test]
async fn a_whole_batch_to_a_missing_exchange_is_refused_within_a_second() {
    let stage = Stage::set("batch_missing").await;
    let begun = Instant::now();
    let answer = batch(&stage, "/publish/absent/batch?routing_key=q", &texts(0, 1000)).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["counts"]["not_sent"]), (207, &1000.into()));
    assert!(verdicts(&body).iter().all(|(_, problem)| problem == "exchange-not-found"), "{body}");
    assert!(begun.elapsed() < Duration::from_secs(5), "after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_batch_that_rabbitmq_is_too_late_for_is_503_as_a_whole_and_may_be_sent_again() {
    let gateway = TestGateway::start_unready(&[("RABBITMQ_PORT", "1")]).await;
    let request = gateway.post("/publish/amq.default/batch?routing_key=q&timeout=300ms");
    let answer =
        Answer::to(request.header("content-type", "application/json").body(texts(0, 600).to_string())).await;
    assert_eq!(answer.verdict(), (503, "broker-unavailable".to_owned()), "{}", answer.json());
    assert_eq!((answer.text("outcome").as_str(), &answer.json()["retryable"]), ("not_sent", &true.into()));
}

#[tokio::test]
async fn a_batch_of_cloudevents_becomes_messages_by_the_routing_key_of_the_query_or_of_each_event() {
    let stage = Stage::with_queue("batch_events").await;
    let event = |id: &str, kind: &str| json!({"specversion": "1.0", "id": id, "source": "/shop", "type": kind, "data": {"id": id}});
    let send = async |path: &str, items: Value| {
        let request = stage.post(path).header("content-type", "application/cloudevents-batch+json");
        Answer::to(request.body(items.to_string())).await
    };
    let items = json!([event("a", "q"), {"specversion": "1.0", "id": "b"}, event("c", "nowhere")]);
    let body = send("/publish/amq.default/batch?routing_key_from=type", items).await.json();
    let expected = [("confirmed", ""), ("not_sent", "malformed-request"), ("unroutable", "unroutable")];
    assert_eq!(verdicts(&body), pairs(&expected), "{body}");
    assert_eq!(members(&body, "id"), ["a", "b", "c"].map(Value::from));
    let answer = send("/publish/amq.default/batch?routing_key=q", json!([event("d", "x")])).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let answer =
        send("/publish/amq.default/batch?routing_key=q&cloudevents=structured", json!([event("e", "x")]));
    assert_eq!(answer.await.status, 200);
    let drained = stage.observer.drain("q").await;
    let header = |it: &Delivery| it.properties.headers().as_ref()?.inner().get("cloudEvents_id").cloned();
    let text = |text: &str| Some(AMQPValue::LongString(text.into()));
    assert_eq!(drained.iter().map(header).collect::<Vec<_>>(), [text("a"), text("d"), None]);
    assert_eq!(drained[0].data, br#"{"id":"a"}"#);
    let structured: Value = serde_json::from_slice(&drained[2].data).expect("a document");
    assert_eq!(structured, event("e", "x"));
}

#[tokio::test]
async fn parameters_and_headers_of_events_are_refused_beside_envelopes() {
    let stage = Stage::set("batch_no_events").await;
    let ask = |path: &str, header: (&'static str, &'static str), media_type: &'static str| {
        let request = stage.post(path).header("content-type", media_type).header(header.0, header.1);
        Answer::to(request.body("[]"))
    };
    let (batch, none) = ("/publish/amq.default/batch", ("accept", "*/*"));
    let events = "application/cloudevents-batch+json";
    let with_mode = format!("{batch}?cloudevents=structured");
    let with_key = format!("{batch}?routing_key_from=type&routing_key=q");
    for (path, header, media_type, status) in [
        (with_mode.as_str(), none, "application/json", 400),
        (with_key.as_str(), none, events, 400),
        (batch, ("ce-specversion", "1.0"), "application/json", 400),
        (batch, none, "application/cloudevents-batch+json; charset=latin1", 415),
        (batch, none, "application/cloudevents+json", 415),
        (batch, none, "application/cloudevents-batch+json; charset=UTF-8", 200),
    ] {
        let answer = ask(path, header, media_type).await;
        assert_eq!(answer.status, status, "{path} {media_type}: {}", answer.json());
    }
}
