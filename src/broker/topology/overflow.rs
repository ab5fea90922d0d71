//! Operations over whose mistakes RabbitMQ 4.0 may close the whole connection.
//!
//! The text of an AMQP error has at most 255 bytes. RabbitMQ 3.10 cuts it there, RabbitMQ 4.0 at 255 letters: where the letters are
//! not all ASCII the text stays too long, and RabbitMQ closes the connection (541 `INTERNAL_ERROR`) in place of the channel.

use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::QueueName;
use crate::domain::topology::QueueDeclaration;

/// Bytes of a queue's name up to which the text for a missing or forbidden queue stays short enough, with the names of the
/// virtual host and the user.
const SHORT_NAME: usize = 100;

/// Whether the text for a missing or forbidden queue may be too long.
pub(super) fn of_name(name: &QueueName) -> bool {
    !name.as_str().is_ascii() && name.as_str().len() > SHORT_NAME
}

/// Whether the text for a difference from the existing queue may be too long: it repeats an argument and both its values.
pub(super) fn of_declaration(queue: &QueueDeclaration) -> bool {
    !queue.name.as_str().is_ascii() || has_letters_beyond_ascii(&queue.arguments)
}

fn has_letters_beyond_ascii(arguments: &FieldTable) -> bool {
    arguments.0.values().any(|value| matches!(value, FieldValue::Text(text) if !text.is_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_names_with_letters_beyond_ascii_run_alone() {
        for (name, may_overflow) in
            [("q".repeat(255), false), ("ü".repeat(50), false), ("ü".repeat(51), true)]
        {
            let name = QueueName::parse(&name).expect("a name");
            assert_eq!(of_name(&name), may_overflow, "{name}");
        }
    }
}
