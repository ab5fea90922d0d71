//! Reads one message of a batch or a stream: an envelope or a CloudEvent. Its caller finds its `id` in the result again.

use bytes::Bytes;
use serde::Deserialize;

use super::cloudevents::{self, EventMapping};
use super::envelope::Envelope;
use super::raw::AmqpHeaders;
use super::{ParsedMessage, Purpose, TraceContext, finish};
use crate::http::problem::{ITEM, Problem};
use crate::http::request::{Document, Identified};
use crate::http::state::AppState;

/// The maximum of bytes of the caller's id of an item.
pub(in crate::http) const MAX_ID_BYTES: usize = 80;

/// The form of the items of a request.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum ItemForm<'a> {
    /// Envelopes, which may have an `id`.
    Envelope,
    /// CloudEvents, which have an `id`, and become the messages that the mapping describes.
    Event(EventMapping<'a>),
}

/// A message of a batch or a stream.
#[derive(Debug)]
pub(in crate::http) struct Item {
    /// The caller's id of the item.
    pub(in crate::http) id: Option<String>,
    pub(in crate::http) parsed: ParsedMessage,
}

/// An item that is no message, with the caller's id if it can be read.
#[derive(Debug)]
pub(in crate::http) struct WrongItem {
    pub(in crate::http) id: Option<String>,
    pub(in crate::http) problem: Problem,
}

/// Reads an item, which is a part of a body.
///
/// # Errors
/// 400 naming the field, 431.
pub(in crate::http) fn read_item(
    json: &Bytes,
    form: &ItemForm<'_>,
    trace: &TraceContext,
    state: &AppState,
) -> Result<Item, WrongItem> {
    let read = match form {
        ItemForm::Envelope => read_envelope(json),
        ItemForm::Event(mapping) => cloudevents::read(json, AmqpHeaders::default(), mapping)
            .map(|parsed| Item { id: id_of(json), parsed }),
    };
    let Item { id, parsed } = read.map_err(|problem| WrongItem { id: id_of(json), problem })?;
    match finish(parsed, json, Purpose::Publish, trace, state) {
        Ok(parsed) => Ok(Item { id, parsed }),
        Err(problem) => Err(WrongItem { id, problem }),
    }
}

fn read_envelope(json: &Bytes) -> Result<Item, Problem> {
    let Identified { id, rest } = Document::named(ITEM).read::<Identified<Envelope<'_>>>(json)?;
    check_id(id.as_deref())?;
    Ok(Item { id, parsed: rest.into_message(json)? })
}

fn check_id(id: Option<&str>) -> Result<(), Problem> {
    match id {
        Some(id) if id.len() > MAX_ID_BYTES => {
            let why = format!("has {} bytes, and the limit is {MAX_ID_BYTES} bytes: shorten it", id.len());
            Err(Problem::malformed("id", why).with("limit", MAX_ID_BYTES))
        }
        _ => Ok(()),
    }
}

/// The id of an event, or of an envelope that is valid JSON and otherwise wrong.
fn id_of(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct WithId {
        id: Option<String>,
    }
    let id = serde_json::from_slice::<WithId>(json).ok()?.id;
    id.filter(|id| check_id(Some(id)).is_ok())
}
