//! Refuses messages over which RabbitMQ would close the channel or the connection, and messages that forge RabbitMQ's own
//! headers.

use axum::http::HeaderMap;

use super::parsed_message::PREFIX;
use super::{ParsedMessage, Purpose};
use crate::domain::field::{FieldValue, HeaderLimitError, HeaderLimits};
use crate::domain::{reserved, sender_selected};
use crate::http::header_names::IDEMPOTENCY_KEY;
use crate::http::problem::{Problem, ProblemType};

/// The remedy where an operation does not keep idempotency keys.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum KeyAdvice {
    /// Messages have ids.
    MessageIds,
    /// A settle has one effect.
    Settle,
    /// Each request takes other messages.
    Pull,
}

impl KeyAdvice {
    fn text(self) -> &'static str {
        match self {
            Self::MessageIds => {
                "leave it out, and recognise duplicates by the message_id of each message or item"
            }
            Self::Settle => {
                "leave it out; the same settle again has no second effect and gets the same answer"
            }
            Self::Pull => {
                "leave it out; the messages of an answer that was lost come back when their leases expire"
            }
        }
    }
}

/// Refuses an idempotency key on an operation that does not keep it: a caller who sends one relies on it.
pub(in crate::http) fn refuse_idempotency_key(headers: &HeaderMap, advice: KeyAdvice) -> Result<(), Problem> {
    if headers.contains_key(&IDEMPOTENCY_KEY) {
        let why = format!("is for POST /publish/{{exchange}} only: {}", advice.text());
        return Err(Problem::malformed("Idempotency-Key", why));
    }
    Ok(())
}

/// Refuses an idempotency key, and properties of a message, on an operation whose request carries no message.
pub(in crate::http) fn refuse_message_headers(headers: &HeaderMap, advice: KeyAdvice) -> Result<(), Problem> {
    refuse_idempotency_key(headers, advice)?;
    match headers.keys().find(|name| name.as_str().starts_with(PREFIX)) {
        Some(name) => Err(Problem::malformed(
            name.as_str(),
            "sets a property of a message, and this request carries no message: leave it out",
        )),
        None => Ok(()),
    }
}

/// Refuses members and properties that the gateway sets itself.
pub(super) fn own_members(parsed: &ParsedMessage, purpose: Purpose) -> Result<(), Problem> {
    let properties = &parsed.message.properties;
    let members = [("routing_key", parsed.routing_key.is_some()), ("mandatory", parsed.mandatory.is_some())];
    let properties = [
        ("reply_to", properties.reply_to.is_some()),
        ("correlation_id", properties.correlation_id.is_some()),
        ("expiration", properties.expiration.is_some()),
        ("user_id", properties.user_id.is_some()),
    ];
    let is_own = |(name, is_given): &(&str, bool)| *is_given && purpose.own().contains(name);
    let member = members.into_iter().find(is_own).map(|(name, _)| name.to_owned());
    let own =
        member.or_else(|| properties.into_iter().find(is_own).map(|(name, _)| parsed.form.property(name)));
    match own {
        Some(field) => Err(Problem::malformed(&field, "is set by the gateway: leave it out")),
        None => Ok(()),
    }
}

/// Refuses a message that RabbitMQ would refuse, or that forges RabbitMQ's own headers.
pub(super) fn message(
    parsed: &ParsedMessage,
    purpose: Purpose,
    limits: &HeaderLimits,
    user: Option<&str>,
) -> Result<(), Problem> {
    let ParsedMessage { message, form, .. } = parsed;
    if message.properties.user_id.as_ref().is_some_and(|given| Some(given.as_str()) != user) {
        return Err(Problem::malformed(
            &form.property("user_id"),
            "must be the gateway's own user: correct it or leave it out",
        ));
    }
    for (name, value) in &message.headers.0 {
        header(name.as_str(), value, purpose)?;
    }
    let reply_to = message.properties.reply_to.as_ref();
    if reply_to.is_some_and(|queue| reserved::is_direct_reply_to(queue.as_str())) {
        let why = match purpose {
            Purpose::Reply => {
                "cannot be direct reply-to, which only clients of AMQP can use: name a queue, or leave it out"
            }
            Purpose::Publish | Purpose::Call => "cannot be direct reply-to: use POST /rpc/{queue}",
        };
        return Err(Problem::malformed(&form.property("reply_to"), why));
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

fn header(name: &str, value: &FieldValue, purpose: Purpose) -> Result<(), Problem> {
    let refused = |why| Err(Problem::malformed(&format!("headers.{name}"), why));
    if reserved::routes(name) {
        if purpose != Purpose::Publish {
            return refused(
                "routes the message to more queues than one, which only a publish can do: leave it out",
            );
        }
        if !sender_selected::HEADERS.contains(&name) || !sender_selected::is_valid(value) {
            return refused(
                "routes the message to more destinations: send it in an envelope, as CC or BCC, with an array of texts, each a routing \
                 key of at most 255 bytes",
            );
        }
    }
    if reserved::is_gateway_header(name) {
        return refused("is a header that only the gateway may write: leave it out");
    }
    if reserved::is_broker_header(name) {
        return refused("is a header that only RabbitMQ may write: leave it out");
    }
    Ok(())
}
