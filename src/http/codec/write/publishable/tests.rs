use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::field::HeaderLimits;
use crate::domain::message::{DeliveryMode, MessageId};
use crate::http::codec::{Purpose, check_integers, envelope, refuse};

const USER: &str = "gateway";
/// No limits: a pulled message may have been published by another client.
const LIMITS: HeaderLimits = HeaderLimits { count: usize::MAX, bytes: usize::MAX, depth: usize::MAX };

/// A text of any characters, or one that the gateway knows.
fn any_text() -> impl Strategy<Value = ShortText> {
    let known = ["", USER, "application/json", "text/plain", "amq.rabbitmq.reply-to.g1", "a\nb"];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "\\PC{0,9}", ".{0,9}"]
        .prop_map(|text| ShortText::from_broker(&text))
}

fn any_name() -> impl Strategy<Value = ShortText> {
    let known = [
        "CC",
        "bcc",
        "x-gateway-principal",
        "x-death",
        "x-delivery-count",
        "x-opt-a",
        "x-first-death-queue",
        "$amqp",
        "value",
    ];
    let known = prop::sample::select(known.to_vec()).prop_map(ShortText::from_broker);
    prop_oneof![known, "[a-z$\n]{0,6}".prop_map(|name| ShortText::from_broker(&name))]
}

fn any_value() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i32>().prop_map(FieldValue::I32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<f32>().prop_map(FieldValue::F32),
        any::<f64>().prop_map(FieldValue::F64),
        any::<u64>().prop_map(FieldValue::Timestamp),
        (0..=MAX_TIMESTAMP).prop_map(FieldValue::Timestamp),
        any::<Vec<u8>>().prop_map(FieldValue::Text),
        any::<Vec<u8>>().prop_map(FieldValue::Bytes),
        Just(FieldValue::Void),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let member = (any_name(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(FieldValue::Array),
            prop::collection::vec(member, 0..4)
                .prop_map(|members| FieldValue::Table(FieldTable(members.into_iter().collect()))),
        ]
    })
}

fn any_properties() -> impl Strategy<Value = Properties> {
    let text = || prop::option::of(any_text());
    let mode = prop::option::of(prop::sample::select(DeliveryMode::ALL.to_vec()));
    let numbers = (mode, any::<Option<u8>>(), any::<Option<u64>>(), any::<Option<u64>>());
    let small = prop::option::of(0..=MAX_TIMESTAMP);
    let texts = (text(), text(), text(), text(), text(), text(), text(), text());
    (numbers, small, texts).prop_map(|((delivery_mode, priority, expiration, timestamp), small, texts)| {
        let (content_type, content_encoding, correlation_id, reply_to, kind, user_id, app_id, cluster_id) =
            texts;
        Properties {
            content_type,
            content_encoding,
            delivery_mode,
            priority,
            correlation_id,
            reply_to,
            expiration: small.or(expiration),
            timestamp: small.or(timestamp),
            kind,
            user_id,
            app_id,
            cluster_id,
        }
    })
}

fn any_body() -> impl Strategy<Value = Bytes> {
    let known = ["", "{\"a\": [1, 2.50]}", " null\n", "\"é\\ud800\"", "{", "1e400"];
    let known = prop::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![known, any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)].prop_map(Bytes::from)
}

fn any_message() -> impl Strategy<Value = ReceivedMessage> {
    let headers = prop::collection::btree_map(any_name(), any_value(), 0..5).prop_map(FieldTable);
    (prop::option::of(any_text()), any_properties(), headers, any_body())
        .prop_map(|(id, properties, headers, body)| ReceivedMessage { id, properties, headers, body })
}

/// The message that the gateway would publish: white space around JSON is gone, and a text without a content type has one.
fn expected(kept: &ReceivedMessage, envelope: &Value) -> (Properties, Bytes) {
    let (mut properties, mut body) = (kept.properties.clone(), kept.body.clone());
    if envelope.get("body").is_some() {
        body = Bytes::copy_from_slice(body.trim_ascii());
    }
    let default = match envelope {
        it if it.get("body").is_some() => Some("application/json"),
        it if it.get("body_text").is_some() => Some("text/plain; charset=utf-8"),
        _ => None,
    };
    let default = default.map(|text| ShortText::parse(text).expect("a short text"));
    properties.content_type = properties.content_type.or(default);
    (properties, body)
}

proptest! {
    #[test]
    fn a_pulled_message_can_be_published_again_and_is_the_same(message in any_message()) {
        let kept = divide(message.clone(), Some(USER)).message;
        let (envelope, _) = publishable(message, Some(USER));
        let written = serde_json::to_string(&envelope).expect("JSON");
        let json: Value = serde_json::from_str(&written).unwrap_or(Value::Null);
        let bytes = Bytes::from(written.clone());
        let parsed = envelope::read(&bytes, Purpose::Publish);
        prop_assert!(parsed.is_ok(), "{}: {}", written, parsed.expect_err("it is wrong").detail());
        let parsed = parsed.expect("it is read");
        let refused = refuse::message(&parsed, Purpose::Publish, &LIMITS, Some(USER))
            .and_then(|()| check_integers(&parsed.message.headers, &bytes, "headers"));
        let published = parsed.message;
        prop_assert!(refused.is_ok(), "{}: {}", written, refused.expect_err("it is refused").detail());
        if let Some(id) = kept.id.as_ref().filter(|id| !id.as_str().is_empty()) {
            prop_assert_eq!(&published.id, &MessageId::from(id.clone()));
        }
        let (properties, body) = expected(&kept, &json);
        prop_assert_eq!(published.properties, properties);
        prop_assert_eq!(published.headers, kept.headers);
        prop_assert_eq!(published.body, body);
    }

    #[test]
    fn no_field_is_lost(message in any_message()) {
        let Divided { message: kept, id, properties, headers } = divide(message.clone(), Some(USER));
        prop_assert_eq!(kept.id.or(id), message.id);
        let mut all = kept.headers.0;
        all.extend(headers.0);
        prop_assert_eq!(format!("{all:?}"), format!("{:?}", message.headers.0));
        let timestamp = kept.properties.timestamp.or(properties.timestamp);
        let user_id = kept.properties.user_id.or(properties.user_id);
        prop_assert_eq!((timestamp, user_id), (message.properties.timestamp, message.properties.user_id));
    }
}

fn written(message: ReceivedMessage) -> (Value, Value) {
    let (envelope, fields) = publishable(message, Some(USER));
    let json = |value| serde_json::to_value(value).expect("JSON");
    (json(serde_json::to_value(envelope).expect("JSON")), json(serde_json::to_value(fields).expect("JSON")))
}

#[test]
fn the_fields_that_a_publish_refuses_stand_beside_the_envelope() {
    let text = |text| Some(ShortText::from_broker(text));
    let properties = Properties {
        expiration: Some(MAX_EXPIRATION + 1),
        timestamp: Some(MAX_TIMESTAMP + 1),
        user_id: text("app"),
        reply_to: text("amq.rabbitmq.reply-to.g1"),
        kind: text("a\u{7}"),
        app_id: text("shop"),
        ..Properties::default()
    };
    let headers = FieldTable::of(&[("x-death", FieldValue::Void), ("tenant", FieldValue::from("acme"))]);
    let (envelope, fields) =
        written(ReceivedMessage { id: None, properties, headers, body: Bytes::from_static(b"hi") });
    let expected =
        json!({"properties": {"app_id": "shop"}, "headers": {"tenant": "acme"}, "body_text": "hi"});
    assert_eq!(envelope, expected);
    let expected = json!({
        "expiration": MAX_EXPIRATION + 1, "timestamp": MAX_TIMESTAMP + 1, "user_id": "app", "type": "a\u{7}",
        "reply_to": "amq.rabbitmq.reply-to.g1", "headers": {"x-death": null}
    });
    assert_eq!(fields, expected);
}

#[test]
fn a_message_of_the_gateway_s_own_user_has_no_other_fields() {
    let properties = Properties { user_id: Some(ShortText::from_broker(USER)), ..Properties::default() };
    let message =
        ReceivedMessage { id: None, properties, headers: FieldTable::default(), body: Bytes::new() };
    assert_eq!(written(message).1, Value::Null);
}
