//! Writes a message as its bytes, with its properties and scalar headers as `X-Amqp-*` headers.

use axum::body::Bytes;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::harden::harden;
use crate::domain::field::FieldValue;
use crate::domain::message::{Delivery, Properties, ReceivedMessage};
use crate::domain::names::ShortText;
use crate::http::header_names::X_AMQP_MESSAGE_ID;

/// The header of a content type that is not an HTTP media type. Such values have their own headers, because HTTP clients fail on
/// a content coding that they cannot decode.
const AMQP_CONTENT_TYPE: HeaderName = HeaderName::from_static("x-amqp-content-type");
const AMQP_CONTENT_ENCODING: HeaderName = HeaderName::from_static("x-amqp-content-encoding");
/// IANA's HTTP Content Coding Registry.
const CONTENT_CODINGS: [&str; 13] = [
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "gzip",
    "identity",
    "pack200-gzip",
    "x-compress",
    "x-gzip",
    "zstd",
];
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-amqp-correlation-id");
const REPLY_TO: HeaderName = HeaderName::from_static("x-amqp-reply-to");
const TYPE: HeaderName = HeaderName::from_static("x-amqp-type");
const APP_ID: HeaderName = HeaderName::from_static("x-amqp-app-id");
const USER_ID: HeaderName = HeaderName::from_static("x-amqp-user-id");
const CLUSTER_ID: HeaderName = HeaderName::from_static("x-amqp-cluster-id");
const PRIORITY: HeaderName = HeaderName::from_static("x-amqp-priority");
const EXPIRATION: HeaderName = HeaderName::from_static("x-amqp-expiration");
const TIMESTAMP: HeaderName = HeaderName::from_static("x-amqp-timestamp");
const DELIVERY_MODE: HeaderName = HeaderName::from_static("x-amqp-delivery-mode");
const EXCHANGE: HeaderName = HeaderName::from_static("x-amqp-exchange");
const ROUTING_KEY: HeaderName = HeaderName::from_static("x-amqp-routing-key");
const HEADERS_OMITTED: HeaderName = HeaderName::from_static("x-amqp-headers-omitted");
/// The most fields and bytes of fields in an answer. Python's client accepts 100 fields, Node.js 16 KiB together.
const MOST_FIELDS: usize = 80;
const MOST_FIELD_BYTES: usize = 12 * 1024;

/// The message's bytes, with its properties and scalar headers as `X-Amqp-*` headers.
pub(in crate::http) fn raw(message: &ReceivedMessage) -> Response<Bytes> {
    written(message, |_| {})
}

/// The same of a message as it came from a queue, with its exchange and its routing key.
pub(in crate::http) fn delivery(delivery: &Delivery) -> Response<Bytes> {
    written(&delivery.message, |fields| {
        fields.put(EXCHANGE, delivery.exchange.in_path().as_bytes());
        fields.put(ROUTING_KEY, delivery.routing_key.as_str().as_bytes());
    })
}

/// Writes the message, and first the fields that `put` adds.
fn written(message: &ReceivedMessage, put: impl FnOnce(&mut Fields<'_>)) -> Response<Bytes> {
    let mut response = Response::new(message.body.clone());
    let mut fields = Fields { headers: response.headers_mut(), bytes: 0, omitted: 0 };
    put(&mut fields);
    fields.put_properties(message.id.as_ref(), &message.properties);
    for (name, value) in &message.headers.0 {
        let name = HeaderName::try_from(format!("x-amqp-header-{name}")).ok();
        match name.zip(scalar(value)) {
            Some((name, text)) => fields.put(name, text.as_bytes()),
            None => fields.omitted += 1,
        }
    }
    let omitted = fields.omitted;
    let headers = response.headers_mut();
    if omitted > 0 {
        headers.insert(HEADERS_OMITTED, omitted.into());
    }
    harden(headers);
    response
}

/// The header fields of an answer that come from the message.
struct Fields<'a> {
    headers: &'a mut HeaderMap,
    /// The bytes of all fields together.
    bytes: usize,
    omitted: usize,
}

impl Fields<'_> {
    fn put_properties(&mut self, id: Option<&ShortText>, properties: &Properties) {
        let (content_type, other_type) = split(properties.content_type.as_ref(), is_media_type);
        let (content_coding, other_encoding) = split(properties.content_encoding.as_ref(), is_content_coding);
        let texts = [
            (CONTENT_TYPE, content_type),
            (AMQP_CONTENT_TYPE, other_type),
            (CONTENT_ENCODING, content_coding),
            (AMQP_CONTENT_ENCODING, other_encoding),
            (X_AMQP_MESSAGE_ID, id),
            (CORRELATION_ID, properties.correlation_id.as_ref()),
            (REPLY_TO, properties.reply_to.as_ref()),
            (TYPE, properties.kind.as_ref()),
            (APP_ID, properties.app_id.as_ref()),
            (USER_ID, properties.user_id.as_ref()),
            (CLUSTER_ID, properties.cluster_id.as_ref()),
        ];
        for (name, text) in texts.into_iter().filter_map(|(name, text)| Some((name, text?))) {
            self.put(name, text.as_str().as_bytes());
        }
        let numbers = [
            (PRIORITY, properties.priority.map(u64::from)),
            (EXPIRATION, properties.expiration),
            (TIMESTAMP, properties.timestamp),
        ];
        for (name, number) in numbers.into_iter().filter_map(|(name, number)| Some((name, number?))) {
            self.put(name, number.to_string().as_bytes());
        }
        if let Some(given) = properties.delivery_mode {
            self.put(DELIVERY_MODE, given.name().as_bytes());
        }
    }

    /// Adds a field. Omits it when its value is not visible ASCII, when there is no room for it, or when a field has the same
    /// name already: names in AMQP can differ in case only, names in HTTP cannot.
    fn put(&mut self, name: HeaderName, value: &[u8]) {
        let is_visible = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let bytes = self.bytes + name.as_str().len() + value.len() + 4;
        let has_room = self.headers.len() < MOST_FIELDS && bytes <= MOST_FIELD_BYTES;
        match HeaderValue::from_bytes(value) {
            Ok(value) if is_visible && has_room && !self.headers.contains_key(&name) => {
                self.headers.insert(name, value);
                self.bytes = bytes;
            }
            _ => self.omitted += 1,
        }
    }
}

/// Writes a property as the HTTP header of this name where the value is valid in HTTP, else as the `X-Amqp-*` header.
fn split(
    property: Option<&ShortText>,
    is_http: impl Fn(&str) -> bool,
) -> (Option<&ShortText>, Option<&ShortText>) {
    match property {
        Some(text) if is_http(text.as_str()) => (Some(text), None),
        other => (None, other),
    }
}

/// Whether the text is a media type: a type and a subtype, which are tokens (RFC 9110, 8.3.1).
fn is_media_type(text: &str) -> bool {
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is_token = |part: &str| HeaderName::try_from(part).is_ok();
    essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// Whether the text is one content coding or a list of them (RFC 9110, 8.4).
fn is_content_coding(text: &str) -> bool {
    let is_known =
        |coding: &str| CONTENT_CODINGS.iter().any(|known| known.eq_ignore_ascii_case(coding.trim()));
    text.split(',').all(is_known)
}

fn scalar(value: &FieldValue) -> Option<String> {
    match value {
        FieldValue::Text(text) => String::from_utf8(text.clone()).ok(),
        FieldValue::Bool(value) => Some(value.to_string()),
        FieldValue::I8(value) => Some(value.to_string()),
        FieldValue::U8(value) => Some(value.to_string()),
        FieldValue::I16(value) => Some(value.to_string()),
        FieldValue::U16(value) => Some(value.to_string()),
        FieldValue::I32(value) => Some(value.to_string()),
        FieldValue::U32(value) => Some(value.to_string()),
        FieldValue::I64(value) => Some(value.to_string()),
        FieldValue::F32(value) => Some(value.to_string()),
        FieldValue::F64(value) => Some(value.to_string()),
        FieldValue::Timestamp(value) => Some(value.to_string()),
        FieldValue::Decimal { .. }
        | FieldValue::Bytes(_)
        | FieldValue::Array(_)
        | FieldValue::Table(_)
        | FieldValue::Void => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_encoding_becomes_the_http_header_only_if_http_knows_the_coding() {
        for known in ["gzip", "GZIP", "br, zstd", "identity"] {
            assert!(is_content_coding(known), "{known}");
        }
        for other in ["UTF-8", "utf-8", "base64", "gzip, utf-8", ""] {
            assert!(!is_content_coding(other), "{other}");
        }
    }

    #[test]
    fn a_content_type_becomes_the_http_header_only_if_it_is_a_media_type() {
        for known in ["text/plain", "application/json; charset=utf-8", "application/vnd.a+json"] {
            assert!(is_media_type(known), "{known}");
        }
        for other in ["json", "text/", "/plain", "a b/c", ""] {
            assert!(!is_media_type(other), "{other}");
        }
    }
}
