//! Reads the items of a settle in the order of the document.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::member::{DeadLetterItem, DeadLetterTo, ExtendItem, LeaseText, Member, RetryItem};
use super::target::{MEMBER as TARGET, Target};
use crate::broker::Action;
use crate::domain::duration;
use crate::domain::lease::LeaseId;
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::retry_step::RetryStep;
use crate::http::problem::{Problem, ProblemType};
use crate::http::request;

/// The most items of one request.
const MAX_ITEMS: usize = 1_000;

/// The items in the order of the document, each lease once.
#[derive(Debug)]
pub(super) struct SettleItems(Vec<Item>);

/// A lease, the action with it, and its place in the document.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: LeaseId,
    pub(super) member: Member,
    action: Action,
    /// The delay of a retry, as it was given.
    delay: Duration,
    /// Its place in the array of its member.
    index: usize,
}

impl SettleItems {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 naming the field, 403, 413.
    pub(super) fn read(body: &[u8], queue: &QueueName, max_delay: Duration) -> Result<Self, Problem> {
        let Document { mut items, count, dead_letter_to, .. } = request::json(body)?;
        if count > MAX_ITEMS {
            let detail = format!("the request has {count} items, and the limit is {MAX_ITEMS}: split it");
            return Err(Problem::new(ProblemType::PayloadTooLarge, detail).with("limit", MAX_ITEMS));
        }
        if items.is_empty() {
            let why = format!("has no items: name at least one lease in {}", Member::NAMES.join(", "));
            return Err(Problem::malformed("body", why));
        }
        refuse_repeated(&items)?;
        refuse_long_delays(&items, max_delay)?;
        let target = Target::of(dead_letter_to.unwrap_or_default())?;
        for item in &mut items {
            target.set_in(&mut item.action, queue)?;
        }
        Ok(Self(items))
    }

    /// The number of items.
    pub(super) fn len(&self) -> usize {
        self.0.len()
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

fn refuse_long_delays(items: &[Item], max: Duration) -> Result<(), Problem> {
    let Some(item) = items.iter().find(|item| item.delay > max) else { return Ok(()) };
    let max = duration::format(max);
    let why = format!("must be at most {max}, which GATEWAY_RETRY_DELAY_MAX sets");
    Err(Problem::malformed(&format!("{item}.delay"), why).with("limit", max))
}

/// The document, up to the limit, and the number of all its items.
#[derive(Default)]
struct Document {
    items: Vec<Item>,
    count: usize,
    members: Vec<Member>,
    dead_letter_to: Option<DeadLetterTo>,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut document = Document::default();
        while let Some(name) = map.next_key()? {
            let MemberName::Items(member) = name else {
                document.read_target(&mut map)?;
                continue;
            };
            if document.members.contains(&member) {
                return Err(A::Error::duplicate_field(member.name()));
            }
            document.members.push(member);
            match member {
                Member::Ack => map.next_value_seed(document.ids(member, Action::Ack))?,
                Member::Release => map.next_value_seed(document.ids(member, Action::Release))?,
                Member::Reject => map.next_value_seed(document.ids(member, Action::Reject))?,
                Member::Extend => map.next_value_seed(document.extensions())?,
                Member::Retry => map.next_value_seed(document.retries())?,
                Member::DeadLetter => map.next_value_seed(document.dead_letters())?,
            }
        }
        Ok(document)
    }
}

impl Document {
    /// The reader of an array of ids.
    fn ids(
        &mut self,
        member: Member,
        action: Action,
    ) -> Items<'_, LeaseText, impl Fn(LeaseText) -> ItemParts> {
        let item_of = move |LeaseText(id)| (id, action.clone(), Duration::ZERO);
        Items { document: self, member, item_of, kind: PhantomData }
    }

    /// The reader of an array of extensions.
    fn extensions(&mut self) -> Items<'_, Object<ExtendItem>, impl Fn(Object<ExtendItem>) -> ItemParts> {
        let item_of = |Object(ExtendItem { lease_id: LeaseText(id), lease })| {
            (id, Action::Extend(lease), Duration::ZERO)
        };
        Items { document: self, member: Member::Extend, item_of, kind: PhantomData }
    }

    /// The reader of an array of retries.
    fn retries(&mut self) -> Items<'_, Object<RetryItem>, impl Fn(Object<RetryItem>) -> ItemParts> {
        let item_of = |Object(RetryItem { lease_id: LeaseText(id), delay, reason })| {
            let delay = delay.unwrap_or_default();
            (id, Action::Retry { step: RetryStep::for_delay(delay), reason }, delay)
        };
        Items { document: self, member: Member::Retry, item_of, kind: PhantomData }
    }

    /// The reader of an array of dead letters. Their target follows.
    fn dead_letters(
        &mut self,
    ) -> Items<'_, Object<DeadLetterItem>, impl Fn(Object<DeadLetterItem>) -> ItemParts> {
        let item_of = |Object(DeadLetterItem { lease_id: LeaseText(id), reason })| {
            let (exchange, routing_key) = (ExchangeName::default(), ShortText::default());
            (id, Action::DeadLetter { exchange, routing_key, reason }, Duration::ZERO)
        };
        Items { document: self, member: Member::DeadLetter, item_of, kind: PhantomData }
    }

    /// Reads where dead letters go.
    fn read_target<'de, A: MapAccess<'de>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        if self.dead_letter_to.is_some() {
            return Err(A::Error::duplicate_field(TARGET));
        }
        self.dead_letter_to = map.next_value::<Option<Object<DeadLetterTo>>>()?.map(|Object(to)| to);
        Ok(())
    }
}

/// The parts of an item: its lease, its action, and the delay of a retry.
type ItemParts = (LeaseId, Action, Duration);

/// The names of all members.
const KNOWN: &[&str] = &["ack", "release", "reject", "extend", "retry", "dead_letter", TARGET];

/// The name of a member.
enum MemberName {
    /// A member with items.
    Items(Member),
    /// `dead_letter_to`.
    Target,
}

impl<'de> Deserialize<'de> for MemberName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = MemberName;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a member")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<MemberName, E> {
                if name == TARGET {
                    return Ok(MemberName::Target);
                }
                Member::named(name).map(MemberName::Items).ok_or_else(|| E::unknown_field(name, KNOWN))
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

/// An item that is an object. A derived reader would also accept an array.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        request::object(deserializer).map(Self)
    }
}

/// Adds the items of an array, or none for null. Beyond the limit it only counts, so that many items cost no memory.
struct Items<'a, T, F> {
    document: &'a mut Document,
    member: Member,
    item_of: F,
    kind: PhantomData<fn() -> T>,
}

impl<'de, T: Deserialize<'de>, F: Fn(T) -> ItemParts> DeserializeSeed<'de> for Items<'_, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Deserialize<'de>, F: Fn(T) -> ItemParts> Visitor<'de> for Items<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let document = self.document;
        let mut index = 0;
        while document.items.len() < MAX_ITEMS {
            let Some(item) = array.next_element::<T>()? else { return Ok(()) };
            let (id, action, delay) = (self.item_of)(item);
            document.items.push(Item { id, member: self.member, action, delay, index });
            document.count += 1;
            index += 1;
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            document.count += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
