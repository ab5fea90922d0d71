//! Reads the message of a request: the raw body with headers, or the JSON envelope. The media type decides which of the two.
//!
//! Guarantees that a message which leaves this module is valid, as far as the request alone shows it: RabbitMQ refuses it only
//! for a reason that RabbitMQ alone knows.

mod envelope;
mod field;
mod header;
mod integer;
mod item;
mod parsed_message;
mod property;
mod raw;
mod refuse;
mod trace;
mod write;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::idempotency::key_of;
use super::problem::{Problem, ProblemType};
use super::quote::quoted;
use super::request::ReadBody;
use super::state::AppState;
use crate::domain::message::{DeliveryMode, MessageId};

use self::envelope::ENVELOPE;
pub(super) use self::envelope::Envelope;
pub(super) use self::field::Table;
use self::header::single;
pub(super) use self::integer::check_integers;
pub(super) use self::item::{Item, MAX_ID_BYTES, WrongItem, read_item};
pub(super) use self::parsed_message::{IdSource, ParsedMessage};
pub(super) use self::raw::RawBody;
pub(super) use self::refuse::refuse_idempotency_key;
pub(super) use self::trace::TraceContext;
pub(super) use self::write::{EnvelopeOut, accepts_envelope, envelope as answer_envelope, raw as answer_raw};

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
    let parsed = match key_of(headers)? {
        None => parse(headers, body)?,
        Some(key) => parse_keyed(headers, body, &key)?,
    };
    finish(parsed, &body.bytes, mode, &TraceContext::of(headers), state)
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

/// Finishes a message that was read from these bytes, and refuses it if RabbitMQ would refuse it.
fn finish(
    mut parsed: ParsedMessage,
    bytes: &[u8],
    mode: DeliveryMode,
    trace: &TraceContext,
    state: &AppState,
) -> Result<ParsedMessage, Problem> {
    let message = &mut parsed.message;
    message.properties.delivery_mode.get_or_insert(mode);
    trace.add_to(&mut message.headers);
    refuse::message(message, &state.limits().amqp_headers, state.broker.user())
        .and_then(|()| check_integers(&message.headers, bytes, "headers"))
        .map_err(|problem| problem.message_id(message.id.clone()))?;
    Ok(parsed)
}

/// Refuses headers that are properties of a message, where the body is an envelope or holds envelopes.
///
/// # Errors
/// 400 naming the header.
pub(super) fn refuse_property_headers(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.keys().find(|name| name.as_str().starts_with(raw::PREFIX)) {
        Some(property) => Err(Problem::malformed(
            property.as_str(),
            "is not allowed beside an envelope: set it in \"properties\" or \"headers\" of the envelope",
        )),
        None => Ok(()),
    }
}

fn is_envelope(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(content_type) = single(headers, &CONTENT_TYPE)? else { return Ok(false) };
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(ENVELOPE) {
        return Ok(false);
    }
    refuse_property_headers(headers)?;
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
