//! The problem of a publish that failed. For an unroutable message it says how the caller gets the message to a queue.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::broker::{Publish, PublishFailure};
use crate::domain::message::Destination;
use crate::domain::sender_selected;
use crate::http::problem::{Problem, ProblemType};
use crate::http::quote::quoted;

/// Characters that have to be escaped in a segment of a path (RFC 3986, 3.3), or that have a meaning in a shell.
const NOT_IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The problem of this publish.
pub(super) fn problem(publish: &Publish, failure: PublishFailure) -> Problem {
    let problem = Problem::from(failure);
    if problem.kind() != ProblemType::Unroutable {
        return problem;
    }
    let has_further = sender_selected::routing_keys(&publish.message.headers).next().is_some();
    let further = if has_further { "; the routing keys of CC and BCC lead to no queue either" } else { "" };
    problem.with_detail(unroutable(&publish.destination) + further)
}

fn unroutable(destination: &Destination) -> String {
    let Destination { exchange, routing_key, .. } = destination;
    let (name, key) = (quoted(exchange.in_path()), quoted(routing_key.as_str()));
    if !exchange.is_default() {
        let path = utf8_percent_encode(exchange.as_str(), NOT_IN_SEGMENT);
        return format!(
            "no queue is bound to the exchange {name} for the routing key {key}: bind a queue with PUT \
             /queues/{{name}}/bindings/{path}, or correct the routing key"
        );
    }
    if routing_key.as_str().is_empty() {
        return format!(
            "the exchange {name} routes to the queue that the routing key names, and the key is empty: give routing_key"
        );
    }
    let path = utf8_percent_encode(routing_key.as_str(), NOT_IN_SEGMENT);
    format!(
        "the exchange {name} routes to the queue that the routing key names, and there is no queue {key}: declare it with PUT \
         /queues/{path}, or correct the routing key"
    )
}
