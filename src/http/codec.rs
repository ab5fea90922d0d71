//! Reads the message of a request: the raw body with headers, the JSON envelope, or a CloudEvent. The media type decides, and for a
//! CloudEvent in binary mode the header `ce-specversion`.
//!
//! Guarantees that a message which leaves this module is valid, as far as the request alone shows it: RabbitMQ refuses it only
//! for a reason that RabbitMQ alone knows.

mod by_media_type;
mod cloudevents;
mod envelope;
mod field;
mod header;
mod integer;
mod item;
mod parsed_message;
mod property;
mod purpose;
mod raw;
mod refuse;
mod reply;
mod trace;
mod write;

use super::problem::Problem;
use super::state::AppState;

pub(super) use self::by_media_type::{
    batch_form, read, read_with_events, refuse_event_beside_envelope, refuse_property_headers,
};
pub(super) use self::cloudevents::{CloudEvent, ContentMode, EventMapping, KeyAttribute, SpecVersion};
pub(super) use self::envelope::Envelope;
pub(super) use self::field::Table;
pub(super) use self::integer::check_integers;
pub(super) use self::item::{Item, ItemForm, MAX_ID_BYTES, WrongItem, read_item};
pub(super) use self::parsed_message::{IdSource, ParsedMessage};
pub(super) use self::purpose::Purpose;
pub(super) use self::raw::RawBody;
pub(super) use self::refuse::{KeyAdvice, refuse_idempotency_key, refuse_message_headers};
pub(super) use self::reply::{read_reply, read_reply_item};
pub(super) use self::trace::TraceContext;
pub(super) use self::write::{
    BrokerFields, EnvelopeOut, accepts_envelope, delivery as answer_delivery, envelope as answer_envelope,
    publishable, raw as answer_raw,
};

/// Finishes a message that was read from these bytes. Refuses members that the gateway sets itself, and values that RabbitMQ would refuse.
///
/// # Errors
/// 400 naming the field, 431.
fn finish(
    mut parsed: ParsedMessage,
    bytes: &[u8],
    purpose: Purpose,
    trace: &TraceContext,
    state: &AppState,
) -> Result<ParsedMessage, Problem> {
    let message = &mut parsed.message;
    message.properties.delivery_mode.get_or_insert(purpose.delivery_mode());
    trace.add_to(&mut message.headers);
    refuse::own_members(&parsed, purpose)
        .and_then(|()| refuse::message(&parsed, purpose, &state.limits().amqp_headers, state.user_id()))
        .and_then(|()| check_integers(&parsed.message.headers, bytes, "headers"))
        .map_err(|problem| problem.message_id(parsed.message.id.clone()))?;
    Ok(parsed)
}
