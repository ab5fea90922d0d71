//! Domain values to AMQP properties and field tables. Loses no type and never panics.

#![expect(clippy::disallowed_types, reason = "this is where a ShortString is made, by try_new")]

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable as AmqpTable, LongString, ShortString,
};

use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::{DeliveryMode, Message, Properties, ReceivedMessage};
use crate::domain::names::ShortText;

/// A short string that was made here, and so did not panic.
pub(super) type Short = ShortString;

/// A short string of text that is known to fit; see [`ShortText`].
pub(super) fn short(text: &str) -> Short {
    ShortString::try_new(text).unwrap_or_default()
}

type Setter = fn(BasicProperties, ShortString) -> BasicProperties;

/// Every basic property of a message, its id and its headers included.
pub(super) fn properties(message: &Message) -> BasicProperties {
    let given = &message.properties;
    let text = |value: &Option<ShortText>| value.as_ref().map(|text| short(text.as_str()));
    let mut amqp = BasicProperties::default().with_message_id(short(&message.id));
    if let Some(mode) = given.delivery_mode {
        amqp = amqp.with_delivery_mode(match mode {
            DeliveryMode::Transient => 1,
            DeliveryMode::Persistent => 2,
        });
    }
    if !message.headers.0.is_empty() {
        amqp = amqp.with_headers(table(&message.headers));
    }
    if let Some(priority) = given.priority {
        amqp = amqp.with_priority(priority);
    }
    if let Some(milliseconds) = given.expiration {
        amqp = amqp.with_expiration(short(&milliseconds.to_string()));
    }
    if let Some(seconds) = given.timestamp {
        amqp = amqp.with_timestamp(seconds);
    }
    let texts: [(&Option<ShortText>, Setter); 8] = [
        (&given.content_type, BasicProperties::with_content_type),
        (&given.content_encoding, BasicProperties::with_content_encoding),
        (&given.correlation_id, BasicProperties::with_correlation_id),
        (&given.reply_to, BasicProperties::with_reply_to),
        (&given.kind, BasicProperties::with_type),
        (&given.user_id, BasicProperties::with_user_id),
        (&given.app_id, BasicProperties::with_app_id),
        (&given.cluster_id, BasicProperties::with_cluster_id),
    ];
    texts.into_iter().fold(amqp, |amqp, (value, set)| match text(value) {
        Some(value) => set(amqp, value),
        None => amqp,
    })
}

/// A message as a consumer got it.
pub(super) fn message(delivery: Delivery) -> ReceivedMessage {
    let given = delivery.properties;
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| ShortText::from_broker(text.as_str()));
    let properties = Properties {
        content_type: text(given.content_type()),
        content_encoding: text(given.content_encoding()),
        delivery_mode: given.delivery_mode().map(|mode| match mode {
            2 => DeliveryMode::Persistent,
            _ => DeliveryMode::Transient,
        }),
        priority: *given.priority(),
        correlation_id: text(given.correlation_id()),
        reply_to: text(given.reply_to()),
        expiration: given.expiration().as_ref().and_then(|text| text.as_str().parse().ok()),
        timestamp: *given.timestamp(),
        kind: text(given.kind()),
        user_id: text(given.user_id()),
        app_id: text(given.app_id()),
        cluster_id: text(given.cluster_id()),
    };
    let headers = given.headers().as_ref().map(domain_table).unwrap_or_default();
    ReceivedMessage { id: text(given.message_id()), properties, headers, body: Bytes::from(delivery.data) }
}

fn domain_table(amqp: &AmqpTable) -> FieldTable {
    let field = |(name, value)| (ShortText::from_broker(ShortString::as_str(name)), domain_value(value));
    FieldTable(amqp.into_iter().map(field).collect())
}

fn domain_value(value: &AMQPValue) -> FieldValue {
    match value {
        AMQPValue::Boolean(v) => FieldValue::Bool(*v),
        AMQPValue::ShortShortInt(v) => FieldValue::I8(*v),
        AMQPValue::ShortShortUInt(v) => FieldValue::U8(*v),
        AMQPValue::ShortInt(v) => FieldValue::I16(*v),
        AMQPValue::ShortUInt(v) => FieldValue::U16(*v),
        AMQPValue::LongInt(v) => FieldValue::I32(*v),
        AMQPValue::LongUInt(v) => FieldValue::U32(*v),
        AMQPValue::LongLongInt(v) => FieldValue::I64(*v),
        AMQPValue::Float(v) => FieldValue::F32(*v),
        AMQPValue::Double(v) => FieldValue::F64(*v),
        AMQPValue::DecimalValue(v) => FieldValue::Decimal { scale: v.scale, value: v.value },
        AMQPValue::ShortString(v) => FieldValue::Text(v.as_str().as_bytes().to_vec()),
        AMQPValue::LongString(v) => FieldValue::Text(v.as_bytes().to_vec()),
        AMQPValue::ByteArray(v) => FieldValue::Bytes(v.as_slice().to_vec()),
        AMQPValue::FieldArray(v) => FieldValue::Array(v.as_slice().iter().map(domain_value).collect()),
        AMQPValue::Timestamp(v) => FieldValue::Timestamp(*v),
        AMQPValue::FieldTable(v) => FieldValue::Table(domain_table(v)),
        AMQPValue::Void => FieldValue::Void,
    }
}

/// A field table with every type kept.
pub(super) fn table(table: &FieldTable) -> AmqpTable {
    let mut amqp = AmqpTable::default();
    for (name, field) in &table.0 {
        amqp.insert(short(name.as_str()), value(field));
    }
    amqp
}

fn value(field: &FieldValue) -> AMQPValue {
    match field {
        FieldValue::Bool(v) => AMQPValue::Boolean(*v),
        FieldValue::I8(v) => AMQPValue::ShortShortInt(*v),
        FieldValue::U8(v) => AMQPValue::ShortShortUInt(*v),
        FieldValue::I16(v) => AMQPValue::ShortInt(*v),
        FieldValue::U16(v) => AMQPValue::ShortUInt(*v),
        FieldValue::I32(v) => AMQPValue::LongInt(*v),
        FieldValue::U32(v) => AMQPValue::LongUInt(*v),
        FieldValue::I64(v) => AMQPValue::LongLongInt(*v),
        FieldValue::F32(v) => AMQPValue::Float(*v),
        FieldValue::F64(v) => AMQPValue::Double(*v),
        FieldValue::Decimal { scale, value } => {
            AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value })
        }
        FieldValue::Text(v) => AMQPValue::LongString(LongString::from(v.clone())),
        FieldValue::Bytes(v) => AMQPValue::ByteArray(ByteArray::from(v.as_slice())),
        FieldValue::Array(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(value).collect::<Vec<_>>()))
        }
        FieldValue::Timestamp(v) => AMQPValue::Timestamp(*v),
        FieldValue::Table(v) => AMQPValue::FieldTable(table(v)),
        FieldValue::Void => AMQPValue::Void,
    }
}
