//! Divides a received message into an envelope that a publish accepts, and the fields that a publish refuses.

use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::{EnvelopeOut, PropertiesOut};
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::{MAX_EXPIRATION, MAX_TIMESTAMP, Properties, ReceivedMessage};
use crate::domain::names::ShortText;
use crate::domain::reserved;
use crate::http::codec::field::{JsonTable, JsonValue};
use crate::http::openapi::schemas;

// `openapi/pulled.rs` adds the properties to its schema.
/// The properties and headers of a message that a publish refuses: those that RabbitMQ or another user wrote, those that route the
/// message past its routing key, and values that the gateway does not send.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct BrokerFields {
    #[serde(flatten)]
    #[schema(ignore)]
    properties: PropertiesOut,
    /// Headers that a publish refuses, such as `x-death`, and `CC`, which would route it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schemas::headers)]
    headers: Option<JsonTable>,
}

/// An envelope that a publish of the gateway with this user accepts, and the other fields of the message, if there are any. The
/// limits on the size of headers are not considered.
pub(in crate::http) fn publishable(
    message: ReceivedMessage,
    user: Option<&str>,
) -> (EnvelopeOut, Option<BrokerFields>) {
    let Divided { message, id, properties, headers } = divide(message, user);
    let has_properties = id.is_some() || properties != Properties::default();
    let has_headers = !headers.0.is_empty();
    let fields = (has_properties || has_headers).then(|| BrokerFields {
        properties: PropertiesOut::new(id.as_ref(), &properties),
        headers: has_headers.then(|| JsonValue::table(headers)),
    });
    (EnvelopeOut::new(message), fields)
}

/// A message that can be published, and the fields that are no part of it.
struct Divided {
    message: ReceivedMessage,
    id: Option<ShortText>,
    properties: Properties,
    headers: FieldTable,
}

fn divide(mut message: ReceivedMessage, user: Option<&str>) -> Divided {
    let id = take_invalid(&mut message.id);
    let properties = divide_properties(&mut message.properties, user);
    let (kept, headers) = std::mem::take(&mut message.headers.0)
        .into_iter()
        .partition(|(name, value)| is_publishable_header(name, value));
    message.headers = FieldTable(kept);
    Divided { message, id, properties, headers: FieldTable(headers) }
}

/// Takes the properties that a publish refuses.
fn divide_properties(given: &mut Properties, user: Option<&str>) -> Properties {
    Properties {
        content_type: take_invalid(&mut given.content_type),
        content_encoding: take_invalid(&mut given.content_encoding),
        correlation_id: take_invalid(&mut given.correlation_id),
        reply_to: given
            .reply_to
            .take_if(|queue| !queue.is_valid() || reserved::is_direct_reply_to(queue.as_str())),
        expiration: given.expiration.take_if(|milliseconds| *milliseconds > MAX_EXPIRATION),
        timestamp: given.timestamp.take_if(|seconds| *seconds > MAX_TIMESTAMP),
        kind: take_invalid(&mut given.kind),
        user_id: given.user_id.take_if(|given| Some(given.as_str()) != user),
        app_id: take_invalid(&mut given.app_id),
        cluster_id: take_invalid(&mut given.cluster_id),
        delivery_mode: None,
        priority: None,
    }
}

fn take_invalid(text: &mut Option<ShortText>) -> Option<ShortText> {
    text.take_if(|text| !text.is_valid())
}

fn is_publishable_header(name: &ShortText, value: &FieldValue) -> bool {
    let name_text = name.as_str();
    let is_reserved = reserved::routes(name_text)
        || reserved::is_broker_header(name_text)
        || reserved::is_gateway_header(name_text);
    !is_reserved && name.is_valid() && is_publishable(value)
}

fn is_publishable(value: &FieldValue) -> bool {
    match value {
        FieldValue::F32(number) => number.is_finite(),
        FieldValue::F64(number) => number.is_finite(),
        FieldValue::Timestamp(seconds) => *seconds <= MAX_TIMESTAMP,
        FieldValue::Array(values) => values.iter().all(is_publishable),
        FieldValue::Table(FieldTable(values)) => {
            values.iter().all(|(name, value)| name.is_valid() && is_publishable(value))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
