//! Reads the reply to a leased message: a message without the members that the gateway sets itself.

use axum::http::HeaderMap;
use bytes::Bytes;

use super::envelope::Envelope;
use super::{ParsedMessage, TraceContext, finish, read, refuse_idempotency_key};
use crate::domain::lease::LeaseId;
use crate::domain::message::{DeliveryMode, Message};
use crate::http::problem::Problem;
use crate::http::request::{Leased, ReadBody, json_of};
use crate::http::state::AppState;

/// Reads the reply of a request: raw bytes, or an envelope.
///
/// # Errors
/// 400 naming the field, 415, 431.
pub(in crate::http) fn read_reply(
    headers: &HeaderMap,
    body: &ReadBody,
    state: &AppState,
) -> Result<Message, Problem> {
    refuse_idempotency_key(headers)?;
    refuse_own(read(headers, body, DeliveryMode::Transient, state)?)
}

/// Reads an item of a settle: an envelope with the id of the lease that it replies to.
///
/// # Errors
/// 400 naming the field, 431.
pub(in crate::http) fn read_reply_item(
    json: &Bytes,
    trace: &TraceContext,
    state: &AppState,
) -> Result<(LeaseId, Message), Problem> {
    let Leased { lease_id, rest } = json_of::<Leased<Envelope<'_>>>("item", json)?;
    let id = lease_id.parse::<LeaseId>().map_err(|error| Problem::malformed("lease_id", error))?;
    let parsed = finish(rest.into_message(json)?, json, DeliveryMode::Transient, trace, state)?;
    Ok((id, refuse_own(parsed)?))
}

fn refuse_own(parsed: ParsedMessage) -> Result<Message, Problem> {
    let ParsedMessage { message, routing_key, mandatory, .. } = parsed;
    let properties = &message.properties;
    let own = [
        ("routing_key", routing_key.is_some()),
        ("mandatory", mandatory.is_some()),
        ("correlation_id", properties.correlation_id.is_some()),
        ("user_id", properties.user_id.is_some()),
    ];
    match own.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => Err(Problem::malformed(field, "is set by the gateway: leave it out")),
        None => Ok(message),
    }
}
