//! The envelope: every property and header type as the second AMQP client reads it, the three kinds of body, and the mistakes
//! that are refused with the name of the field.

use std::time::Duration;

use lapin::{
    message::Delivery,
    types::{AMQPValue, DecimalValue, FieldArray, FieldTable},
};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::support::{contract::Answer, stage::Stage};

const SOON: Duration = Duration::from_secs(10);
const ENVELOPE: &str = "application/vnd.amqp.message+json";

fn envelope(stage: &Stage, json: impl Into<String>) -> RequestBuilder {
    stage.post("/publish/amq.default").header("content-type", ENVELOPE).body(json.into())
}

/// Publishes an envelope with these members and `"routing_key":"q"`, and takes the message out of `q`.
async fn delivered(stage: &Stage, members: &str) -> Delivery {
    let answer = Answer::to(envelope(stage, format!("{{\"routing_key\":\"q\",{members}}}"))).await;
    assert_eq!(answer.status, 200, "{members}: {}", answer.json());
    stage.observer.get_one("q", SOON).await
}

fn table(delivery: &Delivery) -> FieldTable {
    delivery.properties.headers().clone().unwrap_or_default()
}

fn of(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), value.clone());
    }
    table
}

#[tokio::test]
async fn every_property_arrives() {
    let stage = Stage::with_queue("envelope").await;
    let properties = r#""body":1,"properties":{"content_type":"a/b","content_encoding":"gzip",
        "delivery_mode":"transient","priority":7,"correlation_id":"c","reply_to":"r","expiration":60000,
        "message_id":"m","timestamp":1795478400,"type":"t","user_id":"guest","app_id":"a","cluster_id":"l"}"#;
    let delivery = delivered(&stage, properties).await;
    let expected = lapin::BasicProperties::default()
        .with_content_type("a/b".into())
        .with_content_encoding("gzip".into())
        .with_headers(FieldTable::default())
        .with_delivery_mode(1)
        .with_priority(7)
        .with_correlation_id("c".into())
        .with_reply_to("r".into())
        .with_expiration("60000".into())
        .with_message_id("m".into())
        .with_timestamp(1_795_478_400)
        .with_type("t".into())
        .with_user_id("guest".into())
        .with_app_id("a".into())
        .with_cluster_id("l".into());
    assert_eq!(delivery.properties.with_headers(FieldTable::default()), expected);
}

#[tokio::test]
async fn properties_may_be_written_as_text_or_number() {
    let stage = Stage::with_queue("spelt").await;
    for properties in [
        r#"{"delivery_mode":1,"priority":"7","expiration":"60000","timestamp":"2026-11-24T00:00:00Z"}"#,
        r#"{"delivery_mode":1.0,"priority":7.0,"expiration":6e4,"timestamp":1795478400.0}"#,
    ] {
        let given = delivered(&stage, &format!(r#""body":1,"properties":{properties}"#)).await.properties;
        assert_eq!(
            (*given.delivery_mode(), *given.priority(), *given.timestamp()),
            (Some(1), Some(7), Some(1_795_478_400)),
            "{properties}"
        );
        assert_eq!(given.expiration().as_ref().map(ToString::to_string).as_deref(), Some("60000"));
    }
}

/// JSON as people write it, and the AMQP value that arrives.
fn header_types() -> Vec<(&'static str, AMQPValue)> {
    let bytes = |bytes: &[u8]| AMQPValue::ByteArray(bytes.into());
    vec![
        ("true", AMQPValue::Boolean(true)),
        ("false", AMQPValue::Boolean(false)),
        ("null", AMQPValue::Void),
        ("5", AMQPValue::LongLongInt(5)),
        ("-9223372036854775808", AMQPValue::LongLongInt(i64::MIN)),
        ("9223372036854775807", AMQPValue::LongLongInt(i64::MAX)),
        ("1.5", AMQPValue::Double(1.5)),
        ("5.0", AMQPValue::Double(5.0)),
        ("1e300", AMQPValue::Double(1e300)),
        (r#""text €""#, AMQPValue::LongString("text €".into())),
        (r#""line\nbreak\u0000""#, AMQPValue::LongString("line\nbreak\0".into())),
        (r#"{"$amqp":"int8","value":-128}"#, AMQPValue::ShortShortInt(-128)),
        (r#"{"$amqp":"uint8","value":255}"#, AMQPValue::ShortShortUInt(255)),
        (r#"{"$amqp":"int16","value":-32768}"#, AMQPValue::ShortInt(-32768)),
        (r#"{"$amqp":"uint16","value":65535}"#, AMQPValue::ShortUInt(65535)),
        (r#"{"$amqp":"int32","value":-2147483648}"#, AMQPValue::LongInt(i32::MIN)),
        (r#"{"$amqp":"uint32","value":4294967295}"#, AMQPValue::LongUInt(u32::MAX)),
        (r#"{"$amqp":"int64","value":5}"#, AMQPValue::LongLongInt(5)),
        (r#"{"$amqp":"float32","value":0.1}"#, AMQPValue::Float(0.1)),
        (r#"{"$amqp":"float64","value":2}"#, AMQPValue::Double(2.0)),
        (r#"{"$amqp":"float64","value":"1e9"}"#, AMQPValue::Double(1e9)),
        (
            r#"{"$amqp":"decimal","value":{"scale":2,"value":314}}"#,
            AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 }),
        ),
        (r#"{"$amqp":"timestamp","value":1795478400}"#, AMQPValue::Timestamp(1_795_478_400)),
        (r#"{"$amqp":"timestamp","value":"2026-11-24T00:00:00Z"}"#, AMQPValue::Timestamp(1_795_478_400)),
        (r#"{"$amqp":"bytes","value":"AP8="}"#, bytes(&[0, 255])),
        (r#"{"$amqp":"longstr","value":"/w=="}"#, AMQPValue::LongString(vec![255].into())),
        (r#"{"$amqp":"void"}"#, AMQPValue::Void),
    ]
}

#[tokio::test]
async fn every_header_type_arrives_as_exactly_that_type() {
    let stage = Stage::with_queue("types").await;
    let cases = header_types();
    let members = |cases: &[(&str, AMQPValue)]| {
        let members: Vec<_> =
            cases.iter().enumerate().map(|(n, (json, _))| format!("\"h{n}\":{json}")).collect();
        members.join(",")
    };
    let delivery = delivered(&stage, &format!("\"body\":1,\"headers\":{{{}}}", members(&cases))).await;
    let arrived = table(&delivery);
    for (n, (json, value)) in cases.iter().enumerate() {
        assert_eq!(arrived.inner().get(format!("h{n}").as_str()), Some(value), "{json}");
    }
}

#[tokio::test]
async fn tables_and_arrays_nest_and_keep_their_types() {
    let stage = Stage::with_queue("nested").await;
    let headers = r#""body":1,"headers":{"Case-Kept":"x","list":[1,"two",{"$amqp":"int8","value":3},[],{"in":[null]}],
        "table":{"a":{"$amqp":"uint16","value":1},"b":{}}}"#;
    let arrived = table(&delivered(&stage, headers).await);
    let inner = of(&[("in", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void])))]);
    let list = vec![
        AMQPValue::LongLongInt(1),
        AMQPValue::LongString("two".into()),
        AMQPValue::ShortShortInt(3),
        AMQPValue::FieldArray(FieldArray::from(vec![])),
        AMQPValue::FieldTable(inner),
    ];
    let nested = of(&[("a", AMQPValue::ShortUInt(1)), ("b", AMQPValue::FieldTable(FieldTable::default()))]);
    let expected = of(&[
        ("Case-Kept", AMQPValue::LongString("x".into())),
        ("list", AMQPValue::FieldArray(FieldArray::from(list))),
        ("table", AMQPValue::FieldTable(nested)),
    ]);
    assert_eq!(arrived, expected);
}

#[tokio::test]
async fn bodies_are_json_text_or_base64_and_set_the_content_type() {
    let stage = Stage::with_queue("kinds").await;
    let cases: [(&str, &[u8], Option<&str>); 10] = [
        (
            r#""body": {"b" : 1,  "a":1.50, "b":2}"#,
            br#"{"b" : 1,  "a":1.50, "b":2}"#,
            Some("application/json"),
        ),
        (r#""body":null"#, b"null", Some("application/json")),
        (r#""body":"\u00e9""#, br#""\u00e9""#, Some("application/json")),
        (
            r#""body":123456789012345678901234567890.10"#,
            b"123456789012345678901234567890.10",
            Some("application/json"),
        ),
        (r#""body_text":"plain""#, b"plain", Some("text/plain; charset=utf-8")),
        (r#""body_text":"\u00e9\n\u0000""#, b"\xc3\xa9\n\0", Some("text/plain; charset=utf-8")),
        (r#""body_text":"""#, b"", Some("text/plain; charset=utf-8")),
        (r#""body_base64":"AP8=""#, b"\0\xff", None),
        (r#""body_base64":"""#, b"", None),
        (r#""body":1,"properties":{"content_type":"a/b"}"#, b"1", Some("a/b")),
    ];
    for (members, body, content_type) in cases {
        let delivery = delivered(&stage, members).await;
        assert_eq!(delivery.data, body, "{members}");
        let given = delivery.properties.content_type().as_ref().map(ToString::to_string);
        assert_eq!(given.as_deref(), content_type, "{members}");
    }
}

#[tokio::test]
async fn routing_key_and_mandatory_of_the_envelope_work_like_those_of_the_query() {
    let stage = Stage::with_queue("where").await;
    let answer = Answer::to(envelope(&stage, r#"{"routing_key":"none","mandatory":false,"body":1}"#)).await;
    assert_eq!((answer.status, answer.text("outcome")), (200, "accepted".to_owned()));
    let post = |query: &str, json: &str| {
        let request = stage.post(&format!("/publish/amq.default?{query}"));
        Answer::to(request.header("content-type", format!("{ENVELOPE}; charset=utf-8")).body(json.to_owned()))
    };
    assert_eq!(post("routing_key=q", r#"{"body":1}"#).await.status, 200);
    assert_eq!(post("routing_key=q", r#"{"routing_key":"q","body":1}"#).await.status, 200);
    let answer = post("routing_key=q", r#"{"routing_key":"other","body":1}"#).await;
    assert_eq!((answer.status, answer.text("field")), (400, "routing_key".to_owned()));
    let answer = post("routing_key=q&mandatory=true", r#"{"mandatory":false,"body":1}"#).await;
    assert_eq!((answer.status, answer.text("field")), (400, "mandatory".to_owned()));
    assert_eq!(stage.observer.drain("q").await.len(), 2);
}

#[tokio::test]
async fn trace_context_of_the_envelope_replaces_that_of_the_request() {
    let stage = Stage::with_queue("both-traces").await;
    let json = r#"{"routing_key":"q","body":1,"headers":{"traceparent":"inner"}}"#;
    let request = envelope(&stage, json).header("traceparent", "outer").header("baggage", "k=v");
    assert_eq!(Answer::to(request).await.status, 200);
    let arrived = table(&stage.observer.get_one("q", SOON).await);
    let text = |text: &str| AMQPValue::LongString(text.into());
    assert_eq!(arrived, of(&[("traceparent", text("inner")), ("baggage", text("k=v"))]));
}

/// An envelope that is refused with 400, and the field that the problem names.
const REFUSED: &[(&str, &str)] = &[
    ("", "body"),
    ("[]", "body"),
    ("\"x\"", "body"),
    ("{\"body\":1", "body"),
    ("{\"body\":1}x", "body"),
    ("{}", "body"),
    (r#"{"body":1,"body_text":"x"}"#, "body"),
    (r#"{"body_text":"x","body_base64":"eA=="}"#, "body"),
    (r#"{"body":1,"body":2}"#, "body"),
    (r#"{"body_text":5}"#, "body_text"),
    (r#"{"body_base64":"%%%"}"#, "body_base64"),
    (r#"{"body_base64":"eA"}"#, "body_base64"),
    (r#"{"body":1,"unheard_of":1}"#, "unheard_of"),
    (r#"{"body":1,"exchange":"x"}"#, "exchange"),
    (r#"{"body":1,"routing_key":"a","routing_key":"b"}"#, "routing_key"),
    (r#"{"body":1,"routing_key":5}"#, "routing_key"),
    (r#"{"body":1,"routing_key":"a\n"}"#, "routing_key"),
    (r#"{"body":1,"mandatory":"yes"}"#, "mandatory"),
    (r#"{"body":1,"properties":[]}"#, "properties"),
    (r#"{"body":1,"properties":null}"#, "properties"),
    (r#"{"body":1,"properties":{"type":5}}"#, "properties.type"),
    (r#"{"body":1,"properties":{"type":"a\u0007"}}"#, "properties.type"),
    (r#"{"body":1,"properties":{"type":"a","type":"b"}}"#, "properties.type"),
    (r#"{"body":1,"properties":{"kind":"a"}}"#, "properties.kind"),
    (r#"{"body":1,"properties":{"headers":{}}}"#, "properties.headers"),
    (r#"{"body":1,"properties":{"priority":256}}"#, "properties.priority"),
    (r#"{"body":1,"properties":{"priority":-1}}"#, "properties.priority"),
    (r#"{"body":1,"properties":{"priority":1.5}}"#, "properties.priority"),
    (r#"{"body":1,"properties":{"priority":true}}"#, "properties.priority"),
    (r#"{"body":1,"properties":{"expiration":"5s"}}"#, "properties.expiration"),
    (r#"{"body":1,"properties":{"expiration":315360000001}}"#, "properties.expiration"),
    (r#"{"body":1,"properties":{"timestamp":1795478400000}}"#, "properties.timestamp"),
    (r#"{"body":1,"properties":{"delivery_mode":0}}"#, "properties.delivery_mode"),
    (r#"{"body":1,"properties":{"delivery_mode":3}}"#, "properties.delivery_mode"),
    (r#"{"body":1,"properties":{"timestamp":-1}}"#, "properties.timestamp"),
    (r#"{"body":1,"properties":{"timestamp":"noon"}}"#, "properties.timestamp"),
    (r#"{"body":1,"properties":{"user_id":"somebody"}}"#, "properties.user_id"),
    (r#"{"body":1,"properties":{"reply_to":"amq.rabbitmq.reply-to"}}"#, "properties.reply_to"),
    (r#"{"body":1,"headers":[]}"#, "headers"),
    (r#"{"body":1,"headers":null}"#, "headers"),
    (r#"{"body":1,"headers":{"a":1,"a":2}}"#, "headers.a"),
    (r#"{"body":1,"headers":{"t":{"a":1,"a":2}}}"#, "headers.t.a"),
    (r#"{"body":1,"headers":{"a\n":1}}"#, "headers"),
    (r#"{"body":1,"headers":{"a":{"$amqp":"int8","value":128}}}"#, "headers.a"),
    (r#"{"body":1,"headers":{"a":{"$amqp":"int128","value":1}}}"#, "headers.a"),
    (r#"{"body":1,"headers":{"a":{"$amqp":"int8","value":1,"more":1}}}"#, "headers.a"),
    (r#"{"body":1,"headers":{"a":{"$amqp":"bytes","value":"%"}}}"#, "headers.a"),
    (r#"{"body":1,"headers":{"a":9223372036854775808}}"#, "headers.a"),
    (r#"{"body":1,"headers":{"a":18446744073709551616}}"#, "headers.a"),
    (r#"{"body":1,"headers":{"a":[1,{"b":-9223372036854775809}]}}"#, "headers.a[1].b"),
    (r#"{"body":1,"headers":{"a":{"$amqp":"int64","value":18446744073709551616}}}"#, "headers.a"),
    (r#"{"body":1,"properties":{"timestamp":18446744073709551616}}"#, "properties.timestamp"),
    (r#"{"body":1,"headers":{"a":{"$amqp":"float64","value":"-inf"}}}"#, "headers"),
    (r#"{"body":1,"headers":{"a":[{"$amqp":"float32","value":"NaN"}]}}"#, "headers"),
    (r#"{"body":1,"headers":{"a":{"b":{"$amqp":"float32","value":1e300}}}}"#, "headers"),
    (r#"{"body":1,"headers":{"CC":"other"}}"#, "headers.CC"),
    (r#"{"body":1,"headers":{"CC":["other",1]}}"#, "headers.CC"),
    (r#"{"body":1,"headers":{"BCC":[{"$amqp":"bytes","value":"b3RoZXI="}]}}"#, "headers.BCC"),
    (r#"{"body":1,"headers":{"cc":["other"]}}"#, "headers.cc"),
    (r#"{"body":1,"headers":{"x-gateway-principal":"shop"}}"#, "headers.x-gateway-principal"),
    (r#"{"body":1,"headers":{"X-Gateway-Principal":"shop"}}"#, "headers.X-Gateway-Principal"),
    (r#"{"body":1,"headers":{"x-death":[]}}"#, "headers.x-death"),
    (r#"{"body":1,"headers":{"x-first-death-queue":"q"}}"#, "headers.x-first-death-queue"),
    (r#"{"body":1,"headers":{"x-last-death-queue":"q"}}"#, "headers.x-last-death-queue"),
    (r#"{"body":1,"headers":{"x-delivery-count":1}}"#, "headers.x-delivery-count"),
    (r#"{"body":1,"headers":{"x-acquired-count":1}}"#, "headers.x-acquired-count"),
    (r#"{"body":1,"headers":{"x-opt-a":1}}"#, "headers.x-opt-a"),
];

#[tokio::test]
async fn a_wrong_field_is_400_and_the_problem_names_it() {
    let stage = Stage::set("wrong").await;
    let mut mistakes = Vec::new();
    for (json, field) in REFUSED {
        let answer = Answer::to(envelope(&stage, *json)).await;
        let verdict = (answer.verdict(), answer.text("field"), answer.text("outcome"));
        if verdict != ((400, "malformed-request".to_owned()), (*field).to_owned(), "not_sent".to_owned()) {
            mistakes.push(format!("{json}: {}", answer.json()));
        }
    }
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}

#[tokio::test]
async fn cc_and_bcc_route_a_message_to_more_queues_and_consumers_do_not_see_bcc() {
    let stage = Stage::with_queue("cc").await;
    for queue in ["copy", "blind"] {
        stage.observer.declare_queue(queue).await;
    }
    let delivery = delivered(&stage, r#""body":1,"headers":{"CC":["copy","missing"],"BCC":["blind"]}"#).await;
    assert!(table(&delivery).inner().contains_key("CC"));
    assert!(!table(&delivery).inner().contains_key("BCC"));
    for queue in ["copy", "blind"] {
        assert_eq!(stage.observer.drain(queue).await.len(), 1, "{queue}");
    }
    // One queue is enough, and without any the message is unroutable.
    for (cc, status) in [("copy", 200), ("missing", 422)] {
        let json = format!(r#"{{"routing_key":"none","body":1,"headers":{{"CC":["{cc}"]}}}}"#);
        let answer = Answer::to(envelope(&stage, json)).await;
        assert_eq!(answer.status, status, "{cc}");
        assert_eq!(answer.text("detail").contains("CC and BCC"), status == 422, "{answer:?}");
    }
    assert_eq!(stage.observer.drain("copy").await.len(), 1);
}

#[tokio::test]
async fn the_problem_of_a_refused_envelope_contains_its_message_id() {
    let stage = Stage::set("told").await;
    for (members, status) in [
        (r#""headers":{"CC":"x"}"#, 400),
        (r#""headers":{"CC":["x","amq.gen-x"]}"#, 403),
        (r#""routing_key":"amq.gen-x""#, 403),
        (r#""routing_key":"none""#, 422),
    ] {
        let json = format!(r#"{{"body":1,"properties":{{"message_id":"m"}},{members}}}"#);
        let answer = Answer::to(envelope(&stage, json)).await;
        assert_eq!((answer.status, answer.text("message_id")), (status, "m".to_owned()), "{members}");
    }
}

#[tokio::test]
async fn headers_over_the_limits_are_refused_and_headers_at_the_limits_are_accepted() {
    let stage = Stage::with_queue("header-limits").await;
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("\"h{n}\":{n}")).collect();
        format!("{{{}}}", members.join(","))
    };
    let listed = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count - 1].join(","));
    // 4 bytes for the table, 1 + 1 for the name, 1 + 4 for the value's type and length.
    let large = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 11));
    for fits in [deep(8), many(100), listed(100), large(16 * 1024)] {
        delivered(&stage, &format!("\"body\":1,\"headers\":{fits}")).await;
    }
    let cases = [
        (deep(9), 400, json!(8)),
        (many(101), 400, json!(100)),
        (listed(101), 400, json!(100)),
        (large(16 * 1024 + 1), 431, json!(16 * 1024)),
    ];
    for (headers, status, limit) in cases {
        let answer = Answer::to(envelope(&stage, format!("{{\"body\":1,\"headers\":{headers}}}"))).await;
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["limit"], &body["field"]),
            (status, &limit, &json!("headers")),
            "{body}"
        );
    }
    let answer = Answer::to(envelope(&stage, format!("{{\"body\":1,\"headers\":{}}}", deep(5000)))).await;
    assert_eq!(answer.status, 400, "{}", answer.json());
}

#[tokio::test]
async fn envelope_with_a_content_coding_is_415() {
    let stage = Stage::with_queue("coding").await;
    let json = r#"{"routing_key":"q","body":1}"#;
    for coding in ["gzip", "br", "identity, gzip"] {
        let answer = Answer::to(envelope(&stage, json).header("content-encoding", coding)).await;
        assert_eq!(answer.verdict(), (415, "unsupported-media-type".to_owned()), "{coding}");
        assert_eq!(answer.text("outcome"), "not_sent");
    }
    assert_eq!(Answer::to(envelope(&stage, json).header("content-encoding", "identity")).await.status, 200);
    let delivery = stage.observer.get_one("q", SOON).await;
    assert!(delivery.properties.content_encoding().is_none());
}

#[tokio::test]
async fn envelope_with_a_character_set_other_than_utf_8_is_415() {
    let stage = Stage::with_queue("charset").await;
    let send = |charset: &str| {
        let media_type = format!("application/vnd.amqp.message+json; charset={charset}");
        let request = stage.post("/publish/amq.default?routing_key=q").header("content-type", media_type);
        Answer::to(request.body(r#"{"body":1}"#))
    };
    let refused = send("latin1").await;
    assert_eq!(refused.verdict(), (415, "unsupported-media-type".to_owned()));
    assert!(refused.text("detail").contains("send it as UTF-8"), "{}", refused.json());
    assert_eq!(stage.observer.count("q").await, Some(0));
    assert_eq!(send("UTF-8").await.status, 200);
}

#[tokio::test]
async fn a_property_header_beside_an_envelope_is_400_and_not_ignored() {
    let stage = Stage::with_queue("envelope-header").await;
    let request = stage.post("/publish/amq.default?routing_key=q").header("content-type", ENVELOPE);
    let answer = Answer::to(request.header("x-amqp-priority", "5").body(r#"{"body": 1}"#)).await;
    assert_eq!((answer.status, answer.text("field")), (400, "x-amqp-priority".to_owned()));
    assert_eq!(stage.observer.count("q").await, Some(0));
}
