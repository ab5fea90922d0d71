//! The destination of a message, which the request and its envelope name together.

use crate::domain::message::Destination;
use crate::domain::names::{ExchangeName, ShortText};
use crate::domain::sender_selected;
use crate::http::codec::ParsedMessage;
use crate::http::problem::Problem;
use crate::http::reserved_name;

/// The destination of a message. `routing_key` and `mandatory` are those of the query.
///
/// # Errors
/// 400 if the envelope has other values than the query, 403 for a reserved queue.
pub(super) fn destination(
    exchange: ExchangeName,
    routing_key: Option<ShortText>,
    mandatory: Option<bool>,
    parsed: &mut ParsedMessage,
) -> Result<Destination, Problem> {
    let routing_key = either("routing_key", routing_key, parsed.routing_key.take())?.unwrap_or_default();
    let mandatory = either("mandatory", mandatory, parsed.mandatory)?.unwrap_or(true);
    let further = sender_selected::routing_keys(&parsed.message.headers);
    for routing_key in further.chain([routing_key.as_str()]) {
        reserved_name::refuse_destination(&exchange, routing_key)?;
    }
    Ok(Destination { exchange, routing_key, mandatory })
}

fn either<T: PartialEq>(field: &str, query: Option<T>, envelope: Option<T>) -> Result<Option<T>, Problem> {
    if query.is_some() && envelope.is_some() && query != envelope {
        return Err(Problem::malformed(
            field,
            "has one value in the query and another in the envelope: give one of them",
        ));
    }
    Ok(query.or(envelope))
}
