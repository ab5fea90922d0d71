//! Queues, exchanges, bindings and documents of them: the declarations, and the state of a queue in RabbitMQ.

pub mod arguments;
pub mod document;
pub mod exchange;
mod needs;
mod references;

use super::field::{FieldTable, FieldValue};
use super::names::{ExchangeName, QueueName, ShortText};

/// A queue to declare.
#[derive(Debug, Clone)]
pub struct QueueDeclaration {
    /// Name of the queue.
    pub name: QueueName,
    /// Whether the queue survives a restart of RabbitMQ.
    pub durable: bool,
    /// Whether RabbitMQ deletes the queue with its last consumer.
    pub auto_delete: bool,
    /// All arguments, including those of the API's plain fields.
    pub arguments: FieldTable,
    /// Whether there is an argument that the gateway does not know, and for which RabbitMQ may close the connection.
    pub has_unknown_arguments: bool,
    /// The exchange and queue for dead letters, which the gateway declares first.
    pub dead_letter_pair: Option<DeadLetterPair>,
}

/// A durable fanout exchange and the queue bound to it, which receive the dead letters of another queue.
#[derive(Debug, Clone)]
pub struct DeadLetterPair {
    /// The fanout exchange.
    pub exchange: ExchangeName,
    /// The queue that is bound to it.
    pub queue: QueueName,
    /// The arguments of that queue: the type of the queue that it serves.
    pub arguments: FieldTable,
}

/// The counts from a passive declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueState {
    /// Number of messages ready for delivery; unacknowledged messages do not count.
    pub message_count: u32,
    /// Number of consumers.
    pub consumer_count: u32,
}

/// Conditions on the deletion of a queue.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeleteConditions {
    /// Delete only a queue without consumers.
    pub if_unused: bool,
    /// Delete only a queue without messages.
    pub if_empty: bool,
}

impl DeleteConditions {
    /// Whether there is a condition that RabbitMQ must check.
    #[must_use]
    pub fn any(self) -> bool {
        self.if_unused || self.if_empty
    }
}

/// A field of the API and an argument of one declaration have different values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("contradicts arguments.{argument}")]
pub struct Contradiction {
    /// The argument's AMQP name.
    pub argument: &'static str,
}

/// Sets the argument of a field of the API.
///
/// # Errors
/// `arguments` already holds another value for it.
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

/// RabbitMQ compares integer arguments by value, in any width.
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
    fn a_field_may_repeat_an_argument_in_another_width() {
        let mut arguments = FieldTable::default();
        set_argument(&mut arguments, "x-max-length", FieldValue::I32(5)).expect("nothing there yet");
        assert!(set_argument(&mut arguments, "x-max-length", FieldValue::I64(5)).is_ok());
        assert_eq!(
            set_argument(&mut arguments, "x-max-length", FieldValue::I64(6)),
            Err(Contradiction { argument: "x-max-length" })
        );
    }
}
