//! Writes a message as one JSON document.

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::harden::harden;
use crate::domain::message::{DeliveryMode, Properties, ReceivedMessage};
use crate::domain::names::ShortText;
use crate::http::codec::envelope::ENVELOPE;
use crate::http::codec::field::{JsonTable, JsonValue};
use crate::http::openapi::schemas;

/// A message as one JSON document, in the form in which it can be published again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceivedEnvelope)]
pub(in crate::http) struct EnvelopeOut {
    /// Basic properties.
    properties: PropertiesOut,
    /// The header table.
    #[schema(schema_with = schemas::headers)]
    headers: JsonTable,
    /// The body, if its content type is JSON and it is valid JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// The body, if it is text in UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_text: Option<String>,
    /// The body as base64, if it is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// Basic properties as JSON.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReceivedProperties)]
pub(super) struct PropertiesOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<DeliveryMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
}

/// The whole message as an envelope.
pub(in crate::http) fn envelope(message: ReceivedMessage) -> Result<Response<Bytes>, serde_json::Error> {
    const MEDIA_TYPE: HeaderValue = HeaderValue::from_static(ENVELOPE);
    let json = serde_json::to_vec(&EnvelopeOut::new(message))?;
    let mut response = Response::new(Bytes::from(json));
    response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    harden(response.headers_mut());
    Ok(response)
}

impl EnvelopeOut {
    pub(super) fn new(message: ReceivedMessage) -> Self {
        let json = is_json(&message.properties).then(|| serde_json::from_slice(&message.body).ok()).flatten();
        let utf8 = std::str::from_utf8(&message.body).ok().filter(|_| json.is_none());
        let binary = json.is_none() && utf8.is_none();
        Self {
            body_text: utf8.map(str::to_owned),
            body_base64: binary.then(|| BASE64_STANDARD.encode(&message.body)),
            body: json,
            properties: PropertiesOut::new(message.id.as_ref(), &message.properties),
            headers: JsonValue::table(message.headers),
        }
    }
}

fn is_json(properties: &Properties) -> bool {
    let essence =
        properties.content_type.as_ref().map(|text| text.as_str().split(';').next().unwrap_or_default());
    essence.is_some_and(|essence| {
        let essence = essence.trim().to_ascii_lowercase();
        essence == "application/json" || essence.ends_with("+json")
    })
}

impl PropertiesOut {
    pub(super) fn new(id: Option<&ShortText>, given: &Properties) -> Self {
        Self {
            content_type: text(given.content_type.as_ref()),
            content_encoding: text(given.content_encoding.as_ref()),
            delivery_mode: given.delivery_mode,
            priority: given.priority,
            correlation_id: text(given.correlation_id.as_ref()),
            reply_to: text(given.reply_to.as_ref()),
            expiration: given.expiration,
            message_id: text(id),
            timestamp: given.timestamp,
            r#type: text(given.kind.as_ref()),
            user_id: text(given.user_id.as_ref()),
            app_id: text(given.app_id.as_ref()),
            cluster_id: text(given.cluster_id.as_ref()),
        }
    }
}

fn text(value: Option<&ShortText>) -> Option<String> {
    value.map(ToString::to_string)
}
