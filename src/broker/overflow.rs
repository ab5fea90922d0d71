//! Operations and publishes whose errors can make RabbitMQ 4.0 close the whole connection.
//!
//! The text of an AMQP error has at most 255 bytes. RabbitMQ 3.10 cuts it at 255 bytes, RabbitMQ 4.0 at 255 letters
//! (since 4.0.5, rabbitmq-server#12888). If the letters are not all ASCII, the text stays too long, and RabbitMQ closes
//! the connection (541 `INTERNAL_ERROR`) instead of the channel.

use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::topology::QueueDeclaration;
use crate::domain::topology::exchange::{Binding, BindingTarget, ExchangeDeclaration};

/// Length limit of the name of a queue or exchange in bytes. Up to it, the error text for a missing or forbidden one fits, including the
/// names of the virtual host and the user.
const SHORT_NAME: usize = 100;

/// Length limit of the name of a queue in bytes. Up to it, the error text for a queue that is exclusive to another connection fits,
/// including the name of the virtual host; the text has about 220 bytes of its own.
const SHORT_QUEUE: usize = 20;

/// Length limit of an exchange's name and a routing key in bytes. Up to it, the error text for a missing or forbidden
/// exchange, or for a forbidden routing key, fits.
const SHORT_DESTINATION: usize = 100;

/// Length limit of a queue's name and two values in bytes. Up to it, the error text for a difference fits; the text has
/// about 150 bytes of its own.
const SHORT_DIFFERENCE: usize = 60;

/// Whether the error text for a missing or forbidden queue or exchange may be too long.
pub(super) fn of_name(name: &str) -> bool {
    !name.is_ascii() && name.len() > SHORT_NAME
}

/// Whether the error text for a queue may be too long: for a missing one, or for one that is exclusive to another connection.
pub(super) fn of_queue(name: &str) -> bool {
    !name.is_ascii() && name.len() > SHORT_QUEUE
}

/// Whether the error text for a missing or forbidden exchange, or for a forbidden routing key, may be too long. The
/// default exchange always exists, and RabbitMQ returns a message that it cannot route.
pub(super) fn of_destination(exchange: &str, routing_key: &str) -> bool {
    // The length decides for nearly every publish.
    !exchange.is_empty()
        && exchange.len() + routing_key.len() > SHORT_DESTINATION
        && !(exchange.is_ascii() && routing_key.is_ascii())
}

/// Whether the error text for a missing or forbidden end of a binding, or for a forbidden routing key, may be too long.
pub(super) fn of_binding(binding: &Binding) -> bool {
    let target = match &binding.target {
        BindingTarget::Queue(name) if of_queue(name.as_str()) => return true,
        BindingTarget::Queue(name) => name.as_str(),
        BindingTarget::Exchange(name) => name.as_str(),
    };
    let texts = [binding.source.as_str(), target, binding.routing_key.as_str()];
    texts.iter().any(|text| !text.is_ascii())
        && texts.iter().map(|text| text.len()).sum::<usize>() > SHORT_NAME
}

/// Whether the error text for a difference from the existing queue, or for a queue that is exclusive to another
/// connection, may be too long.
pub(super) fn of_declaration(queue: &QueueDeclaration) -> bool {
    let name = queue.name.as_str();
    of_queue(name) || of_difference(name, &queue.arguments)
}

/// Whether the error text for an unknown type of the exchange, or for a difference from the existing exchange, may be too long.
pub(super) fn of_exchange(exchange: &ExchangeDeclaration) -> bool {
    let kind = exchange.kind.as_str();
    let is_short = exchange.name.as_str().len() + 2 * kind.len() <= SHORT_DIFFERENCE;
    let is_ascii = exchange.name.as_str().is_ascii() && kind.is_ascii();
    !(is_short || is_ascii) || of_difference(exchange.name.as_str(), &exchange.arguments)
}

/// The text repeats the name, an argument and both of its values. The gateway assumes that the existing value is as long as the
/// requested one.
fn of_difference(name: &str, arguments: &FieldTable) -> bool {
    let texts = arguments.0.values().filter_map(|value| match value {
        FieldValue::Text(text) => Some(text),
        _ => None,
    });
    let longest = texts.clone().map(Vec::len).max().unwrap_or_default();
    let is_ascii = name.is_ascii() && texts.into_iter().all(|text| text.is_ascii());
    !is_ascii && name.len() + 2 * longest > SHORT_DIFFERENCE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::{ExchangeName, QueueName, ShortText};

    #[test]
    fn only_long_names_with_non_ascii_letters_run_alone() {
        for (name, may_overflow) in
            [("q".repeat(255), false), ("ü".repeat(50), false), ("ü".repeat(51), true)]
        {
            assert_eq!(of_name(&name), may_overflow, "{name}");
        }
        for (name, may_overflow) in
            [("q".repeat(255), false), ("ü".repeat(10), false), ("ü".repeat(11), true)]
        {
            assert_eq!(of_queue(&name), may_overflow, "{name}");
        }
    }

    #[test]
    fn a_publish_to_a_long_name_with_non_ascii_letters_shares_no_connection() {
        let (long, foreign) = ("e".repeat(200), "ü".repeat(60));
        for (exchange, routing_key, may_overflow) in [
            ("größe", "größe", false),
            (&*long, &*long, false),
            ("", &*foreign, false),
            (&*foreign, "", true),
            ("events", &*foreign, true),
            (&*long, "ü", true),
        ] {
            assert_eq!(of_destination(exchange, routing_key), may_overflow, "{exchange} {routing_key}");
        }
    }

    #[test]
    fn a_binding_of_long_names_with_non_ascii_letters_runs_alone() {
        for (source, queue, may_overflow) in [
            ("e".repeat(200), "q".repeat(200), false),
            ("ü".repeat(10), "q".to_owned(), false),
            ("e".to_owned(), "ü".repeat(10), false),
            ("e".to_owned(), "ü".repeat(11), true),
            ("ü".repeat(40), "q".repeat(40), true),
        ] {
            let binding = Binding {
                source: ExchangeName::from_path(&source).expect("a name"),
                target: BindingTarget::Queue(QueueName::parse(&queue).expect("a name")),
                routing_key: ShortText::default(),
                arguments: FieldTable::default(),
            };
            assert_eq!(of_binding(&binding), may_overflow, "{source} {queue}");
        }
    }

    #[test]
    fn a_declaration_with_a_short_non_ascii_name_does_not_run_alone() {
        let declaration = |name: &str, argument: &str| {
            let mut arguments = FieldTable::default();
            arguments.insert(ShortText::parse("x").expect("short"), FieldValue::from(argument));
            QueueDeclaration {
                name: QueueName::parse(name).expect("a name"),
                durable: true,
                auto_delete: false,
                arguments,
                has_unknown_arguments: false,
                dead_letter_pair: None,
            }
        };
        for (name, argument, may_overflow) in [
            ("größe", "", false),
            ("größe", "classic", false),
            ("größe", &*"x".repeat(40), true),
            (&*"ü".repeat(11), "", true),
            ("q", &*"ü".repeat(40), true),
            (&*"q".repeat(200), &*"x".repeat(200), false),
        ] {
            assert_eq!(of_declaration(&declaration(name, argument)), may_overflow, "{name} {argument}");
        }
    }
}
