//! The fingerprint of a message: a retry with an idempotency key has to repeat the message of the first request.
//!
//! It is the SHA-256 of routing key, `mandatory`, properties, headers with their types, and body, as the gateway parsed them: a raw
//! body and an envelope that make the same message have the same fingerprint. Trace headers do not count, because each request has
//! its own.

use super::hashing::Hashing;
use crate::broker::Publish;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::{DeliveryMode, Properties};
use crate::domain::names::ShortText;

/// W3C trace context: instrumentation gives each request its own.
const TRACE_HEADERS: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// The fingerprint of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of the message of a publish. Its exchange and its id are parts of the scoped key.
    pub(super) fn of(publish: &Publish) -> Self {
        let mut hashing = Hashing::default();
        hashing.bytes(publish.destination.routing_key.as_str().as_bytes());
        hashing.byte(u8::from(publish.destination.mandatory));
        add_properties(&mut hashing, &publish.message.properties);
        add_headers(&mut hashing, &publish.message.headers);
        hashing.bytes(&publish.message.body);
        Self(hashing.finish())
    }

    /// A fingerprint of a number, for tests of the table.
    #[cfg(test)]
    pub(super) fn of_number(number: u8) -> Self {
        Self([number; 32])
    }
}

fn add_properties(hashing: &mut Hashing, properties: &Properties) {
    let Properties {
        content_type,
        content_encoding,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = properties;
    let texts = [content_type, content_encoding, correlation_id, reply_to, kind, user_id, app_id, cluster_id];
    for text in texts {
        hashing.optional(text.as_ref(), add_text);
    }
    hashing.optional(delivery_mode.map(DeliveryMode::number), Hashing::byte);
    hashing.optional(*priority, Hashing::byte);
    for number in [expiration, timestamp] {
        hashing.optional(*number, |hashing, number| hashing.fixed(&number.to_be_bytes()));
    }
}

fn add_text(hashing: &mut Hashing, text: &ShortText) {
    hashing.bytes(text.as_str().as_bytes());
}

fn add_headers(hashing: &mut Hashing, headers: &FieldTable) {
    let counted = || headers.0.iter().filter(|(name, _)| !TRACE_HEADERS.contains(&name.as_str()));
    hashing.count(counted().count());
    counted().for_each(|(name, value)| add_field(hashing, name, value));
}

fn add_field(hashing: &mut Hashing, name: &ShortText, value: &FieldValue) {
    add_text(hashing, name);
    add_value(hashing, value);
}

/// Adds the letter of the type, as AMQP writes it, and the value.
fn add_value(hashing: &mut Hashing, value: &FieldValue) {
    let mut fixed = |letter, bytes: &[u8]| {
        hashing.byte(letter);
        hashing.fixed(bytes);
    };
    match value {
        FieldValue::Bool(value) => fixed(b't', &[u8::from(*value)]),
        FieldValue::I8(value) => fixed(b'b', &value.to_be_bytes()),
        FieldValue::U8(value) => fixed(b'B', &value.to_be_bytes()),
        FieldValue::I16(value) => fixed(b's', &value.to_be_bytes()),
        FieldValue::U16(value) => fixed(b'u', &value.to_be_bytes()),
        FieldValue::I32(value) => fixed(b'I', &value.to_be_bytes()),
        FieldValue::U32(value) => fixed(b'i', &value.to_be_bytes()),
        FieldValue::I64(value) => fixed(b'l', &value.to_be_bytes()),
        FieldValue::F32(value) => fixed(b'f', &value.to_be_bytes()),
        FieldValue::F64(value) => fixed(b'd', &value.to_be_bytes()),
        FieldValue::Timestamp(value) => fixed(b'T', &value.to_be_bytes()),
        FieldValue::Void => fixed(b'V', &[]),
        FieldValue::Decimal { scale, value } => {
            fixed(b'D', &[*scale]);
            hashing.fixed(&value.to_be_bytes());
        }
        FieldValue::Text(text) => add_bytes(hashing, b'S', text),
        FieldValue::Bytes(bytes) => add_bytes(hashing, b'x', bytes),
        FieldValue::Array(values) => {
            hashing.byte(b'A');
            hashing.count(values.len());
            for value in values {
                add_value(hashing, value);
            }
        }
        FieldValue::Table(FieldTable(fields)) => {
            hashing.byte(b'F');
            hashing.count(fields.len());
            for (name, value) in fields {
                add_field(hashing, name, value);
            }
        }
    }
}

fn add_bytes(hashing: &mut Hashing, letter: u8, bytes: &[u8]) {
    hashing.byte(letter);
    hashing.bytes(bytes);
}

#[cfg(test)]
mod tests;
