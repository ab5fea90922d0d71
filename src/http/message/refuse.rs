//! What is refused at the door because a broker would close the channel on it, or worse.

use crate::domain::field::{HeaderLimitError, HeaderLimits};
use crate::domain::message::Message;
use crate::http::problem::{Problem, ProblemType};

/// Headers that route past a check on the routing key; in any case, since only some clients keep it.
const ROUTING_HEADERS: [&str; 2] = ["cc", "bcc"];
/// Headers that the broker itself writes and others believe.
const BROKER_HEADERS: [&str; 3] = ["x-death", "x-delivery-count", "x-acquired-count"];
const BROKER_HEADER_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", "x-opt-"];
/// Pseudo-queue of direct reply-to: needs a consumer on the publishing channel.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Queues behind the default exchange that belong to the broker, or to one connection, such as the
/// gateway's own reply queues.
const RESERVED_QUEUE_PREFIXES: [&str; 2] = ["amq.rabbitmq.", "amq.gen-"];
/// Names that the broker lets nobody declare.
const RESERVED_PREFIX: &str = "amq.";

pub(super) fn message(message: &Message, limits: &HeaderLimits, user: Option<&str>) -> Result<(), Problem> {
    if message.properties.user_id.as_ref().is_some_and(|given| Some(given.as_str()) != user) {
        return Err(Problem::malformed("user_id", "must be the gateway's own user, or not be given"));
    }
    for name in message.headers.0.keys() {
        header_name(name.as_str())?;
    }
    let reply_to = message.properties.reply_to.as_ref();
    if reply_to.is_some_and(|queue| queue.as_str().starts_with(DIRECT_REPLY_TO)) {
        return Err(Problem::malformed("reply_to", "cannot be direct reply-to; use POST /rpc/{queue}"));
    }
    message.headers.check(limits).map_err(|error| wrong_headers(&error))
}

fn wrong_headers(error: &HeaderLimitError) -> Problem {
    use HeaderLimitError as Wrong;
    let (kind, limit) = match *error {
        Wrong::Bytes { limit, .. } => (ProblemType::HeadersTooLarge, Some(limit)),
        Wrong::Count { limit, .. } | Wrong::Depth { limit } => (ProblemType::MalformedRequest, Some(limit)),
        Wrong::NotFinite => (ProblemType::MalformedRequest, None),
    };
    let problem = Problem::new(kind, format!("the message's headers {error}")).with("field", "headers");
    match limit {
        Some(limit) => problem.with("limit", limit),
        None => problem,
    }
}

fn header_name(name: &str) -> Result<(), Problem> {
    let refused = |why| Err(Problem::malformed(&format!("headers.{name}"), why));
    if ROUTING_HEADERS.iter().any(|routing| name.eq_ignore_ascii_case(routing)) {
        return refused(
            "routes past the routing key, which is not allowed: publish once to each destination",
        );
    }
    if BROKER_HEADERS.contains(&name) || BROKER_HEADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    {
        return refused("is written by RabbitMQ only: leave it out");
    }
    Ok(())
}

/// Whether publishing to this queue by the default exchange is refused.
pub(in crate::http) fn reserved_on_default_exchange(queue: &str) -> bool {
    RESERVED_QUEUE_PREFIXES.iter().any(|prefix| queue.starts_with(prefix))
}

/// Whether the broker keeps this name for itself.
pub(in crate::http) fn reserved_queue_name(queue: &str) -> bool {
    queue.starts_with(RESERVED_PREFIX)
}
