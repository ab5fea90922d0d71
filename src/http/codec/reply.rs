//! Reads the reply to a leased message: a message without the members that the gateway sets itself.

use axum::http::HeaderMap;
use bytes::Bytes;

use super::envelope::Envelope;
use super::{KeyAdvice, Purpose, TraceContext, finish, read, refuse_idempotency_key};
use crate::domain::lease::LeaseId;
use crate::domain::message::Message;
use crate::http::problem::{ITEM, Problem};
use crate::http::request::{Document, Leased, ReadBody};
use crate::http::state::AppState;

/// Reads the reply of a request: raw bytes, or an envelope. Returns also the name under which the request gives the queue for replies.
///
/// # Errors
/// 400 naming the field, 415, 431.
pub(in crate::http) fn read_reply(
    headers: &HeaderMap,
    body: &ReadBody,
    state: &AppState,
) -> Result<(Message, &'static str), Problem> {
    refuse_idempotency_key(headers, KeyAdvice::Settle)?;
    let parsed = read(headers, body, Purpose::Reply, state)?;
    let reply_to = parsed.reply_to_field();
    Ok((parsed.message, reply_to))
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
    let item = Document::named(ITEM).without(Purpose::Reply.own()).within_another();
    let Leased { lease_id, rest } = item.read::<Leased<Envelope<'_>>>(json)?;
    let id = lease_id.parse::<LeaseId>().map_err(|error| Problem::malformed("lease_id", error))?;
    let parsed = finish(rest.into_message(json)?, json, Purpose::Reply, trace, state)?;
    Ok((id, parsed.message))
}
