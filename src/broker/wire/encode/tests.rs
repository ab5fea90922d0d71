//! Compares the encoder with amq-protocol's encoder.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame};
use amq_protocol::protocol::basic::{AMQPMethod, Publish};
use amq_protocol::protocol::{AMQPClass, BasicProperties};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::broker::convert::short_string;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::DeliveryMode;
use crate::domain::message::MessageId;
use crate::domain::names::ExchangeName;

const CHANNEL: u16 = 513;

fn encoded(frames: &[AMQPFrame]) -> Vec<u8> {
    let one = |frame| gen_frame(frame)(WriteContext::from(Vec::new())).expect("a vector takes all").write;
    frames.iter().flat_map(one).collect()
}

/// A publish as amq-protocol encodes it.
fn expected(frame_max: usize, message: &Message, to: &Destination, expiration: Option<u64>) -> Vec<u8> {
    let publish = Publish {
        exchange: short_string(to.exchange.as_str()),
        routing_key: short_string(to.routing_key.as_str()),
        mandatory: to.mandatory,
        immediate: false,
    };
    let header = AMQPContentHeader {
        class_id: 60,
        body_size: message.body.len() as u64,
        properties: properties(message, expiration),
    };
    let method = AMQPFrame::Method(CHANNEL, AMQPClass::Basic(AMQPMethod::Publish(publish)));
    let bodies =
        message.body.chunks(frame_max - OVERHEAD).map(|piece| AMQPFrame::Body(CHANNEL, piece.to_vec()));
    let frames: Vec<_> = [method, AMQPFrame::Header(CHANNEL, header)].into_iter().chain(bodies).collect();
    encoded(&frames)
}

type SetText = fn(BasicProperties, crate::broker::convert::AmqpShortString) -> BasicProperties;

fn properties(message: &Message, expiration: Option<u64>) -> BasicProperties {
    let given = &message.properties;
    let expiration = expiration.or(given.expiration).map(|milliseconds| milliseconds.to_string());
    let text = |text: &Option<ShortText>| text.as_ref().map(|text| text.as_str().to_owned());
    let texts: [(Option<String>, SetText); 10] = [
        (Some(message.id.to_string()), BasicProperties::with_message_id),
        (expiration, BasicProperties::with_expiration),
        (text(&given.content_type), BasicProperties::with_content_type),
        (text(&given.content_encoding), BasicProperties::with_content_encoding),
        (text(&given.correlation_id), BasicProperties::with_correlation_id),
        (text(&given.reply_to), BasicProperties::with_reply_to),
        (text(&given.kind), BasicProperties::with_type),
        (text(&given.user_id), BasicProperties::with_user_id),
        (text(&given.app_id), BasicProperties::with_app_id),
        (text(&given.cluster_id), BasicProperties::with_cluster_id),
    ];
    let mut amqp = BasicProperties::default();
    for (text, set) in texts {
        if let Some(text) = text {
            amqp = set(amqp, short_string(&text));
        }
    }
    if !message.headers.0.is_empty() {
        amqp = amqp.with_headers(convert::table(&message.headers));
    }
    if let Some(mode) = given.delivery_mode {
        amqp = amqp.with_delivery_mode(if mode == DeliveryMode::Persistent { 2 } else { 1 });
    }
    if let Some(priority) = given.priority {
        amqp = amqp.with_priority(priority);
    }
    match given.timestamp {
        Some(seconds) => amqp.with_timestamp(seconds),
        None => amqp,
    }
}

fn text() -> impl Strategy<Value = ShortText> {
    "[a-zä-ü€😀 ]{0,60}".prop_map(|text| ShortText::parse(text).expect("it is short"))
}

fn value() -> impl Strategy<Value = FieldValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        any::<f64>().prop_map(FieldValue::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
        vec(any::<u8>(), 0..300).prop_map(FieldValue::Text),
        vec(any::<u8>(), 0..300).prop_map(FieldValue::Bytes),
        any::<u64>().prop_map(FieldValue::Timestamp),
        Just(FieldValue::Void),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(FieldValue::Array),
            btree_map(text(), inner, 0..6).prop_map(|table| FieldValue::Table(FieldTable(table))),
        ]
    })
}

fn message() -> impl Strategy<Value = Message> {
    let texts = proptest::array::uniform8(option::of(text()));
    let numbers = (
        option::of(any::<bool>()),
        option::of(any::<u8>()),
        option::of(1..u64::MAX),
        option::of(any::<u64>()),
    );
    let sizes = prop_oneof![0..400_usize, COPIED - 2..COPIED + 2, Just(100_000)];
    let headers = btree_map(text(), value(), 0..5).prop_map(FieldTable);
    (texts, numbers, headers, sizes, "[a-z0-9-]{1,40}").prop_map(|(texts, numbers, headers, size, id)| {
        let [content_type, content_encoding, correlation_id, reply_to, kind, user_id, app_id, cluster_id] =
            texts;
        let (persistent, priority, expiration, timestamp) = numbers;
        let mode =
            |is_persistent| if is_persistent { DeliveryMode::Persistent } else { DeliveryMode::Transient };
        let properties = Properties {
            content_type,
            content_encoding,
            delivery_mode: persistent.map(mode),
            priority,
            correlation_id,
            reply_to,
            expiration,
            timestamp,
            kind,
            user_id,
            app_id,
            cluster_id,
        };
        let body = (0..size).map(|at| u8::try_from(at % 251).expect("small")).collect();
        Message { id: MessageId::from(ShortText::parse(id).expect("it is short")), properties, headers, body }
    })
}

/// All bytes that the writer would write.
fn written(encoded: Encoded, frame_max: usize) -> Vec<u8> {
    let (mut bytes, mut body) = (encoded.frames, encoded.body);
    let mut batch = crate::broker::wire::Batch::default();
    while !body.is_empty() {
        batch.push_body(CHANNEL, frame_max, &mut body);
        bytes.extend_from_slice(&batch.copied);
        bytes.extend_from_slice(&batch.piece.take().expect("a piece"));
        batch.advance(true);
    }
    bytes.extend_from_slice(&batch.copied);
    bytes
}

proptest! {
    #[test]
    fn publish_is_the_same_bytes_as_amq_protocols(
        message in message(),
        routing_key in text(),
        exchange in "[a-z.]{0,20}",
        mandatory in any::<bool>(),
        frame_max in 4_096..70_000_usize,
        expiration in option::of(any::<u64>()),
    ) {
        let exchange = if exchange.is_empty() { ExchangeName::default() } else {
            ExchangeName::from_path(&exchange).expect("a name")
        };
        let to = Destination { exchange, routing_key, mandatory };
        let expected = expected(frame_max, &message, &to, expiration);
        match publish_frames((CHANNEL, frame_max), &message, &to, expiration) {
            Ok(frames) => prop_assert_eq!(written(frames, frame_max), expected),
            Err(Refusal::HeadersTooLarge { bytes, limit }) => {
                prop_assert!(limit == frame_max && bytes > limit && bytes < expected.len());
            }
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn a_content_header_of_one_byte_over_the_frame_is_refused() {
    let message = |letters| {
        let mut headers = FieldTable::default();
        headers.insert(ShortText::parse("h").expect("short"), FieldValue::Text(vec![b'x'; letters]));
        let (id, properties) = (MessageId::from("i".to_owned()), Properties::default());
        Message { id, properties, headers, body: Bytes::new() }
    };
    let to =
        Destination { exchange: ExchangeName::default(), routing_key: ShortText::default(), mandatory: true };
    let too_large = |letters| publish_frames((CHANNEL, 4096), &message(letters), &to, None).err();
    let fits = (0..4096).take_while(|letters| too_large(*letters).is_none()).count();
    assert_eq!(too_large(fits), Some(Refusal::HeadersTooLarge { bytes: 4097, limit: 4096 }));
}
