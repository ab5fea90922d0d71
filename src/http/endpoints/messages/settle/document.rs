//! Reads the body of a settle: items of several kinds in the order of the document.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::member::{DeadLetterItem, DeadLetterTo, ExtendItem, LeaseText, Member, RetryItem};
use super::target::MEMBER as TARGET;
use crate::broker::Action;
use crate::domain::lease::LeaseId;
use crate::http::request;

/// The most items of one request.
pub(super) const MAX_ITEMS: usize = 1_000;

/// An item as the document has it.
#[derive(Debug)]
pub(super) struct GivenItem<'a> {
    pub(super) member: Member,
    /// Its place in the array of its member.
    pub(super) index: usize,
    pub(super) content: Content<'a>,
}

/// The content of an item.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// A lease, and an action that needs nothing else.
    Plain(LeaseId, Action),
    Retry {
        id: LeaseId,
        delay: Duration,
        reason: Option<String>,
    },
    DeadLetter {
        id: LeaseId,
        reason: Option<String>,
    },
    /// A reply that is not read yet.
    Reply(&'a RawValue),
}

/// The document, up to the limit, and the number of all its items.
#[derive(Default)]
pub(super) struct Document<'a> {
    pub(super) items: Vec<GivenItem<'a>>,
    pub(super) count: usize,
    members: Vec<Member>,
    pub(super) dead_letter_to: Option<DeadLetterTo>,
}

impl<'de> Deserialize<'de> for Document<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document<'de>, A::Error> {
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
                Member::Reply => map.next_value_seed(document.replies())?,
            }
        }
        Ok(document)
    }
}

impl<'a> Document<'a> {
    /// The reader of an array of ids.
    fn ids(&mut self, member: Member, action: Action) -> impl DeserializeSeed<'a, Value = ()> {
        self.items_of(member, move |LeaseText(id)| Content::Plain(id, action.clone()))
    }

    /// The reader of an array of extensions.
    fn extensions(&mut self) -> impl DeserializeSeed<'a, Value = ()> {
        self.items_of(Member::Extend, |Object(ExtendItem { lease_id: LeaseText(id), lease })| {
            Content::Plain(id, Action::Extend(lease))
        })
    }

    /// The reader of an array of retries.
    fn retries(&mut self) -> impl DeserializeSeed<'a, Value = ()> {
        self.items_of(Member::Retry, |Object(RetryItem { lease_id: LeaseText(id), delay, reason })| {
            Content::Retry { id, delay: delay.unwrap_or_default(), reason }
        })
    }

    /// The reader of an array of dead letters.
    fn dead_letters(&mut self) -> impl DeserializeSeed<'a, Value = ()> {
        self.items_of(Member::DeadLetter, |Object(DeadLetterItem { lease_id: LeaseText(id), reason })| {
            Content::DeadLetter { id, reason }
        })
    }

    /// The reader of an array of replies.
    fn replies(&mut self) -> impl DeserializeSeed<'a, Value = ()> {
        self.items_of(Member::Reply, Content::Reply)
    }

    fn items_of<T: Deserialize<'a>>(
        &mut self,
        member: Member,
        content_of: impl Fn(T) -> Content<'a>,
    ) -> impl DeserializeSeed<'a, Value = ()> {
        Items { document: self, member, content_of, kind: PhantomData }
    }

    /// Reads where dead letters go.
    fn read_target<A: MapAccess<'a>>(&mut self, map: &mut A) -> Result<(), A::Error> {
        if self.dead_letter_to.is_some() {
            return Err(A::Error::duplicate_field(TARGET));
        }
        self.dead_letter_to = map.next_value::<Option<Object<DeadLetterTo>>>()?.map(|Object(to)| to);
        Ok(())
    }
}

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
                Member::named(name)
                    .map(MemberName::Items)
                    .ok_or_else(|| E::unknown_field(name, Member::KNOWN))
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
struct Items<'d, 'a, T, F> {
    document: &'d mut Document<'a>,
    member: Member,
    content_of: F,
    kind: PhantomData<fn() -> T>,
}

impl<'a, T: Deserialize<'a>, F: Fn(T) -> Content<'a>> DeserializeSeed<'a> for Items<'_, 'a, T, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a, T: Deserialize<'a>, F: Fn(T) -> Content<'a>> Visitor<'a> for Items<'_, 'a, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        let document = self.document;
        let mut index = 0;
        while document.items.len() < MAX_ITEMS {
            let Some(item) = array.next_element::<T>()? else { return Ok(()) };
            let content = (self.content_of)(item);
            document.items.push(GivenItem { member: self.member, index, content });
            document.count += 1;
            index += 1;
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            document.count += 1;
        }
        Ok(())
    }
}
