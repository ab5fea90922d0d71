//! Refuses reserved names with 403 `reserved-name`. `domain::reserved` has the list of the names.

use super::problem::{Problem, ProblemType};
use super::quote::quoted;
use crate::domain::names::{ExchangeName, QueueName};
use crate::domain::reserved;

/// Refuses to declare a name that RabbitMQ reserves for itself.
pub(super) fn refuse(name: &str) -> Result<(), Problem> {
    if reserved::is_reserved(name) {
        return Err(reserved_name(format!(
            "{} begins with \"amq.\", which is reserved for RabbitMQ: choose another name",
            quoted(name)
        )));
    }
    Ok(())
}

/// Refuses a routing key that leads, by the default exchange, to a queue of RabbitMQ or of the gateway.
pub(super) fn refuse_destination(exchange: &ExchangeName, routing_key: &str) -> Result<(), Problem> {
    if exchange.is_default() && reserved::is_internal_queue(routing_key) {
        return Err(reserved_name(format!(
            "the routing key {} names a queue of RabbitMQ or of the gateway: publish to another one",
            quoted(routing_key)
        )));
    }
    Ok(())
}

/// Refuses to take messages from a queue of RabbitMQ or of the gateway.
pub(super) fn refuse_consuming_from(queue: &QueueName) -> Result<(), Problem> {
    if reserved::is_internal_queue(queue.as_str()) {
        return Err(reserved_name(format!(
            "the queue {} belongs to RabbitMQ or to one connection, such as the gateway's: name another one",
            quoted(queue.as_str())
        )));
    }
    Ok(())
}

/// Refuses dead letters that the default exchange would route to a queue of RabbitMQ or of the gateway.
pub(super) fn refuse_dead_letters_to(queue: &str) -> Result<(), Problem> {
    if reserved::is_internal_queue(queue) {
        return Err(reserved_name(format!(
            "dead letters cannot go to the reserved queue {}: name another one",
            quoted(queue)
        )));
    }
    Ok(())
}

fn reserved_name(detail: String) -> Problem {
    Problem::new(ProblemType::ReservedName, detail)
}
