//! Refuses messages over which RabbitMQ would close the channel or the connection, and messages that forge RabbitMQ's own
//! headers.

use axum::http::HeaderMap;

use crate::domain::field::{HeaderLimitError, HeaderLimits};
use crate::domain::message::Message;
use crate::domain::reserved;
use crate::http::header_names::IDEMPOTENCY_KEY;
use crate::http::problem::{Problem, ProblemType};

/// Refuses an idempotency key on an operation that does not keep it: a caller who sends one relies on it.
pub(in crate::http) fn refuse_idempotency_key(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(&IDEMPOTENCY_KEY) {
        return Err(Problem::malformed(
            "Idempotency-Key",
            "is for POST /publish/{exchange} only: leave it out, and recognise duplicates by the message_id of each message or item",
        ));
    }
    Ok(())
}

pub(super) fn message(message: &Message, limits: &HeaderLimits, user: Option<&str>) -> Result<(), Problem> {
    if message.properties.user_id.as_ref().is_some_and(|given| Some(given.as_str()) != user) {
        return Err(Problem::malformed(
            "user_id",
            "must be the gateway's own user: correct it or leave it out",
        ));
    }
    for name in message.headers.0.keys() {
        header_name(name.as_str())?;
    }
    let reply_to = message.properties.reply_to.as_ref();
    if reply_to.is_some_and(|queue| reserved::is_direct_reply_to(queue.as_str())) {
        return Err(Problem::malformed("reply_to", "cannot be direct reply-to: use POST /rpc/{queue}"));
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
    if reserved::routes(name) {
        return refused(
            "routes the message to more destinations than the routing key, which is not allowed: publish once to each destination",
        );
    }
    if reserved::is_broker_header(name) {
        return refused("is a header that only RabbitMQ may write: leave it out");
    }
    Ok(())
}
