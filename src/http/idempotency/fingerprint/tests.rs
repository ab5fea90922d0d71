//! Two messages that differ have two fingerprints; trace headers, the id and the deadline make no difference.

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::domain::message::{Destination, Message, MessageId};
use crate::domain::names::ExchangeName;

fn text(text: &str) -> ShortText {
    ShortText::parse(text).expect("a short text")
}

/// A publish with a body and a header.
fn publish() -> Publish {
    let message = Message {
        id: MessageId::generate(),
        properties: Properties { content_type: Some(text("text/plain")), ..Properties::default() },
        headers: FieldTable::of(&[("tenant", FieldValue::from("acme"))]),
        body: Bytes::from_static(b"body"),
    };
    let destination =
        Destination { exchange: ExchangeName::default(), routing_key: text("q"), mandatory: true };
    Publish::new(message, destination, Instant::now(), true)
}

/// The fingerprint of that publish after a change.
fn after(change: impl FnOnce(&mut Publish)) -> Fingerprint {
    let mut publish = publish();
    change(&mut publish);
    Fingerprint::of(&publish)
}

fn with_headers(headers: &[(&str, FieldValue)]) -> Fingerprint {
    after(|publish| publish.message.headers = FieldTable::of(headers))
}

#[test]
fn the_same_message_has_the_same_fingerprint_with_another_id_deadline_and_retry() {
    let later = after(|publish| {
        publish.resend = false;
        publish.earlier_copy_possible = true;
    });
    assert_eq!(later, Fingerprint::of(&publish()));
}

#[test]
fn trace_headers_do_not_count_and_a_header_of_a_similar_name_does() {
    let plain = with_headers(&[]);
    for name in TRACE_HEADERS {
        assert_eq!(with_headers(&[(name, FieldValue::from("1"))]), plain);
        let nested = FieldTable::of(&[(name, FieldValue::from("1"))]);
        assert_ne!(with_headers(&[("t", FieldValue::Table(nested))]), with_headers(&[("t", empty())]));
    }
    assert_ne!(with_headers(&[("Traceparent", FieldValue::from("1"))]), plain);
}

fn empty() -> FieldValue {
    FieldValue::Table(FieldTable::default())
}

#[test]
fn each_part_of_a_message_counts() {
    type Change = fn(&mut Publish);
    let changes: [Change; 19] = [
        |_| {},
        |publish| publish.destination.routing_key = text("qb"),
        |publish| publish.destination.mandatory = false,
        |publish| publish.message.body = Bytes::from_static(b"body "),
        |publish| publish.message.headers = FieldTable::default(),
        |publish| publish.message.properties.content_type = None,
        |publish| publish.message.properties.content_type = Some(text("")),
        |publish| publish.message.properties.content_encoding = Some(text("gzip")),
        |publish| publish.message.properties.delivery_mode = Some(DeliveryMode::Transient),
        |publish| publish.message.properties.delivery_mode = Some(DeliveryMode::Persistent),
        |publish| publish.message.properties.priority = Some(1),
        |publish| publish.message.properties.correlation_id = Some(text("x")),
        |publish| publish.message.properties.reply_to = Some(text("x")),
        |publish| publish.message.properties.expiration = Some(1),
        |publish| publish.message.properties.timestamp = Some(1),
        |publish| publish.message.properties.kind = Some(text("x")),
        |publish| publish.message.properties.user_id = Some(text("x")),
        |publish| publish.message.properties.app_id = Some(text("x")),
        |publish| publish.message.properties.cluster_id = Some(text("x")),
    ];
    assert_all_differ(&changes.map(after));
}

#[test]
fn the_type_of_a_header_counts_and_so_does_the_border_between_two_values() {
    let (one, bytes) = (FieldValue::from("1"), |bytes: &[u8]| FieldValue::Bytes(bytes.to_vec()));
    let array = |values: &[FieldValue]| FieldValue::Array(values.to_vec());
    let inner = |name: &str| FieldValue::Table(FieldTable::of(&[(name, FieldValue::Void)]));
    let values = [
        FieldValue::Bool(true),
        FieldValue::I8(1),
        FieldValue::U8(1),
        FieldValue::I16(1),
        FieldValue::U16(1),
        FieldValue::I32(1),
        FieldValue::U32(1),
        FieldValue::I64(1),
        FieldValue::F32(1.0),
        FieldValue::F64(1.0),
        FieldValue::Timestamp(1),
        FieldValue::Decimal { scale: 0, value: 1 },
        FieldValue::Decimal { scale: 1, value: 1 },
        one.clone(),
        bytes(b"1"),
        FieldValue::Void,
        array(&[]),
        array(&[one.clone(), one.clone()]),
        array(&[array(std::slice::from_ref(&one)), one.clone()]),
        array(&[array(&[one.clone(), one.clone()])]),
        FieldValue::from("11"),
        empty(),
        inner("a"),
        inner("b"),
    ];
    let mut found: Vec<_> = values.iter().map(|value| with_headers(&[("h", value.clone())])).collect();
    found.push(with_headers(&[("h", one.clone()), ("i", one.clone())]));
    found.push(with_headers(&[("h1", one)]));
    assert_all_differ(&found);
}

fn assert_all_differ(fingerprints: &[Fingerprint]) {
    for (n, fingerprint) in fingerprints.iter().enumerate() {
        let same = fingerprints[..n].iter().position(|other| other == fingerprint);
        assert_eq!(same, None, "number {n} has the fingerprint of another one");
    }
}
