//! Queues as they are declared and as they are found.

pub mod arguments;

use super::field::{FieldTable, FieldValue};
use super::names::{ExchangeName, QueueName, ShortText};

/// A queue to declare.
#[derive(Debug, Clone)]
pub struct QueueDeclaration {
    /// Name of the queue.
    pub name: QueueName,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Goes with its last consumer.
    pub auto_delete: bool,
    /// All arguments, the plain words of the API included.
    pub arguments: FieldTable,
    /// Whether RabbitMQ may close the connection over an argument that the gateway does not know.
    pub has_unknown_arguments: bool,
    /// Exchange and queue for dead letters, to be made first.
    pub dead_letter_pair: Option<DeadLetterPair>,
}

/// A durable fanout exchange and the queue bound to it, which take what another queue gives up.
#[derive(Debug, Clone)]
pub struct DeadLetterPair {
    /// The fanout exchange.
    pub exchange: ExchangeName,
    /// The queue behind it.
    pub queue: QueueName,
    /// The queue's arguments: the type of the queue that it serves.
    pub arguments: FieldTable,
}

/// What a passive declare tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// Messages ready for delivery; unacknowledged ones are not counted.
    pub message_count: u32,
    /// Consumers.
    pub consumer_count: u32,
}

/// Conditions on deleting a queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeleteConditions {
    /// Only without consumers.
    pub if_unused: bool,
    /// Only without messages.
    pub if_empty: bool,
}

impl DeleteConditions {
    /// Whether the broker has anything to check.
    #[must_use]
    pub fn any(self) -> bool {
        self.if_unused || self.if_empty
    }
}

/// A plain word and an argument of one declaration say different things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("contradicts arguments.{argument}")]
pub struct Contradiction {
    /// The argument's AMQP name.
    pub argument: &'static str,
}

/// Sets an argument that a plain word of the API stands for.
///
/// # Errors
/// When `arguments` already holds another value for it.
pub fn set_argument(
    arguments: &mut FieldTable,
    argument: &'static str,
    value: FieldValue,
) -> Result<(), Contradiction> {
    let Ok(name) = ShortText::parse(argument) else { return Err(Contradiction { argument }) };
    match arguments.get(argument) {
        Some(given) if !same(given, &value) => Err(Contradiction { argument }),
        Some(_) => Ok(()),
        None => {
            arguments.insert(name, value);
            Ok(())
        }
    }
}

/// RabbitMQ compares integer arguments by value, whatever their width.
fn same(left: &FieldValue, right: &FieldValue) -> bool {
    match (left.integer(), right.integer()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_may_repeat_an_argument_in_another_width() {
        let mut arguments = FieldTable::default();
        set_argument(&mut arguments, "x-max-length", FieldValue::I32(5)).expect("nothing there yet");
        assert!(set_argument(&mut arguments, "x-max-length", FieldValue::I64(5)).is_ok());
        assert_eq!(
            set_argument(&mut arguments, "x-max-length", FieldValue::I64(6)),
            Err(Contradiction { argument: "x-max-length" })
        );
    }
}
