//! Reads the message of a request: the raw body with headers, the JSON envelope, or a CloudEvent. The media type decides, and for a
//! CloudEvent in binary mode the header `ce-specversion`.
//!
//! Guarantees that a message which leaves this module is valid, as far as the request alone shows it: RabbitMQ refuses it only
//! for a reason that RabbitMQ alone knows.

mod cloudevents;
mod envelope;
mod field;
mod header;
mod integer;
mod media_type;
mod parsed_message;
mod property;
mod raw;
mod refuse;
mod write;

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{Problem, ProblemType};
use super::quote::quoted;
use super::request::ReadBody;
use super::state::AppState;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::DeliveryMode;
use crate::domain::names::ShortText;

use self::cloudevents::{BATCH, SPECVERSION, STRUCTURED};
pub(super) use self::cloudevents::{CloudEvent, ContentMode, EventMapping, KeyAttribute, SpecVersion};
use self::envelope::ENVELOPE;
pub(super) use self::envelope::Envelope;
pub(super) use self::field::Table;
use self::header::single;
pub(super) use self::integer::check_integers;
use self::media_type::MediaType;
pub(super) use self::parsed_message::ParsedMessage;
pub(super) use self::raw::RawBody;
pub(super) use self::refuse::refuse_idempotency_key;
pub(super) use self::write::{EnvelopeOut, accepts_envelope, envelope as answer_envelope, raw as answer_raw};

/// The refusal of a batch of CloudEvents.
const SEVERAL_EVENTS: &str =
    "this path takes one CloudEvent, not a batch: send the batch to POST /publish/{exchange}/batch";

/// W3C trace context; carried as AMQP headers of the same names.
const TRACE_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// The kinds of body that a media type tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Envelope,
    Event,
    Events,
    Raw,
}

/// Reads the message of a request whose body is complete. A CloudEvent is bytes like others. `mode` is the delivery mode where the
/// caller gives none.
///
/// # Errors
/// 400 naming the field, 415, 431.
pub(super) fn read(
    headers: &HeaderMap,
    body: &ReadBody,
    mode: DeliveryMode,
    state: &AppState,
) -> Result<ParsedMessage, Problem> {
    let parsed = match kind(headers)? {
        Kind::Envelope => read_envelope(headers, body)?,
        Kind::Event | Kind::Events | Kind::Raw => raw::read(headers, body.bytes.clone())?,
    };
    complete(parsed, headers, body, mode, state)
}

/// The same, where a CloudEvent becomes the message that `mapping` describes.
///
/// # Errors
/// The same, and 415 for several events.
pub(super) fn read_with_events(
    headers: &HeaderMap,
    body: &ReadBody,
    mode: DeliveryMode,
    state: &AppState,
    mapping: &EventMapping<'_>,
) -> Result<ParsedMessage, Problem> {
    let kind = kind(headers)?;
    let parsed = match kind {
        Kind::Event => read_event(headers, body, mapping)?,
        Kind::Events => return Err(unsupported(SEVERAL_EVENTS)),
        Kind::Raw if headers.contains_key(SPECVERSION) => cloudevents::read_binary(headers, body, mapping)?,
        Kind::Envelope => {
            refuse_event_beside_envelope(headers)?;
            mapping.refuse_for_other()?;
            read_envelope(headers, body)?
        }
        Kind::Raw => {
            mapping.refuse_for_other()?;
            raw::read(headers, body.bytes.clone())?
        }
    };
    complete(parsed, headers, body, mode, state)
}

/// Adds the defaults, and refuses what RabbitMQ would refuse.
fn complete(
    mut parsed: ParsedMessage,
    headers: &HeaderMap,
    body: &ReadBody,
    mode: DeliveryMode,
    state: &AppState,
) -> Result<ParsedMessage, Problem> {
    parsed.message.properties.delivery_mode.get_or_insert(mode);
    carry_trace(headers, &mut parsed.message.headers)
        .and_then(|()| refuse::message(&parsed.message, &state.limits().amqp_headers, state.broker.user()))
        .and_then(|()| check_integers(&parsed.message.headers, &body.bytes, "headers"))
        .map_err(|problem| problem.message_id(parsed.message.id.clone()))?;
    Ok(parsed)
}

fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    let Some(content_type) = single(headers, &CONTENT_TYPE)? else { return Ok(Kind::Raw) };
    let media_type = MediaType::of(content_type);
    let kinds = [(ENVELOPE, Kind::Envelope), (STRUCTURED, Kind::Event), (BATCH, Kind::Events)];
    let kind = kinds.into_iter().find(|(name, _)| media_type.is(name));
    Ok(kind.map_or(Kind::Raw, |(_, kind)| kind))
}

fn read_envelope(headers: &HeaderMap, body: &ReadBody) -> Result<ParsedMessage, Problem> {
    if let Some(property) = headers.keys().find(|name| name.as_str().starts_with(raw::PREFIX)) {
        return Err(Problem::malformed(
            property.as_str(),
            "is not allowed beside an envelope: set it in \"properties\" or \"headers\" of the envelope",
        ));
    }
    refuse_coding(headers, "an envelope")?;
    envelope::read(&body.bytes)
}

fn read_event(
    headers: &HeaderMap,
    body: &ReadBody,
    mapping: &EventMapping<'_>,
) -> Result<ParsedMessage, Problem> {
    let content_type = single(headers, &CONTENT_TYPE)?.unwrap_or_default();
    let media_type = MediaType::of(content_type);
    if !media_type.is_utf8() {
        let charset = quoted(media_type.charset().unwrap_or_default());
        return Err(unsupported(format!(
            "a CloudEvent cannot have the character set {charset}: send it as UTF-8"
        )));
    }
    refuse_coding(headers, "a CloudEvent in structured mode")?;
    cloudevents::read(&body.bytes, raw::amqp_headers(headers)?, mapping)
}

fn refuse_event_beside_envelope(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(SPECVERSION) {
        return Err(Problem::malformed(
            SPECVERSION.as_str(),
            "is not allowed beside an envelope: send either an envelope or a CloudEvent",
        ));
    }
    Ok(())
}

fn refuse_coding(headers: &HeaderMap, body: &str) -> Result<(), Problem> {
    match single(headers, &CONTENT_ENCODING)? {
        None | Some("identity") => Ok(()),
        Some(coding) => Err(unsupported(format!(
            "{body} cannot have the content coding {}: send it without a content coding",
            quoted(coding)
        ))),
    }
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemType::UnsupportedMediaType, detail)
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
