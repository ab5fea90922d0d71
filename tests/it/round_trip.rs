//! Random messages go in as envelopes, a second AMQP client reads them, and they come back as replies in envelopes, unchanged.
//!
//! The mapping between AMQP and JSON in this file is written from the documentation, without the gateway's code.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    message::Delivery,
    options::BasicPublishOptions,
    types::{AMQPValue, DecimalValue, FieldTable},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Map, Number, Value, json};

use crate::support::{contract::Answer, poll::within, stage::Stage};

const SOON: Duration = Duration::from_secs(30);
const MESSAGES: usize = 200;

/// Numbers at the edges of their types, and others.
fn edges() -> impl Strategy<Value = AMQPValue> {
    let doubles = prop_oneof![
        Just(f64::MAX),
        Just(f64::MIN_POSITIVE),
        Just(5e-324),
        Just(-0.0),
        any::<f64>().prop_filter("a number that JSON has", |it| it.is_finite()),
    ];
    let floats = prop_oneof![
        Just(f32::MAX),
        Just(f32::MIN),
        any::<f32>().prop_filter("a number that JSON has", |it| it.is_finite()),
    ];
    prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        prop_oneof![Just(i8::MIN), Just(i8::MAX), any::<i8>()].prop_map(AMQPValue::ShortShortInt),
        prop_oneof![Just(u8::MAX), any::<u8>()].prop_map(AMQPValue::ShortShortUInt),
        prop_oneof![Just(i16::MIN), any::<i16>()].prop_map(AMQPValue::ShortInt),
        prop_oneof![Just(u16::MAX), any::<u16>()].prop_map(AMQPValue::ShortUInt),
        prop_oneof![Just(i32::MIN), any::<i32>()].prop_map(AMQPValue::LongInt),
        prop_oneof![Just(u32::MAX), any::<u32>()].prop_map(AMQPValue::LongUInt),
        prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()].prop_map(AMQPValue::LongLongInt),
        doubles.prop_map(AMQPValue::Double),
        floats.prop_map(AMQPValue::Float),
        any::<(u8, u32)>().prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        prop_oneof![Just(0), Just(253_402_300_799), 0..253_402_300_799_u64].prop_map(AMQPValue::Timestamp),
    ]
}

fn any_value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        edges(),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|it| AMQPValue::LongString(it.into())),
        "\\PC{0,12}".prop_map(|it| AMQPValue::LongString(it.into())),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|it| AMQPValue::ByteArray(it.into())),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|it| AMQPValue::FieldArray(it.into())),
            table(inner).prop_map(AMQPValue::FieldTable),
        ]
    })
}

fn table(values: impl Strategy<Value = AMQPValue>) -> impl Strategy<Value = FieldTable> {
    let name = prop_oneof![Just("$amqp".to_owned()), Just("value".to_owned()), "[a-zé😀]{1,10}"];
    prop::collection::btree_map(name, values, 0..5).prop_map(|members| {
        let mut table = FieldTable::default();
        for (name, value) in members {
            table.insert(name.into(), value);
        }
        table
    })
}

/// The basic properties as JSON, in the words of the envelope.
fn any_properties() -> impl Strategy<Value = Map<String, Value>> {
    let names =
        ["content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id", "cluster_id"];
    let texts = prop::collection::vec(prop::option::of("[a-zA-Zé😀 /;=-]{1,40}"), names.len());
    let content_type = prop::option::of(prop_oneof![Just("application/json"), Just("a/b"), Just("x/y+json")]);
    let numbers = (
        prop::option::of(any::<u8>()),
        prop::option::of(prop_oneof![Just(0), Just(315_360_000_000), 60_000..1_000_000_u64]),
        prop::option::of(0..253_402_300_799_u64),
        any::<bool>(),
    );
    (texts, content_type, numbers).prop_map(move |(texts, content_type, numbers)| {
        let (priority, expiration, timestamp, is_transient) = numbers;
        let mode = if is_transient { "transient" } else { "persistent" };
        let texts = names.into_iter().zip(texts).map(|(name, text)| (name, text.map(Value::from)));
        let others = [
            ("content_type", content_type.map(Value::from)),
            ("priority", priority.map(Value::from)),
            // The test reads the message before it expires.
            ("expiration", expiration.filter(|it| *it > 0).map(Value::from)),
            ("timestamp", timestamp.map(Value::from)),
            ("delivery_mode", Some(mode.into())),
        ];
        let all = texts.chain(others).filter_map(|(name, value)| Some((name.to_owned(), value?)));
        all.collect()
    })
}

/// A random message.
#[derive(Debug)]
struct Message {
    properties: Map<String, Value>,
    headers: FieldTable,
    body: Vec<u8>,
}

impl Message {
    fn envelope(&self) -> Value {
        let properties = self.properties.clone();
        json!({"properties": properties, "headers": object(&self.headers), "body_base64": BASE64_STANDARD.encode(&self.body)})
    }
}

fn tagged(kind: &str, value: impl Into<Value>) -> Value {
    json!({"$amqp": kind, "value": value.into()})
}

fn object(table: &FieldTable) -> Value {
    table.inner().iter().map(|(name, value)| (name.to_string(), json_of(value))).collect()
}

/// A value as the documentation writes it: plain where JSON has the type, else tagged.
fn json_of(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Double(value) => Number::from_f64(*value).expect("a finite number").into(),
        AMQPValue::Float(value) => {
            let shortest: Value = serde_json::from_str(&value.to_string()).expect("a number");
            tagged("float32", shortest.as_f64())
        }
        AMQPValue::ShortShortInt(value) => tagged("int8", *value),
        AMQPValue::ShortShortUInt(value) => tagged("uint8", *value),
        AMQPValue::ShortInt(value) => tagged("int16", *value),
        AMQPValue::ShortUInt(value) => tagged("uint16", *value),
        AMQPValue::LongInt(value) => tagged("int32", *value),
        AMQPValue::LongUInt(value) => tagged("uint32", *value),
        AMQPValue::DecimalValue(it) => tagged("decimal", json!({"scale": it.scale, "value": it.value})),
        AMQPValue::Timestamp(value) => tagged("timestamp", *value),
        AMQPValue::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
            Ok(text) => text.into(),
            Err(_) => tagged("longstr", BASE64_STANDARD.encode(text.as_bytes())),
        },
        AMQPValue::ByteArray(bytes) => tagged("bytes", BASE64_STANDARD.encode(bytes.as_slice())),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json_of).collect(),
        AMQPValue::FieldTable(table) if table.inner().keys().any(|name| name.as_str() == "$amqp") => {
            let pairs = table.inner().iter().map(|(name, value)| json!([name.to_string(), json_of(value)]));
            tagged("table", pairs.collect::<Value>())
        }
        AMQPValue::FieldTable(table) => object(table),
        AMQPValue::Void => Value::Null,
        other @ AMQPValue::ShortString(_) => panic!("the test makes no {other:?}"),
    }
}

fn messages() -> Vec<Message> {
    let mut runner = TestRunner::deterministic();
    let strategy = (any_properties(), table(any_value()), prop::collection::vec(any::<u8>(), 0..60));
    let mut next = || strategy.new_tree(&mut runner).expect("a message").current();
    (0..MESSAGES)
        .map(|n| {
            let (mut properties, headers, mut body) = next();
            properties.entry("message_id").or_insert_with(|| format!("m{n}").into());
            if n % 3 == 0 {
                body = json!({"n": n}).to_string().into_bytes();
            }
            Message { properties, headers, body }
        })
        .collect()
}

fn text<T: ToString>(value: Option<&T>) -> Option<Value> {
    value.map(|text| text.to_string().into())
}

/// The properties of a delivery in the words of the envelope.
fn properties_of(delivery: &Delivery) -> Map<String, Value> {
    let given = &delivery.properties;
    let mode = given.delivery_mode().map(|mode| if mode == 1 { "transient" } else { "persistent" });
    let expiration = given.expiration().as_ref().map(|it| it.as_str().parse::<u64>().expect("a number"));
    let all = [
        ("content_type", text(given.content_type().as_ref())),
        ("content_encoding", text(given.content_encoding().as_ref())),
        ("correlation_id", text(given.correlation_id().as_ref())),
        ("reply_to", text(given.reply_to().as_ref())),
        ("message_id", text(given.message_id().as_ref())),
        ("type", text(given.kind().as_ref())),
        ("app_id", text(given.app_id().as_ref())),
        ("cluster_id", text(given.cluster_id().as_ref())),
        ("priority", given.priority().map(Value::from)),
        ("expiration", expiration.map(Value::from)),
        ("timestamp", given.timestamp().map(Value::from)),
        ("delivery_mode", mode.map(Value::from)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Answers the request with the number n by the n-th delivery, with the correlation id of the request.
async fn replay(stage: &Stage, deliveries: Arc<Vec<Delivery>>) {
    stage.observer.declare_queue("replay").await;
    let mut requests = stage.observer.consume("replay").await;
    let channel = stage.observer.channel().await;
    tokio::spawn(async move {
        while let Some(Ok(request)) = requests.next().await {
            let number: usize =
                std::str::from_utf8(&request.data).expect("a number").parse().expect("a number");
            let id = request.properties.correlation_id().clone().expect("an id");
            let to = request.properties.reply_to().clone().expect("an address");
            let properties: BasicProperties = deliveries[number].properties.clone().with_correlation_id(id);
            let body = &deliveries[number].data;
            let sent = channel.basic_publish("".into(), to, BasicPublishOptions::default(), body, properties);
            sent.await.expect("a live channel");
        }
    });
}

#[tokio::test]
async fn a_message_of_any_types_arrives_and_comes_back_as_a_reply_unchanged() {
    let stage = Stage::with_queue("round_trip").await;
    let messages = messages();
    let batch: Value = messages.iter().map(Message::envelope).collect();
    let request =
        stage.post("/publish/amq.default/batch?routing_key=q").header("content-type", "application/json");
    let answer = Answer::to(request.body(batch.to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let deliveries = Arc::new(stage.observer.drain("q").await);
    assert_eq!(deliveries.len(), MESSAGES);
    for (message, delivery) in messages.iter().zip(deliveries.iter()) {
        assert_eq!(properties_of(delivery), message.properties);
        assert_eq!(delivery.properties.headers().clone().unwrap_or_default(), message.headers);
        assert_eq!(delivery.data, message.body);
    }
    replay(&stage, Arc::clone(&deliveries)).await;
    for (n, message) in messages.iter().enumerate() {
        let call = stage.post("/rpc/replay?reply=envelope").header("content-type", "text/plain");
        let reply = within(SOON, "a reply", Answer::to(call.body(n.to_string()))).await.json();
        let mut expected = message.properties.clone();
        let mut properties = reply["properties"].as_object().expect("properties").clone();
        // The correlation id of a reply is that of its request.
        expected.remove("correlation_id");
        properties.remove("correlation_id");
        assert_eq!(properties, expected);
        assert_eq!(reply["headers"], object(&message.headers));
        let text = |member: &str| reply[member].as_str().map(str::to_owned);
        let bytes = text("body_base64").map(|it| BASE64_STANDARD.decode(it).expect("base64"));
        let bytes = bytes.or_else(|| text("body_text").map(String::into_bytes));
        assert_eq!(bytes.unwrap_or_else(|| reply["body"].to_string().into_bytes()), message.body);
    }
}
