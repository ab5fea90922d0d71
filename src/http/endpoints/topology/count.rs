//! Counts the items of a document before the gateway reads them.
//!
//! An item of 13 bytes takes some 400 bytes once it is read. The count takes no memory.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::http::problem::{Problem, ProblemType};
use crate::http::request;

/// The lists of a document. Its other members are mistakes, which the reader of the document tells.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lists {
    exchanges: Vec<IgnoredAny>,
    queues: Vec<IgnoredAny>,
    bindings: Vec<IgnoredAny>,
}

/// Refuses a document with more items than `limit`.
///
/// # Errors
/// 413 with the number of items, or 400 if the document has no lists.
pub(super) fn refuse_too_many(bytes: &[u8], limit: usize) -> Result<(), Problem> {
    let lists: Lists = request::json(bytes)?;
    let items = lists.exchanges.len() + lists.queues.len() + lists.bindings.len();
    if items <= limit {
        return Ok(());
    }
    let detail =
        format!("the document has {items} items, and GATEWAY_MAX_TOPOLOGY_ITEMS allows {limit}: split it");
    Err(Problem::new(ProblemType::PayloadTooLarge, detail).with("limit", limit))
}
