//! Exchanges and bindings.

use std::fmt;

use super::arguments::is_short_text;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::{ExchangeName, QueueName, SHORT_STRING_MAX, ShortText};

/// The argument that names the exchange for messages which an exchange cannot route.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";
/// The argument of a binding that says how its other arguments are compared with a message's headers.
pub const MATCH: &str = "x-match";
/// The values of [`MATCH`].
const MATCHES: [&str; 4] = ["all", "any", "all-with-x", "any-with-x"];
/// The types that every RabbitMQ has.
const BUILT_IN: [&str; 4] = ["direct", "fanout", "topic", "headers"];

/// An exchange to declare.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeDeclaration {
    /// Its name.
    pub name: ExchangeName,
    /// Its type, such as `topic`; plugins of RabbitMQ have types of their own.
    pub kind: ShortText,
    /// Whether it survives a restart of RabbitMQ.
    pub durable: bool,
    /// Whether RabbitMQ deletes it with its last binding.
    pub auto_delete: bool,
    /// Whether only other exchanges may publish to it.
    pub internal: bool,
    /// All arguments, including those of the API's plain fields.
    pub arguments: FieldTable,
}

impl ExchangeDeclaration {
    /// Whether the gateway knows what RabbitMQ does with this declaration. RabbitMQ may close the connection over the types and
    /// arguments of plugins.
    #[must_use]
    pub fn is_known(&self) -> bool {
        let is_text =
            |value: &FieldValue| matches!(value, FieldValue::Text(text) if std::str::from_utf8(text).is_ok());
        let is_known =
            |(name, value): (&ShortText, &FieldValue)| name.as_str() == ALTERNATE_EXCHANGE && is_text(value);
        BUILT_IN.contains(&self.kind.as_str()) && self.arguments.0.iter().all(is_known)
    }

    /// Checks that the alternate exchange in the arguments can be a name.
    ///
    /// # Errors
    /// The texts that can.
    pub fn check_alternate(&self) -> Result<(), WrongAlternate> {
        match self.arguments.get(ALTERNATE_EXCHANGE) {
            None => Ok(()),
            Some(FieldValue::Text(text)) if is_short_text(text) => Ok(()),
            Some(_) => Err(WrongAlternate),
        }
    }
}

/// The plugin that usually has this type of exchange.
#[must_use]
pub fn plugin_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "x-delayed-message" => "rabbitmq_delayed_message_exchange",
        "x-consistent-hash" => "rabbitmq_consistent_hash_exchange",
        "x-recent-history" => "rabbitmq_recent_history_exchange",
        "x-random" => "rabbitmq_random_exchange",
        "x-modulus-hash" => "rabbitmq_sharding",
        "x-jms-topic" => "rabbitmq_jms_topic_exchange",
        "x-lvc" => "rabbitmq_lvc_exchange",
        "x-rtopic" => "rabbitmq_rtopic_exchange",
        "x-message-deduplication" => "rabbitmq_message_deduplication",
        _ => return None,
    })
}

/// The alternate exchange in the arguments is no text, or cannot be a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a text of at most {SHORT_STRING_MAX} bytes without control characters")]
pub struct WrongAlternate;

/// A binding: messages of the source with a matching routing key, or matching headers, also go to the target.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The exchange that the messages come from.
    pub source: ExchangeName,
    /// The queue or exchange that they go to.
    pub target: BindingTarget,
    /// The routing key; a pattern for a topic exchange.
    pub routing_key: ShortText,
    /// The headers to compare, and [`MATCH`], for a headers exchange.
    pub arguments: FieldTable,
}

/// The target of a binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BindingTarget {
    /// A queue.
    Queue(QueueName),
    /// Another exchange.
    Exchange(ExchangeName),
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = match &self.target {
            BindingTarget::Queue(name) => name.as_str(),
            BindingTarget::Exchange(name) => name.in_path(),
        };
        write!(f, "{} -> {target}", self.source.in_path())
    }
}

/// RabbitMQ would close the connection, or the channel, over the value of [`MATCH`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of all, any, all-with-x, any-with-x")]
pub struct WrongMatch;

impl Binding {
    /// Checks the value of [`MATCH`].
    ///
    /// # Errors
    /// The values that RabbitMQ accepts.
    pub fn check_match(&self) -> Result<(), WrongMatch> {
        let is_allowed =
            |value: &FieldValue| MATCHES.iter().any(|allowed| *value == FieldValue::from(*allowed));
        if self.arguments.get(MATCH).is_none_or(is_allowed) { Ok(()) } else { Err(WrongMatch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(kind: &str, arguments: &[(&str, FieldValue)]) -> bool {
        let declaration = ExchangeDeclaration {
            name: ExchangeName::from_path("e").expect("a name"),
            kind: ShortText::parse(kind).expect("short"),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::of(arguments),
        };
        declaration.is_known()
    }

    #[test]
    fn types_and_arguments_of_plugins_are_not_known() {
        assert!(is_known("topic", &[(ALTERNATE_EXCHANGE, "other".into())]));
        assert!(!is_known("x-delayed-message", &[]));
        assert!(!is_known("topic", &[("hash-header", "h".into())]));
        assert!(!is_known("topic", &[(ALTERNATE_EXCHANGE, FieldValue::I64(1))]));
    }

    #[test]
    fn only_the_four_ways_to_match_pass() {
        let binding = |value: FieldValue| Binding {
            source: ExchangeName::from_path("e").expect("a name"),
            target: BindingTarget::Queue(QueueName::parse("q").expect("a name")),
            routing_key: ShortText::default(),
            arguments: FieldTable::of(&[(MATCH, value)]),
        };
        for value in MATCHES {
            assert!(binding(value.into()).check_match().is_ok(), "{value}");
        }
        for value in ["every".into(), FieldValue::Bool(true)] {
            assert!(binding(value).check_match().is_err());
        }
    }
}
