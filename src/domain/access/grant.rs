//! One grant of a verb: a pattern for names, and perhaps one for routing keys.

use std::fmt;

use super::need::Key;
use super::wildcard::{PatternError, Wildcard};

/// Names that begin with this belong to RabbitMQ, or to all users: the default exchange, `amq.topic`.
const RESERVED: &str = "amq.";
/// Names of RabbitMQ's own, such as the exchange that gets a copy of every message; and names that RabbitMQ gave to the queues of single
/// connections, such as the reply queues of the gateway.
const INTERNAL: [&str; 2] = ["amq.rabbitmq.", "amq.gen-"];

/// A pattern `name` or `name/routing-key`. Without a routing key it covers every routing key.
///
/// A name that begins with `amq.` is covered by `*`, and by a pattern that begins with `amq.` itself; a pattern such as `a*` does not
/// cover it. A name that begins with `amq.rabbitmq.` or `amq.gen-` is covered only by a pattern that begins with that text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    name: Wildcard,
    key: Option<Wildcard>,
}

impl Grant {
    /// Reads a grant of a principal with this name.
    ///
    /// # Errors
    /// Any [`PatternError`].
    pub fn parse(text: &str, principal: &str) -> Result<Self, PatternError> {
        let (name, key) = match text.split_once('/') {
            Some((name, key)) => (name, Some(Wildcard::parse(key, principal)?)),
            None => (text, None),
        };
        if name.is_empty() {
            return Err(PatternError::Empty);
        }
        Ok(Self { name: Wildcard::parse(name, principal)?, key })
    }

    /// Whether it covers an operation on this name with these routing keys.
    #[must_use]
    pub fn covers(&self, name: &str, key: Key<'_>) -> bool {
        self.covers_name(name) && self.covers_key(key)
    }

    fn covers_name(&self, name: &str) -> bool {
        let start = self.name.literal_start();
        let is_explicit = if let Some(internal) = INTERNAL.iter().find(|it| name.starts_with(**it)) {
            start.starts_with(internal)
        } else if name.starts_with(RESERVED) {
            start.starts_with(RESERVED) || self.name.matches_all()
        } else {
            true
        };
        is_explicit && self.name.matches(name)
    }

    fn covers_key(&self, key: Key<'_>) -> bool {
        match (&self.key, key) {
            (None, _) | (_, Key::Some) => true,
            (Some(pattern), Key::Every) => pattern.matches_all(),
            (Some(pattern), Key::One(key)) => pattern.matches(key),
        }
    }
}

/// The pattern with the same meaning for every principal: with the name in the place of `{principal}`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}/{key}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(grant: &str, name: &str, key: Key<'_>) -> bool {
        Grant::parse(grant, "shop").expect(grant).covers(name, key)
    }

    #[test]
    fn a_grant_without_a_routing_key_covers_every_one() {
        for key in [Key::One("a"), Key::One(""), Key::Every, Key::Some] {
            assert!(covers("orders", "orders", key) && !covers("orders", "others", key));
        }
    }

    #[test]
    fn a_grant_with_a_routing_key_covers_that_one_and_no_operation_on_all() {
        for (grant, key, expected) in [
            ("orders/eu.*", Key::One("eu.new"), true),
            ("orders/eu.*", Key::One("us.new"), false),
            ("orders/eu.*", Key::Every, false),
            ("orders/eu.*", Key::Some, true),
            ("orders/*", Key::Every, true),
            ("orders/", Key::One(""), true),
            ("orders/", Key::One("a"), false),
            ("orders/", Key::Every, false),
            ("orders/a%2Fb", Key::One("a/b"), true),
        ] {
            assert_eq!(covers(grant, "orders", key), expected, "{grant} {key:?}");
        }
    }

    #[test]
    fn names_of_rabbitmq_need_a_grant_that_says_so() {
        for (grant, name, expected) in [
            ("*", "amq.default", true),
            ("**", "amq.topic", true),
            ("a*", "amq.topic", false),
            ("amq*", "amq.topic", false),
            ("*q.topic", "amq.topic", false),
            ("amq.*", "amq.topic", true),
            ("amq.topic", "amq.topic", true),
            ("amq.topic", "amq.direct", false),
            ("*", "amq.rabbitmq.trace", false),
            ("amq.*", "amq.rabbitmq.trace", false),
            ("amq.rabbitmq*", "amq.rabbitmq.trace", false),
            ("amq.rabbitmq.*", "amq.rabbitmq.trace", true),
            ("amq.rabbitmq.trace", "amq.rabbitmq.trace", true),
            ("*", "amq.gen-x", false),
            ("amq.*", "amq.gen-x", false),
            ("amq.gen-*", "amq.gen-x", true),
            ("amq*", "amqp", true),
            ("{principal}.*", "shop.a", true),
        ] {
            assert_eq!(covers(grant, name, Key::Every), expected, "{grant} {name}");
        }
    }

    #[test]
    fn a_grant_without_a_name_or_with_two_routing_keys_is_a_mistake() {
        for (grant, error) in [
            ("", PatternError::Empty),
            ("/key", PatternError::Empty),
            ("a/b/c", PatternError::Slash),
            ("a%/b", PatternError::Escape),
            ("a/b%", PatternError::Escape),
        ] {
            assert_eq!(Grant::parse(grant, ""), Err(error), "{grant}");
        }
    }

    #[test]
    fn the_text_of_a_grant_has_the_same_meaning_for_every_principal() {
        for (grant, principal, text) in [
            ("a**/b%2a", "", "a**/b%2A"),
            ("a", "", "a"),
            ("*/", "", "*/"),
            ("{principal}.*/*", "a*", "a%2A.*/*"),
            ("{princip{principal}", "al}", "%7Bprincipal}"),
        ] {
            assert_eq!(Grant::parse(grant, principal).expect("a grant").to_string(), text);
        }
    }
}
