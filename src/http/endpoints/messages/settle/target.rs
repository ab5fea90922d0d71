//! Where the copies of dead letters go.

use super::member::DeadLetterTo;
use crate::broker::Action;
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::http::problem::Problem;
use crate::http::request::Query;
use crate::http::reserved_name;

/// The member that says it.
pub(super) const MEMBER: &str = "dead_letter_to";

/// The exchange and the routing key that the request names.
#[derive(Debug, Default)]
pub(in crate::http) struct Target {
    exchange: Option<ExchangeName>,
    routing_key: Option<ShortText>,
}

impl Target {
    /// Checks the names in the member of a document, also if no message goes there.
    ///
    /// # Errors
    /// 400 naming the field in the member.
    pub(super) fn of_document(DeadLetterTo { exchange, routing_key }: DeadLetterTo) -> Result<Self, Problem> {
        let exchange = exchange.map(|name| ExchangeName::from_path(&name)).transpose();
        let routing_key = routing_key.map(ShortText::parse).transpose();
        Ok(Self {
            exchange: exchange.map_err(|error| Problem::malformed("exchange", error))?,
            routing_key: routing_key.map_err(|error| Problem::malformed("routing_key", error))?,
        })
    }

    /// Takes the names from a query.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub(in crate::http) fn take(query: &mut Query) -> Result<Self, Problem> {
        let exchange = query.take("exchange")?.map(|name| ExchangeName::from_path(&name)).transpose();
        let exchange = exchange.map_err(|error| Problem::malformed("exchange", error))?;
        Ok(Self { exchange, routing_key: query.text("routing_key")? })
    }

    /// The action that sends a message of this queue there. By default the exchange is `<queue>.dlx`, and the routing key is the name
    /// of the queue.
    ///
    /// # Errors
    /// 400 if the name of the queue leaves no room for that of the exchange, 403 for a reserved queue.
    pub(in crate::http) fn action(
        &self,
        queue: &QueueName,
        reason: Option<String>,
    ) -> Result<Action, Problem> {
        let exchange = match &self.exchange {
            Some(given) => given.clone(),
            None => ExchangeName::for_dead_letters_of(queue)
                .map_err(|error| Problem::malformed("exchange", error))?,
        };
        let routing_key = match &self.routing_key {
            Some(given) => given.clone(),
            None => {
                ShortText::parse(queue.as_str()).map_err(|error| Problem::malformed("routing_key", error))?
            }
        };
        reserved_name::refuse_destination(&exchange, routing_key.as_str())?;
        Ok(Action::DeadLetter { exchange, routing_key, reason })
    }
}
