//! Reads the message of a request whose body is complete. The media type decides its form: raw bytes, an envelope or a CloudEvent.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use super::cloudevents::{self, BATCH, EventMapping, SPECVERSION, STRUCTURED};
use super::envelope::{self, ENVELOPE};
use super::header::single;
use super::item::ItemForm;
use super::parsed_message::PREFIX;
use super::{ParsedMessage, Purpose, TraceContext, finish, raw};
use crate::domain::message::MessageId;
use crate::http::idempotency::key_of;
use crate::http::media_type::MediaType;
use crate::http::problem::{Problem, ProblemType};
use crate::http::quote::quoted;
use crate::http::request::{ReadBody, refuse_charset, refuse_coding};
use crate::http::state::AppState;

/// The refusal of a batch of CloudEvents.
const SEVERAL_EVENTS: &str =
    "this path takes one CloudEvent, not a batch: send the batch to POST /publish/{exchange}/batch";

/// The kinds of body that a media type tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Envelope,
    Event,
    Events,
    Raw,
}

/// Reads the message of a request. A CloudEvent is bytes like others.
///
/// # Errors
/// 400 naming the field, 415, 431.
pub(in crate::http) fn read(
    headers: &HeaderMap,
    body: &ReadBody,
    purpose: Purpose,
    state: &AppState,
) -> Result<ParsedMessage, Problem> {
    let parsed = match kind(headers)? {
        Kind::Envelope => read_envelope(headers, body, purpose)?,
        Kind::Event | Kind::Events | Kind::Raw => raw::read(headers, body.bytes.clone())?,
    };
    finish(parsed, &body.bytes, purpose, &TraceContext::of(headers), state)
}

/// Reads the message of a publish: a CloudEvent becomes the message that `mapping` describes, and an `Idempotency-Key` is the id of
/// the message.
///
/// # Errors
/// The same, and 415 for several events.
pub(in crate::http) fn read_with_events(
    headers: &HeaderMap,
    body: &ReadBody,
    state: &AppState,
    mapping: &EventMapping<'_>,
) -> Result<ParsedMessage, Problem> {
    let parsed = match key_of(headers)? {
        None => parse(headers, body, mapping)?,
        Some(key) => parse_keyed(headers, body, mapping, &key)?,
    };
    finish(parsed, &body.bytes, Purpose::Publish, &TraceContext::of(headers), state)
}

fn parse(headers: &HeaderMap, body: &ReadBody, mapping: &EventMapping<'_>) -> Result<ParsedMessage, Problem> {
    match kind(headers)? {
        Kind::Event => read_event(headers, body, mapping),
        Kind::Events => Err(unsupported(SEVERAL_EVENTS)),
        Kind::Raw if headers.contains_key(SPECVERSION) => cloudevents::read_binary(headers, body, mapping),
        Kind::Envelope => {
            refuse_event_beside_envelope(headers)?;
            mapping.refuse_for_other()?;
            read_envelope(headers, body, Purpose::Publish)
        }
        Kind::Raw => {
            mapping.refuse_for_other()?;
            raw::read(headers, body.bytes.clone())
        }
    }
}

/// The message of a request with an idempotency key, which also names the message in a problem.
fn parse_keyed(
    headers: &HeaderMap,
    body: &ReadBody,
    mapping: &EventMapping<'_>,
    key: &MessageId,
) -> Result<ParsedMessage, Problem> {
    let mut parsed = parse(headers, body, mapping).map_err(|problem| problem.message_id(key.clone()))?;
    parsed.identify_by(key)?;
    Ok(parsed)
}

fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    let media_type = content_type(headers)?;
    let kinds = [(ENVELOPE, Kind::Envelope), (STRUCTURED, Kind::Event), (BATCH, Kind::Events)];
    let kind = kinds.into_iter().find(|(name, _)| media_type.is(name));
    Ok(kind.map_or(Kind::Raw, |(_, kind)| kind))
}

/// Refuses headers that are properties of a message, where the body is an envelope or holds envelopes.
///
/// # Errors
/// 400 naming the header.
pub(in crate::http) fn refuse_property_headers(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.keys().find(|name| name.as_str().starts_with(PREFIX)) {
        Some(property) => Err(Problem::malformed(
            property.as_str(),
            "is not allowed beside an envelope: set it in \"properties\" or \"headers\" of the envelope",
        )),
        None => Ok(()),
    }
}

/// The form of the items of a batch, by its media type. `mapping` is that of its events.
///
/// # Errors
/// 415, or 400 for parameters and headers of events beside envelopes.
pub(in crate::http) fn batch_form<'a>(
    headers: &HeaderMap,
    mapping: EventMapping<'a>,
) -> Result<ItemForm<'a>, Problem> {
    let media_type = content_type(headers)?;
    refuse_coding(headers, "a batch")?;
    if media_type.is(BATCH) {
        refuse_charset(&media_type, "a batch of CloudEvents")?;
        return Ok(ItemForm::Event(mapping));
    }
    if !media_type.is("application/json") {
        return Err(unsupported(format!(
            "the body must be application/json, or {BATCH} for CloudEvents, not {}: set Content-Type",
            quoted(single(headers, &CONTENT_TYPE)?.unwrap_or_default())
        )));
    }
    refuse_charset(&media_type, "a batch")?;
    refuse_event_beside_envelope(headers)?;
    mapping.refuse_for_other()?;
    Ok(ItemForm::Envelope)
}

fn read_envelope(headers: &HeaderMap, body: &ReadBody, purpose: Purpose) -> Result<ParsedMessage, Problem> {
    refuse_property_headers(headers)?;
    refuse_coding(headers, "an envelope")?;
    refuse_charset(&content_type(headers)?, "an envelope")?;
    envelope::read(&body.bytes, purpose)
}

fn read_event(
    headers: &HeaderMap,
    body: &ReadBody,
    mapping: &EventMapping<'_>,
) -> Result<ParsedMessage, Problem> {
    refuse_charset(&content_type(headers)?, "a CloudEvent")?;
    refuse_coding(headers, "a CloudEvent in structured mode")?;
    cloudevents::read(&body.bytes, raw::amqp_headers(headers)?, mapping)
}

fn content_type(headers: &HeaderMap) -> Result<MediaType<'_>, Problem> {
    single(headers, &CONTENT_TYPE).map(|text| MediaType::of(text.unwrap_or_default()))
}

/// Refuses the header that makes a request a CloudEvent in binary mode, where the body is an envelope or holds envelopes.
///
/// # Errors
/// 400 naming the header.
pub(in crate::http) fn refuse_event_beside_envelope(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(SPECVERSION) {
        return Err(Problem::malformed(
            SPECVERSION.as_str(),
            "is not allowed beside an envelope: send either an envelope or a CloudEvent",
        ));
    }
    Ok(())
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemType::UnsupportedMediaType, detail)
}
