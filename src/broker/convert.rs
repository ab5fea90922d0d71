//! Converts domain values to AMQP field tables, and AMQP properties to domain values. Every type is kept, and no input
//! panics.

#![expect(clippy::disallowed_types, reason = "this module makes each ShortString, by try_new")]

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{
    AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable as AmqpTable, LongString, ShortString,
};

use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::{DeliveryMode, Properties, ReceivedMessage};
use crate::domain::names::ShortText;

/// A short string for text that fits. It does not panic.
pub(super) type AmqpShortString = ShortString;

/// A short string for text that is known to fit; see [`ShortText`].
pub(super) fn short_string(text: &str) -> AmqpShortString {
    ShortString::try_new(text).unwrap_or_default()
}

/// A message as a consumer received it.
pub(super) fn received(given: &BasicProperties, body: Bytes) -> ReceivedMessage {
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
    ReceivedMessage { id: text(given.message_id()), properties, headers, body }
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

/// Converts a field table and keeps every type.
pub(super) fn table(table: &FieldTable) -> AmqpTable {
    let mut amqp = AmqpTable::default();
    for (name, field) in &table.0 {
        amqp.insert(short_string(name.as_str()), value(field));
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
