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
mod raw;
mod refuse;
mod reply;
mod trace;
mod write;

use super::problem::Problem;
use super::state::AppState;
use crate::domain::message::DeliveryMode;

pub(super) use self::by_media_type::{
    batch_form, read, read_with_events, refuse_event_beside_envelope, refuse_property_headers,
};
pub(super) use self::cloudevents::{CloudEvent, ContentMode, EventMapping, KeyAttribute, SpecVersion};
pub(super) use self::envelope::Envelope;
pub(super) use self::field::Table;
pub(super) use self::integer::check_integers;
pub(super) use self::item::{Item, ItemForm, MAX_ID_BYTES, WrongItem, read_item};
pub(super) use self::parsed_message::{IdSource, ParsedMessage};
pub(super) use self::raw::RawBody;
pub(super) use self::refuse::refuse_idempotency_key;
pub(super) use self::reply::{read_reply, read_reply_item};
pub(super) use self::trace::TraceContext;
pub(super) use self::write::{
    BrokerFields, EnvelopeOut, accepts_envelope, delivery as answer_delivery, envelope as answer_envelope,
    publishable, raw as answer_raw,
};

/// Finishes a message that was read from these bytes, and refuses it if RabbitMQ would refuse it. `mode` is the delivery mode
/// where the caller gives none.
///
/// # Errors
/// 400 naming the field, 431.
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
