//! The permissions that an operation needs together.

use super::need::{Key, Need};
use super::permissions::Permissions;
use crate::domain::names::ExchangeName;

/// A need, and another one that is as good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed<'a> {
    /// The need that a refusal names.
    pub need: Need<'a>,
    /// A need that includes it.
    pub or: Option<Need<'a>>,
}

impl<'a> From<Need<'a>> for Needed<'a> {
    fn from(need: Need<'a>) -> Self {
        Self { need, or: None }
    }
}

impl<'a> Need<'a> {
    /// The permission to call the servers of a queue, or to write to the queue by the default exchange.
    #[must_use]
    pub fn call_or_write(queue: &'a str) -> Needed<'a> {
        Self::call(queue).or(Self::write_to_queue(queue))
    }

    /// The permission to have replies sent to a queue: to read the queue, or to write to it.
    #[must_use]
    pub fn replies_at(queue: &'a str) -> Needed<'a> {
        Self::read(queue, Key::Every).or(Self::write_to_queue(queue))
    }

    /// The permission to publish to a queue by the default exchange.
    #[must_use]
    pub(super) fn write_to_queue(queue: &'a str) -> Self {
        Self::write(ExchangeName::DEFAULT_IN_PATH, Key::One(queue))
    }

    /// The same need, or this one in its place.
    #[must_use]
    pub fn or(self, other: Need<'a>) -> Needed<'a> {
        Needed { need: self, or: Some(other) }
    }
}

impl Permissions {
    /// The needs that they do not cover, each once.
    #[must_use]
    pub fn missing<'a>(&self, needed: impl IntoIterator<Item = Needed<'a>>) -> Vec<Need<'a>> {
        let mut missing = Vec::new();
        for Needed { need, or } in needed {
            let is_covered = self.allow(&need) || or.is_some_and(|other| self.allow(&other));
            if !is_covered && !missing.contains(&need) {
                missing.push(need);
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::Verb;

    #[test]
    fn each_need_must_be_covered_in_one_of_its_forms() {
        let mut permissions = Permissions::default();
        permissions.grant(Verb::Write, "amq.default/pricing", "").expect("a pattern");
        let call = |queue| Need::call(queue).or(Need::write("amq.default", Key::One(queue)));
        assert_eq!(permissions.missing([call("pricing")]), []);
        let needed = [call("other"), Need::configure("q").into(), call("other")];
        assert_eq!(permissions.missing(needed), [Need::call("other"), Need::configure("q")]);
    }
}
