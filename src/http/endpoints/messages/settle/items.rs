//! The items of a settle, and the action that each asks for.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::document::{Content, Document, GivenItem, MAX_ITEMS};
use super::member::Member;
use super::target::{MEMBER as TARGET, Target};
use crate::broker::Action;
use crate::domain::duration;
use crate::domain::lease::LeaseId;
use crate::domain::message::Message;
use crate::domain::names::QueueName;
use crate::domain::retry_step::RetryStep;
use crate::http::problem::{Problem, ProblemType};
use crate::http::request;

/// The items in the order of the document, each lease once.
#[derive(Debug)]
pub(super) struct SettleItems(Vec<Item>);

/// A lease, the action with it, and its place in the document.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: LeaseId,
    pub(super) member: Member,
    action: Action,
    /// Its place in the array of its member.
    index: usize,
}

/// The values that the items of a request share.
pub(super) struct Reading<'a, R> {
    pub(super) queue: &'a QueueName,
    /// The longest delay of a retry.
    pub(super) max_delay: Duration,
    /// Reads a reply, with the lease that it replies to.
    pub(super) read_reply: R,
}

impl<R: Fn(&Bytes) -> Result<(LeaseId, Message), Problem>> Reading<'_, R> {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 naming the field, 403, 413, 431.
    pub(super) fn items(&self, body: &Bytes) -> Result<SettleItems, Problem> {
        let Document { items, count, dead_letter_to, .. } = request::json(body)?;
        if count > MAX_ITEMS {
            let detail = format!("the request has {count} items, and the limit is {MAX_ITEMS}: split it");
            return Err(Problem::new(ProblemType::PayloadTooLarge, detail).with("limit", MAX_ITEMS));
        }
        if items.is_empty() {
            let why = format!("has no items: name at least one lease in {}", Member::NAMES.join(", "));
            return Err(Problem::malformed("body", why));
        }
        let target = dead_letter_to.map(Target::of_document).transpose();
        let target = target.map_err(|problem| problem.of_item(TARGET))?.unwrap_or_default();
        let items: Vec<_> =
            items.into_iter().map(|item| self.item(item, body, &target)).collect::<Result<_, _>>()?;
        refuse_repeated(&items)?;
        Ok(SettleItems(items))
    }

    fn item(&self, given: GivenItem<'_>, body: &Bytes, target: &Target) -> Result<Item, Problem> {
        let GivenItem { member, index, content } = given;
        let place = format!("{}[{index}]", member.name());
        let (id, action) = match content {
            Content::Plain(id, action) => (id, action),
            Content::Retry { id, delay, reason } => (id, self.retry(&place, delay, reason)?),
            Content::DeadLetter { id, reason } => {
                let action = target.action(self.queue, reason);
                (id, action.map_err(|problem| problem.of_item(TARGET))?)
            }
            Content::Reply(json) => {
                let json = body.slice_ref(json.get().as_bytes());
                let (id, reply) = (self.read_reply)(&json).map_err(|problem| problem.of_item(&place))?;
                (id, Action::Reply(reply.into()))
            }
        };
        Ok(Item { id, member, action, index })
    }

    fn retry(&self, place: &str, delay: Duration, reason: Option<String>) -> Result<Action, Problem> {
        check_delay(&format!("{place}.delay"), delay, self.max_delay)?;
        Ok(Action::Retry { step: RetryStep::for_delay(delay), reason })
    }
}

/// Checks the delay of a retry.
///
/// # Errors
/// 400 naming the field and the setting.
pub(in crate::http) fn check_delay(field: &str, delay: Duration, max: Duration) -> Result<(), Problem> {
    if delay <= max {
        return Ok(());
    }
    let max = duration::format(max);
    let why = format!("must be at most {max}, which GATEWAY_RETRY_DELAY_MAX sets");
    Err(Problem::malformed(field, why).with("limit", max))
}

impl SettleItems {
    /// The number of items.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The place of an item in the document.
    pub(super) fn place(&self, n: usize) -> String {
        self.0.get(n).map(ToString::to_string).unwrap_or_default()
    }

    /// The leases with their actions.
    pub(super) fn actions(&self) -> Vec<(LeaseId, Action)> {
        self.0.iter().map(|item| (item.id.clone(), item.action.clone())).collect()
    }
}

impl IntoIterator for SettleItems {
    type Item = Item;
    type IntoIter = std::vec::IntoIter<Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Item {
    /// Its place in the document.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.member.name(), self.index)
    }
}

fn refuse_repeated(items: &[Item]) -> Result<(), Problem> {
    let mut places = HashMap::with_capacity(items.len());
    for item in items {
        if let Some(first) = places.insert(&item.id, item) {
            let why = format!("names the lease of {first} again: name each lease once");
            return Err(Problem::malformed(&item.to_string(), why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
