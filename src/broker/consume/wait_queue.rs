//! The queues in which copies wait: one for each queue and delay.
//!
//! A quorum queue without consumers: after the delay RabbitMQ dead-letters each message to the queue that it came from, at least once
//! even if that queue is away for a time. It has no `x-expires`, which would delete waiting messages.

use crate::broker::error::{Error, Refusal};
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::{QueueName, SHORT_STRING_MAX, ShortText};
use crate::domain::retry_step::RetryStep;
use crate::domain::topology::QueueDeclaration;

/// The wait queue of a queue for this delay.
///
/// # Errors
/// The name of the queue leaves no room for the name of its wait queue.
pub(super) fn declaration(queue: &QueueName, step: RetryStep) -> Result<QueueDeclaration, Error> {
    let name = QueueName::parse(&format!("{queue}.retry.{step}")).map_err(|_| too_long(queue, step))?;
    let arguments = [
        ("x-queue-type", FieldValue::from("quorum")),
        ("x-message-ttl", FieldValue::I64(step.milliseconds())),
        ("x-dead-letter-exchange", FieldValue::from("")),
        ("x-dead-letter-routing-key", FieldValue::from(queue.as_str())),
        ("x-dead-letter-strategy", FieldValue::from("at-least-once")),
        ("x-overflow", FieldValue::from("reject-publish")),
    ];
    let arguments = arguments.into_iter().map(|(name, value)| (ShortText::from_broker(name), value));
    Ok(QueueDeclaration {
        name,
        durable: true,
        auto_delete: false,
        arguments: FieldTable(arguments.collect()),
        has_unknown_arguments: false,
        dead_letter_pair: None,
    })
}

fn too_long(queue: &QueueName, step: RetryStep) -> Error {
    let most = SHORT_STRING_MAX - ".retry.".len() - step.to_string().len();
    let reason = format!(
        "delay needs the wait queue '{queue}.retry.{step}', and a name has at most {SHORT_STRING_MAX} bytes: retry without a delay, or \
         use a queue whose name has at most {most} bytes"
    );
    Error::Refused(Refusal::Invalid { reason })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wait_queue_has_the_name_of_its_queue_and_delay_if_there_is_room() {
        let step = RetryStep::for_delay(Duration::from_secs(90)).expect("a step");
        let queue = |length: usize| QueueName::parse(&"q".repeat(length)).expect("a name");
        let declared = declaration(&queue(245), step).expect("a declaration");
        assert!(declared.name.as_str().ends_with("q.retry.90s"));
        assert_eq!(declared.arguments.get("x-message-ttl"), Some(&FieldValue::I64(90_000)));
        assert!(matches!(declaration(&queue(246), step), Err(Error::Refused(Refusal::Invalid { .. }))));
    }
}
