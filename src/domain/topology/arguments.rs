//! The arguments of a queue that the gateway knows, and the values that RabbitMQ accepts for them (3.10 to 4.x).
//!
//! RabbitMQ closes the whole connection on some wrong values, such as an `x-queue-master-locator` that it does not know.
//! See <https://www.rabbitmq.com/docs/queues#optional-arguments>.

use std::fmt;

use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::message::MAX_EXPIRATION;
use crate::domain::names::{SHORT_STRING_MAX, ShortText};

/// The maximum of RabbitMQ's timers in milliseconds.
const LONGEST_TIMER: i64 = MAX_EXPIRATION.cast_signed();
/// The argument with the type of the queue.
pub const QUEUE_TYPE: &str = "x-queue-type";
/// The argument that names the exchange for dead letters.
pub const DEAD_LETTER_EXCHANGE: &str = "x-dead-letter-exchange";
/// A value of `x-overflow` for classic queues.
pub const REJECT_PUBLISH_DLX: &str = "reject-publish-dlx";
/// The argument with the routing key of dead letters.
pub const DEAD_LETTER_KEY: &str = "x-dead-letter-routing-key";
/// Units of `x-max-age`.
const UNITS_OF_AGE: [u8; 6] = *b"YMDhms";

/// The allowed values of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Any,
    Switch,
    Text,
    /// A name or a routing key. RabbitMQ stores a longer text, and fails when it uses it.
    ShortText,
    /// From the first number to the second.
    Number(i64, i64),
    OneOf(&'static [&'static str]),
    Age,
}

/// The types of queues that take an argument.
type Types = &'static [&'static str];

const EVERY_TYPE: Types = &["classic", "quorum", "stream"];
const CLASSIC_OR_QUORUM: Types = &["classic", "quorum"];
const CLASSIC: Types = &["classic"];
const QUORUM: Types = &["quorum"];
const STREAM: Types = &["stream"];

/// Every known argument, and the types of queues that take it; RabbitMQ refuses it on another type. The gateway accepts any
/// queue type, since a plugin of RabbitMQ may define one.
const KNOWN: [(&str, Rule, Types); 23] = [
    (QUEUE_TYPE, Rule::Text, EVERY_TYPE),
    ("x-message-ttl", Rule::Number(0, LONGEST_TIMER), CLASSIC_OR_QUORUM),
    ("x-expires", Rule::Number(1, LONGEST_TIMER), CLASSIC_OR_QUORUM),
    ("x-max-length", Rule::Number(0, i64::MAX), CLASSIC_OR_QUORUM),
    ("x-max-length-bytes", Rule::Number(0, i64::MAX), EVERY_TYPE),
    ("x-max-in-memory-length", Rule::Number(0, i64::MAX), QUORUM),
    ("x-max-in-memory-bytes", Rule::Number(0, i64::MAX), QUORUM),
    // RabbitMQ 3.10 and 4.0 refuse it on quorum queues, which have priorities of their own in later versions.
    ("x-max-priority", Rule::Number(0, 255), CLASSIC_OR_QUORUM),
    ("x-overflow", Rule::OneOf(&["drop-head", "reject-publish", REJECT_PUBLISH_DLX]), CLASSIC_OR_QUORUM),
    (DEAD_LETTER_EXCHANGE, Rule::ShortText, CLASSIC_OR_QUORUM),
    (DEAD_LETTER_KEY, Rule::ShortText, CLASSIC_OR_QUORUM),
    ("x-dead-letter-strategy", Rule::OneOf(&["at-most-once", "at-least-once"]), QUORUM),
    ("x-single-active-consumer", Rule::Switch, CLASSIC_OR_QUORUM),
    ("x-queue-mode", Rule::OneOf(&["default", "lazy"]), CLASSIC),
    ("x-queue-version", Rule::Number(1, 2), CLASSIC),
    // RabbitMQ 3.10 closes the connection on other values, 4.x ignores the argument.
    ("x-queue-master-locator", Rule::OneOf(&["min-masters", "client-local", "random"]), CLASSIC),
    // RabbitMQ 3.10 refuses the last one, and classic queues with this argument; 4.x accepts both.
    (
        "x-queue-leader-locator",
        Rule::OneOf(&["client-local", "balanced", "random", "least-leaders", "min-masters"]),
        EVERY_TYPE,
    ),
    // RabbitMQ 3.10 accepts every value.
    ("x-delivery-limit", Rule::Any, QUORUM),
    ("x-quorum-initial-group-size", Rule::Number(1, i64::MAX), QUORUM),
    ("x-initial-cluster-size", Rule::Number(1, i64::MAX), STREAM),
    ("x-max-age", Rule::Age, STREAM),
    ("x-stream-max-segment-size-bytes", Rule::Number(0, i64::MAX), STREAM),
    // RabbitMQ 3.10 does not know it.
    ("x-stream-filter-size-bytes", Rule::Any, EVERY_TYPE),
];

/// RabbitMQ cannot accept a value of an argument. The text completes a sentence that begins with the argument's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongValue(Rule);

/// Checks the value of one argument. False if the gateway does not know the argument.
///
/// # Errors
/// The values that RabbitMQ accepts.
pub fn check(argument: &str, value: &FieldValue) -> Result<bool, WrongValue> {
    let Some((_, rule, _)) = KNOWN.iter().find(|(name, ..)| *name == argument) else { return Ok(false) };
    if rule.allows(value) { Ok(true) } else { Err(WrongValue(*rule)) }
}

/// The type of the queue does not take an argument. The text completes a sentence that begins with the argument's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not for a queue of the type {kind}: RabbitMQ takes it for the type {}", types.join(" or "))]
pub struct WrongType {
    kind: &'static str,
    types: Types,
}

/// Checks that a queue of this type takes the argument. Accepts types and arguments that the gateway does not know.
///
/// # Errors
/// The types that take it.
pub fn check_type(kind: &FieldValue, argument: &str) -> Result<(), WrongType> {
    let Some(kind) = EVERY_TYPE.iter().find(|it| *kind == FieldValue::from(**it)) else { return Ok(()) };
    match KNOWN.iter().find(|(name, ..)| *name == argument) {
        Some((_, _, types)) if !types.contains(kind) => Err(WrongType { kind, types }),
        _ => Ok(()),
    }
}

/// Whether the gateway knows what RabbitMQ does with these arguments.
#[must_use]
pub fn are_known(arguments: &FieldTable) -> bool {
    let is_known = |name: &str| KNOWN.iter().any(|(known, ..)| *known == name);
    arguments.0.keys().all(|name| is_known(name.as_str()))
        && arguments
            .get(QUEUE_TYPE)
            .is_none_or(|kind| EVERY_TYPE.iter().any(|it| *kind == FieldValue::from(*it)))
}

impl Rule {
    fn allows(self, value: &FieldValue) -> bool {
        match (self, value) {
            (Self::Any, _) | (Self::Switch, FieldValue::Bool(_)) => true,
            (Self::Text, FieldValue::Text(text)) => std::str::from_utf8(text).is_ok(),
            (Self::ShortText, FieldValue::Text(text)) => is_short_text(text),
            (Self::OneOf(words), FieldValue::Text(text)) => words.iter().any(|word| word.as_bytes() == text),
            (Self::Age, FieldValue::Text(text)) => is_age(text),
            (Self::Number(from, to), value) => value.integer().is_some_and(|n| (from..=to).contains(&n)),
            _ => false,
        }
    }
}

/// Whether the bytes are a text that AMQP can carry as a name or as a routing key.
pub(super) fn is_short_text(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| ShortText::parse(text).is_ok())
}

fn is_age(text: &[u8]) -> bool {
    text.split_last().is_some_and(|(unit, number)| {
        UNITS_OF_AGE.contains(unit) && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
    })
}

impl fmt::Display for WrongValue {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self.0 {
            Rule::Any => write!(out, "may have any value"),
            Rule::Switch => write!(out, "must be true or false"),
            Rule::Text => write!(out, "must be a text"),
            Rule::ShortText => {
                write!(out, "must be a text of at most {SHORT_STRING_MAX} bytes without control characters")
            }
            Rule::Number(from, i64::MAX) => write!(out, "must be a whole number from {from} on"),
            Rule::Number(from, to) => write!(out, "must be a whole number from {from} to {to}"),
            Rule::OneOf(words) => write!(out, "must be one of {}", words.join(", ")),
            Rule::Age => write!(out, "must be a number and a unit (Y, M, D, h, m or s), such as 7D"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_rabbitmq_accepts_passes_in_any_width() {
        for (argument, value) in [
            ("x-max-length", FieldValue::U8(5)),
            ("x-expires", FieldValue::I64(1)),
            ("x-max-age", "7D".into()),
            ("x-queue-master-locator", "min-masters".into()),
            ("x-queue-leader-locator", "min-masters".into()),
            ("x-queue-type", "a-plugin's".into()),
            ("x-single-active-consumer", FieldValue::Bool(false)),
            ("x-delivery-limit", FieldValue::I64(-1)),
            ("x-stream-max-segment-size-bytes", FieldValue::I64(0)),
        ] {
            assert_eq!(check(argument, &value), Ok(true), "{argument}");
        }
        assert_eq!(check("x-unknown", &FieldValue::Void), Ok(false));
    }

    #[test]
    fn a_value_that_rabbitmq_does_not_accept_is_an_error() {
        const SHORT: &str = "must be a text of at most 255 bytes without control characters";
        for (argument, value, told) in [
            ("x-queue-master-locator", "x".into(), "must be one of min-masters, client-local, random"),
            ("x-max-age", "abc".into(), "must be a number and a unit (Y, M, D, h, m or s), such as 7D"),
            ("x-max-age", "D".into(), "must be a number and a unit (Y, M, D, h, m or s), such as 7D"),
            ("x-expires", FieldValue::I64(0), "must be a whole number from 1 to 315360000000"),
            ("x-max-length", FieldValue::F64(5.0), "must be a whole number from 0 on"),
            ("x-dead-letter-exchange", FieldValue::Bytes(b"a".to_vec()), SHORT),
            ("x-dead-letter-exchange", "a\nb".into(), SHORT),
            ("x-dead-letter-routing-key", (&*"k".repeat(256)).into(), SHORT),
            ("x-queue-type", FieldValue::Bytes(b"a".to_vec()), "must be a text"),
            ("x-single-active-consumer", "true".into(), "must be true or false"),
        ] {
            let wrong = check(argument, &value).expect_err(argument);
            assert_eq!(wrong.to_string(), told, "{argument}");
        }
    }

    #[test]
    fn an_argument_that_the_type_of_the_queue_does_not_take_is_an_error() {
        let told = |kind: &str, argument| {
            check_type(&kind.into(), argument).err().map(|wrong| wrong.to_string()).unwrap_or_default()
        };
        assert_eq!(
            told("stream", "x-message-ttl"),
            "is not for a queue of the type stream: RabbitMQ takes it for the type classic or quorum"
        );
        for (kind, argument) in [
            ("quorum", "x-message-ttl"),
            ("a-plugin's", "x-max-age"),
            ("stream", "x-plugin"),
            ("classic", "x-queue-mode"),
        ] {
            assert_eq!(told(kind, argument), "", "{kind} {argument}");
        }
    }

    #[test]
    fn arguments_and_types_of_plugins_are_not_known() {
        assert!(are_known(&FieldTable::of(&[
            ("x-queue-type", "quorum".into()),
            ("x-max-length", FieldValue::I32(1))
        ])));
        assert!(!are_known(&FieldTable::of(&[("x-queue-type", "a-plugin's".into())])));
        assert!(!are_known(&FieldTable::of(&[("x-plugin", FieldValue::Bool(true))])));
    }
}
