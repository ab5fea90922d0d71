//! CloudEvents over HTTP, as a second AMQP client reads the messages: both content modes in, both content modes out, and the refusals
//! that need the whole gateway.
//!
//! `src/http/codec/cloudevents/tests/` has the examples of the specification and all mistakes in events.

mod sdk;

use std::{collections::BTreeMap, time::Duration};

use lapin::{ExchangeKind, message::Delivery, types::AMQPValue};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::support::{
    contract::Answer,
    echo::{echo, serve},
    observer::message_id,
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(10);
const STRUCTURED: &str = "application/cloudevents+json";
const EVENT: &str = r#"{"specversion":"1.0","id":"7c2f","source":"/orders","type":"order.created","subject":"42",
    "time":"2018-04-05T17:31:00Z","attempt":5,"urgent":true,"data":{"order": 42}}"#;
const PATH: &str = "/publish/amq.default?routing_key=q";

fn structured(stage: &Stage, path: &str, event: impl Into<String>) -> RequestBuilder {
    stage.post(path).header("content-type", STRUCTURED).body(event.into())
}

fn binary(stage: &Stage, path: &str) -> RequestBuilder {
    let request = stage.post(path).header("ce-specversion", "1.0").header("ce-id", "7c2f");
    request.header("ce-source", "/orders").header("ce-type", "order.created")
}

async fn delivered(stage: &Stage, request: RequestBuilder) -> Delivery {
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let delivery = stage.observer.get_one("q", SOON).await;
    assert_eq!(message_id(&delivery), answer.text("message_id"));
    delivery
}

/// The headers of a message by name.
fn headers(delivery: &Delivery) -> BTreeMap<String, AMQPValue> {
    let table = delivery.properties.headers().clone().unwrap_or_default();
    table.inner().iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn of(headers: &[(&str, AMQPValue)]) -> BTreeMap<String, AMQPValue> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn content_type(delivery: &Delivery) -> String {
    delivery.properties.content_type().as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Status and detail of a refusal, after a check that no message arrived.
async fn refused(stage: &Stage, request: RequestBuilder) -> (u16, String) {
    let answer = Answer::to(request).await;
    assert_eq!(answer.text("outcome"), "not_sent", "{}", answer.json());
    assert_eq!(stage.observer.count("q").await, Some(0));
    (answer.status, answer.text("detail"))
}

#[tokio::test]
async fn an_event_in_structured_mode_arrives_as_headers_and_data() {
    let stage = Stage::with_queue("ce-structured").await;
    let delivery = delivered(&stage, structured(&stage, PATH, EVENT)).await;
    let expected = of(&[
        ("cloudEvents_specversion", text("1.0")),
        ("cloudEvents_id", text("7c2f")),
        ("cloudEvents_source", text("/orders")),
        ("cloudEvents_type", text("order.created")),
        ("cloudEvents_subject", text("42")),
        ("cloudEvents_time", text("2018-04-05T17:31:00Z")),
        ("cloudEvents_attempt", AMQPValue::LongInt(5)),
        ("cloudEvents_urgent", AMQPValue::Boolean(true)),
    ]);
    assert_eq!(headers(&delivery), expected);
    assert_eq!(delivery.data, br#"{"order": 42}"#);
    assert_eq!(content_type(&delivery), "application/json");
    assert_eq!(delivery.properties.delivery_mode(), &Some(2));
    assert_ne!(message_id(&delivery), "7c2f", "the id of an event is unique only within its source");
}

#[tokio::test]
async fn an_event_in_binary_mode_arrives_as_headers_and_data() {
    let stage = Stage::with_queue("ce-binary").await;
    let request = binary(&stage, PATH).header("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80");
    let request = request.header("ce-attempt", "5").header("content-type", "image/png");
    let delivery = delivered(&stage, request.header("content-encoding", "gzip").body(vec![0, 255])).await;
    let expected = of(&[
        ("cloudEvents_specversion", text("1.0")),
        ("cloudEvents_id", text("7c2f")),
        ("cloudEvents_source", text("/orders")),
        ("cloudEvents_type", text("order.created")),
        ("cloudEvents_subject", text("Euro € 😀")),
        ("cloudEvents_attempt", text("5")),
    ]);
    assert_eq!(headers(&delivery), expected);
    assert_eq!((delivery.data.as_slice(), content_type(&delivery).as_str()), (&[0, 255][..], "image/png"));
    let coding = delivery.properties.content_encoding().as_ref().map(ToString::to_string);
    assert_eq!(coding.as_deref(), Some("gzip"));
}

#[tokio::test]
async fn an_event_without_data_arrives_with_an_empty_body() {
    let stage = Stage::with_queue("ce-empty").await;
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;
    for request in [structured(&stage, PATH, event), binary(&stage, PATH)] {
        let delivery = delivered(&stage, request).await;
        assert_eq!((delivery.data.len(), content_type(&delivery).as_str()), (0, ""));
    }
}

#[tokio::test]
async fn properties_are_set_beside_an_event() {
    let stage = Stage::with_queue("ce-beside").await;
    for request in [structured(&stage, PATH, EVENT), binary(&stage, PATH)] {
        let request = request.header("x-amqp-message-id", "m").header("x-amqp-priority", "7");
        let request = request.header("x-amqp-header-tenant", "acme").header("traceparent", "00-a-b-01");
        let delivery = delivered(&stage, request).await;
        assert_eq!((message_id(&delivery).as_str(), delivery.properties.priority()), ("m", &Some(7)));
        let headers = headers(&delivery);
        assert_eq!(headers.get("tenant"), Some(&text("acme")));
        assert_eq!(headers.get("traceparent"), Some(&text("00-a-b-01")));
        assert_eq!(headers.get("cloudEvents_id"), Some(&text("7c2f")));
    }
}

#[tokio::test]
async fn a_structured_message_keeps_the_document_byte_for_byte() {
    let stage = Stage::with_queue("ce-whole").await;
    let path = format!("{PATH}&cloudevents=structured");
    let request = structured(&stage, &path, EVENT).header("ce-specversion", "ignored");
    let delivery = delivered(&stage, request).await;
    assert_eq!(delivery.data, EVENT.as_bytes());
    assert_eq!((content_type(&delivery).as_str(), headers(&delivery)), (STRUCTURED, of(&[])));
}

#[tokio::test]
async fn an_event_in_binary_mode_becomes_a_document_on_request() {
    let stage = Stage::with_queue("ce-document").await;
    let path = format!("{PATH}&cloudevents=structured");
    for (media_type, body, member, value) in [
        ("application/json", r#"{"order": 42}"#, "data", json!({"order": 42})),
        ("text/plain", "größer", "data", json!("größer")),
        ("image/png", "png", "data_base64", json!("cG5n")),
    ] {
        let request = binary(&stage, &path).header("content-type", media_type).body(body);
        let delivery = delivered(&stage, request).await;
        assert_eq!((content_type(&delivery).as_str(), headers(&delivery)), (STRUCTURED, of(&[])));
        let document: serde_json::Value = serde_json::from_slice(&delivery.data).unwrap();
        let expected = json!({
            "specversion": "1.0", "id": "7c2f", "source": "/orders", "type": "order.created",
            "datacontenttype": media_type, member: value
        });
        assert_eq!(document, expected);
    }
    let coded = binary(&stage, &path).header("content-encoding", "gzip").body("x");
    let (status, detail) = refused(&stage, coded).await;
    assert!(status == 415 && detail.contains("send it without Content-Encoding"), "{status} {detail}");
}

#[tokio::test]
async fn an_attribute_is_the_routing_key_on_request() {
    let stage = Stage::with_queue("ce-key").await;
    stage.observer.declare_exchange("events", ExchangeKind::Topic).await;
    let event = r#"{"specversion":"1.0","id":"1","source":"s","type":"order.created","subject":"a.b","partitionkey":7}"#;
    for (attribute, key) in [("type", "order.created"), ("subject", "a.b"), ("partitionkey", "7")] {
        stage.observer.bind("q", "events", key).await;
        let path = format!("/publish/events?routing_key_from={attribute}");
        let delivery = delivered(&stage, structured(&stage, &path, event)).await;
        assert_eq!(delivery.routing_key.as_str(), key);
    }
    let in_binary = binary(&stage, "/publish/events?routing_key_from=type&cloudevents=structured");
    assert_eq!(delivered(&stage, in_binary.body("x")).await.routing_key.as_str(), "order.created");
    let missing = binary(&stage, "/publish/events?routing_key_from=subject").body("x");
    let (status, detail) = refused(&stage, missing).await;
    assert_eq!(
        (status, detail.as_str()),
        (400, "ce-subject is missing: routing_key_from=subject takes the routing key from it")
    );
}

#[tokio::test]
async fn the_prefix_of_the_headers_is_a_setting() {
    let stage = Stage::set_with("ce-prefix", &[("GATEWAY_CLOUDEVENTS_PREFIX", "ce-")]).await;
    stage.observer.declare_queue("q").await;
    let delivery = delivered(&stage, binary(&stage, PATH)).await;
    let names: Vec<_> = headers(&delivery).into_keys().collect();
    assert_eq!(names, ["ce-id", "ce-source", "ce-specversion", "ce-type"]);
}

#[tokio::test]
async fn ce_headers_without_the_version_are_ignored() {
    let stage = Stage::with_queue("ce-none").await;
    let request = stage.publish().header("ce-id", "7c2f").header("ce-datacontenttype", "%");
    assert_eq!(headers(&delivered(&stage, request.body("x")).await), of(&[]));
}

#[tokio::test]
async fn a_call_passes_an_event_on_as_bytes() {
    let stage = Stage::set("ce-call").await;
    serve(&stage.observer, "echo", echo).await;
    let answer = Answer::to(structured(&stage, "/rpc/echo", EVENT)).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, EVENT.as_bytes()));
}

#[tokio::test]
async fn the_parameters_about_events_need_an_event() {
    let stage = Stage::with_queue("ce-parameters").await;
    let envelope = stage.post(&format!("{PATH}&cloudevents=binary")).body(r#"{"body":1}"#);
    let envelope = envelope.header("content-type", "application/vnd.amqp.message+json");
    let raw = stage.post("/publish/amq.default?routing_key_from=type").header("content-type", "a/b");
    for (request, said) in [
        (envelope, "cloudevents is for CloudEvents, and this request is none"),
        (raw, "routing_key_from is for CloudEvents, and this request is none"),
        (
            structured(&stage, &format!("{PATH}&cloudevents=batch"), EVENT),
            "cloudevents must be binary or structured, not \"batch\"",
        ),
        (
            structured(&stage, "/publish/amq.default?routing_key_from=id", EVENT),
            "routing_key_from must be type, subject or partitionkey, not \"id\"",
        ),
        (
            structured(&stage, &format!("{PATH}&routing_key_from=type"), EVENT),
            "routing_key_from is given beside routing_key: give one of the two",
        ),
    ] {
        let (status, detail) = refused(&stage, request).await;
        assert!(status == 400 && detail.starts_with(said), "{status} {detail}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_single_event_in_utf_8_is_refused() {
    let stage = Stage::with_queue("ce-media-type").await;
    let post = |media_type: &str| stage.post(PATH).header("content-type", media_type).body(EVENT);
    let latin = post("application/cloudevents+json; charset=iso-8859-1");
    let batch = post("application/cloudevents-batch+json; charset=utf-8");
    let coded = structured(&stage, PATH, EVENT).header("content-encoding", "gzip");
    let envelope = binary(&stage, PATH).header("content-type", "application/vnd.amqp.message+json");
    for (request, status, said) in [
        (latin, 415, "a CloudEvent cannot have the character set \"iso-8859-1\": send it as UTF-8"),
        (
            batch,
            415,
            "this path takes one CloudEvent, not a batch: send the batch to POST /publish/{exchange}/batch",
        ),
        (coded, 415, "a CloudEvent in structured mode cannot have the content coding \"gzip\""),
        (envelope.body(r#"{"body":1}"#), 400, "ce-specversion is not allowed beside an envelope"),
    ] {
        let (answered, detail) = refused(&stage, request).await;
        assert!(answered == status && detail.starts_with(said), "{answered} {detail}");
    }
    let utf8 = post("Application/CloudEvents+JSON; charset=\"UTF-8\"");
    assert_eq!(delivered(&stage, utf8).await.data, br#"{"order": 42}"#);
}

#[tokio::test]
async fn the_limits_of_headers_hold_for_attributes() {
    let stage = Stage::with_queue("ce-limits").await;
    let many: Vec<_> = (0..97).map(|n| format!("\"a{n}\":1")).collect();
    let event =
        |members: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{members}}}"#);
    let large = event(&format!("\"a\":\"{}\"", "x".repeat(16 * 1024)));
    for (event, status, said) in [
        (event(&many.join(",")), 400, "the message's headers must hold at most 100 values, these hold 101"),
        (large.clone(), 431, "the message's headers must be at most 16384 bytes when encoded"),
    ] {
        let (answered, detail) = refused(&stage, structured(&stage, PATH, event)).await;
        assert!(answered == status && detail.starts_with(said), "{answered} {detail}");
    }
    // In a document the attributes are no headers.
    let path = format!("{PATH}&cloudevents=structured");
    assert_eq!(delivered(&stage, structured(&stage, &path, large.clone())).await.data, large.as_bytes());
    let forged = Stage::set_with("ce-forged", &[("GATEWAY_CLOUDEVENTS_PREFIX", "x-")]).await;
    let answer = Answer::to(structured(&forged, "/publish/amq.default", event("\"death\":1"))).await;
    assert_eq!(
        (answer.status, answer.text("detail").as_str()),
        (400, "headers.x-death is a header that only RabbitMQ may write: leave it out")
    );
}
