//! Where the copies of dead letters go.

use super::member::DeadLetterTo;
use crate::broker::Action;
use crate::domain::names::{ExchangeName, NameError, QueueName, ShortText};
use crate::http::problem::Problem;
use crate::http::reserved_name;

/// The member that says it.
pub(super) const MEMBER: &str = "dead_letter_to";

/// The exchange and the routing key that the request names.
pub(super) struct Target {
    exchange: Option<ExchangeName>,
    routing_key: Option<ShortText>,
}

impl Target {
    /// Checks the names, also if no message goes there.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(super) fn of(DeadLetterTo { exchange, routing_key }: DeadLetterTo) -> Result<Self, Problem> {
        let exchange = exchange.map(|name| ExchangeName::from_path(&name)).transpose();
        let routing_key = routing_key.map(ShortText::parse).transpose();
        Ok(Self {
            exchange: exchange.map_err(|error| malformed("exchange", error))?,
            routing_key: routing_key.map_err(|error| malformed("routing_key", error))?,
        })
    }

    /// Sets it in a dead letter of this queue. By default the exchange is `<queue>.dlx`, and the routing key is the name of the queue.
    ///
    /// # Errors
    /// 400 if the name of the queue leaves no room for that of the exchange, 403 for a reserved queue.
    pub(super) fn set_in(&self, action: &mut Action, queue: &QueueName) -> Result<(), Problem> {
        let Action::DeadLetter { exchange, routing_key, .. } = action else { return Ok(()) };
        *exchange = match &self.exchange {
            Some(given) => given.clone(),
            None => ExchangeName::from_path(&format!("{queue}.dlx"))
                .map_err(|error| malformed("exchange", error))?,
        };
        *routing_key = match &self.routing_key {
            Some(given) => given.clone(),
            None => ShortText::parse(queue.as_str()).map_err(|error| malformed("routing_key", error))?,
        };
        reserved_name::refuse_destination(exchange, routing_key)
    }
}

fn malformed(field: &str, error: NameError) -> Problem {
    Problem::malformed(&format!("{MEMBER}.{field}"), error)
}
