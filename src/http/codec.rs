//! Reads the message of a request: the raw body with headers, or the JSON envelope. The media type decides which of the two.
//!
//! Guarantees that a message which leaves this module is valid, as far as the request alone shows it: RabbitMQ refuses it only
//! for a reason that RabbitMQ alone knows.

mod envelope;
mod field;
mod header;
mod integer;
mod parsed_message;
mod property;
mod raw;
mod refuse;
mod write;

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::idempotency::key_of;
use super::problem::{Problem, ProblemType};
use super::quote::quoted;
use super::request::ReadBody;
use super::state::AppState;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::{DeliveryMode, MessageId};
use crate::domain::names::ShortText;

use self::envelope::ENVELOPE;
pub(super) use self::envelope::Envelope;
pub(super) use self::field::Table;
use self::header::single;
pub(super) use self::integer::check_integers;
pub(super) use self::parsed_message::{IdSource, ParsedMessage};
pub(super) use self::raw::RawBody;
pub(super) use self::refuse::refuse_idempotency_key;
pub(super) use self::write::{EnvelopeOut, accepts_envelope, envelope as answer_envelope, raw as answer_raw};

/// W3C trace context; carried as AMQP headers of the same names.
const TRACE_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// Reads the message of a request whose body is complete. `mode` is the delivery mode where the caller gives none. An
/// `Idempotency-Key` is the id of the message.
///
/// # Errors
/// 400 naming the field, 415, 431.
pub(super) fn read(
    headers: &HeaderMap,
    body: &ReadBody,
    mode: DeliveryMode,
    state: &AppState,
) -> Result<ParsedMessage, Problem> {
    let mut parsed = match key_of(headers)? {
        None => parse(headers, body)?,
        Some(key) => parse_keyed(headers, body, &key)?,
    };
    parsed.message.properties.delivery_mode.get_or_insert(mode);
    carry_trace(headers, &mut parsed.message.headers)
        .and_then(|()| refuse::message(&parsed.message, &state.limits().amqp_headers, state.broker.user()))
        .and_then(|()| check_integers(&parsed.message.headers, &body.bytes, "headers"))
        .map_err(|problem| problem.message_id(parsed.message.id.clone()))?;
    Ok(parsed)
}

fn parse(headers: &HeaderMap, body: &ReadBody) -> Result<ParsedMessage, Problem> {
    if is_envelope(headers)? { envelope::read(&body.bytes) } else { raw::read(headers, body.bytes.clone()) }
}

/// The message of a request with an idempotency key, which also names the message in a problem.
fn parse_keyed(headers: &HeaderMap, body: &ReadBody, key: &MessageId) -> Result<ParsedMessage, Problem> {
    let mut parsed = parse(headers, body).map_err(|problem| problem.message_id(key.clone()))?;
    parsed.identify_by(key)?;
    Ok(parsed)
}

fn is_envelope(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(content_type) = single(headers, &CONTENT_TYPE)? else { return Ok(false) };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(ENVELOPE) {
        return Ok(false);
    }
    if let Some(property) = headers.keys().find(|name| name.as_str().starts_with(raw::PREFIX)) {
        return Err(Problem::malformed(
            property.as_str(),
            "is not allowed beside an envelope: set it in \"properties\" or \"headers\" of the envelope",
        ));
    }
    match single(headers, &CONTENT_ENCODING)? {
        None | Some("identity") => Ok(true),
        Some(coding) => Err(Problem::new(
            ProblemType::UnsupportedMediaType,
            format!(
                "an envelope cannot have the content coding {}: send it without a content coding",
                quoted(coding)
            ),
        )),
    }
}

fn carry_trace(headers: &HeaderMap, table: &mut FieldTable) -> Result<(), Problem> {
    for name in headers.keys().filter(|name| TRACE_HEADERS.contains(name)) {
        if table.get(name.as_str()).is_some() {
            continue;
        }
        let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let key =
            ShortText::parse(name.as_str()).map_err(|error| Problem::malformed(name.as_str(), error))?;
        table.insert(key, FieldValue::Text(values.join(&b", "[..])));
    }
    Ok(())
}
