//! Reads the raw form of a message: the body's bytes are the message, HTTP headers are its properties.

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use utoipa::ToSchema;

use super::header::single;
use super::parsed_message::{PREFIX, ParsedMessage};
use super::property::{delivery_mode, expiration, priority, timestamp};
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::Properties;
use crate::domain::names::ShortText;
use crate::http::header_names::X_AMQP_MESSAGE_ID;
use crate::http::problem::Problem;

/// The bytes of a message.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only describes the body in the contract")]
pub(in crate::http) struct RawBody(Vec<u8>);

const HEADER_PREFIX: &str = "x-amqp-header-";

/// The part of a message that `X-Amqp-*` headers give.
#[derive(Debug, Default)]
pub(in crate::http) struct AmqpHeaders {
    pub(super) id: Option<ShortText>,
    pub(super) properties: Properties,
    pub(super) headers: FieldTable,
}

pub(super) fn read(headers: &HeaderMap, body: Bytes) -> Result<ParsedMessage, Problem> {
    let (content_type, content_encoding) = (content_type(headers)?, content_encoding(headers)?);
    let AmqpHeaders { id, properties, headers } = amqp_headers(headers)?;
    let properties = Properties { content_type, content_encoding, ..properties };
    Ok(ParsedMessage::new(id, properties, headers, body))
}

/// Reads the `X-Amqp-*` headers.
pub(super) fn amqp_headers(headers: &HeaderMap) -> Result<AmqpHeaders, Problem> {
    let mut read = AmqpHeaders::default();
    for name in headers.keys().filter(|name| name.as_str().starts_with(PREFIX)) {
        let value = single(headers, name)?.unwrap_or_default();
        match name.as_str().strip_prefix(HEADER_PREFIX) {
            Some(key) => read.headers.insert(parse(name, key)?, FieldValue::from(value)),
            None if *name == X_AMQP_MESSAGE_ID => read.id = Some(parse(name, value)?),
            None => set(&mut read.properties, name, value)?,
        }
    }
    Ok(read)
}

fn set(properties: &mut Properties, name: &HeaderName, value: &str) -> Result<(), Problem> {
    let wrong = |why| Problem::malformed(name.as_str(), why);
    match name.as_str().strip_prefix(PREFIX).unwrap_or_default() {
        "correlation-id" => properties.correlation_id = Some(parse(name, value)?),
        "reply-to" => properties.reply_to = Some(parse(name, value)?),
        "type" => properties.kind = Some(parse(name, value)?),
        "app-id" => properties.app_id = Some(parse(name, value)?),
        "priority" => properties.priority = Some(priority(value).map_err(wrong)?),
        "expiration" => properties.expiration = Some(expiration(value).map_err(wrong)?),
        "delivery-mode" => properties.delivery_mode = Some(delivery_mode(value).map_err(wrong)?),
        "timestamp" => properties.timestamp = Some(timestamp(value).map_err(wrong)?),
        _ => return Err(wrong("is not a message property; write a custom header as X-Amqp-Header-<name>")),
    }
    Ok(())
}

fn parse(name: &HeaderName, value: &str) -> Result<ShortText, Problem> {
    ShortText::parse(value).map_err(|error| Problem::malformed(name.as_str(), error))
}

/// The content type of the body.
pub(super) fn content_type(headers: &HeaderMap) -> Result<Option<ShortText>, Problem> {
    single(headers, &CONTENT_TYPE)?.map(|value| parse(&CONTENT_TYPE, value)).transpose()
}

/// Joins the codings of several headers into one list, in their order (RFC 9110, 5.3).
pub(super) fn content_encoding(headers: &HeaderMap) -> Result<Option<ShortText>, Problem> {
    let values: Vec<_> = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    if values.is_empty() {
        return Ok(None);
    }
    let joined = String::from_utf8(values.join(&b", "[..]))
        .map_err(|_| Problem::malformed(CONTENT_ENCODING.as_str(), "is not UTF-8"))?;
    parse(&CONTENT_ENCODING, &joined).map(Some)
}
