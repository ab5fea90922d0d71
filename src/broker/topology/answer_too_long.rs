//! Tells the result of a look at a queue or exchange where RabbitMQ 4.0 cannot: its text is too long, and it closes the connection
//! instead, see [`overflow`].
//!
//! The look ran alone on the connection, so the close is the answer to it. A look changes nothing in RabbitMQ.

use crate::broker::error::{Cause, Error, Refusal};
use crate::broker::overflow;
use crate::domain::names::{ExchangeName, QueueName};

/// The error of a look at a queue. With a very long name, RabbitMQ's text for an exclusive queue is too long as well as that for a
/// missing one; a missing queue is far more probable.
pub(super) fn explain_look_at_queue(error: Error, name: &QueueName) -> Error {
    let name = name.as_str();
    if !is_close_over_the_request(&error) {
        error
    } else if overflow::of_name(name) {
        let reason = format!("no queue '{name}', or one that is exclusive to another connection");
        Error::Refused(Refusal::QueueMissing { reason })
    } else if overflow::of_queue(name) {
        let reason = format!("queue '{name}' is exclusive to another connection");
        Error::Refused(Refusal::Locked { reason })
    } else {
        error
    }
}

/// The error of a look at an exchange.
pub(super) fn explain_look_at_exchange(error: Error, name: &ExchangeName) -> Error {
    let name = name.as_str();
    if is_close_over_the_request(&error) && overflow::of_name(name) {
        Error::Refused(Refusal::ExchangeMissing { reason: format!("no exchange '{name}'") })
    } else {
        error
    }
}

fn is_close_over_the_request(error: &Error) -> bool {
    matches!(error, Error::Unknown(Cause::Lost { repeatable: false, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_at_queue(error: Error, name: &str) -> Error {
        explain_look_at_queue(error, &QueueName::parse(name).expect("a name"))
    }

    #[test]
    fn a_close_over_a_look_is_explained_by_the_text_that_does_not_fit() {
        let closed = || Error::of_connection_close(541, "INTERNAL_ERROR");
        let missing = look_at_queue(closed(), &"ü".repeat(60));
        assert!(matches!(missing, Error::Refused(Refusal::QueueMissing { .. })), "{missing}");
        let locked = look_at_queue(closed(), &"ü".repeat(20));
        assert!(matches!(locked, Error::Refused(Refusal::Locked { .. })), "{locked}");
        let exchange = ExchangeName::from_path(&"ü".repeat(60)).expect("a name");
        let missing = explain_look_at_exchange(closed(), &exchange);
        assert!(matches!(missing, Error::Refused(Refusal::ExchangeMissing { .. })), "{missing}");
    }

    #[test]
    fn a_close_for_another_reason_stays_as_it_is() {
        let closed = || Error::of_connection_close(541, "INTERNAL_ERROR");
        let exchange = ExchangeName::from_path("größe").expect("a name");
        assert_eq!(explain_look_at_exchange(closed(), &exchange), closed());
        assert_eq!(look_at_queue(closed(), "größe"), closed());
        assert_eq!(look_at_queue(closed(), &"q".repeat(200)), closed());
        assert_eq!(look_at_queue(Error::gone(), &"ü".repeat(60)), Error::gone());
    }
}
