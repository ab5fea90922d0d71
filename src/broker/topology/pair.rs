//! The dead-letter pair of a queue whose declaration RabbitMQ refuses: the gateway deletes it again.
//!
//! AMQP has no transactions over declarations. So the gateway looks at the pair before it declares it. After a refusal it
//! deletes a queue that was absent then, if it has no messages and no consumers, and an exchange that was absent then, if it has
//! no bindings. Where the main queue is there now, the pair may belong to another caller, and all of them stay; the answer names them.

use tokio::time::Instant;

use super::Topology;
use super::exchange_methods::delete;
use crate::broker::error::Error;
use crate::domain::topology::{DeadLetterPair, DeleteConditions, QueueDeclaration};

/// The parts of a pair that did not exist before the gateway declared them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Absent {
    exchange: bool,
    queue: bool,
}

impl Topology {
    /// Checks whether the parts of a pair exist. Without a pair no part is absent.
    pub(super) async fn absent_of(
        &self,
        pair: Option<&DeadLetterPair>,
        deadline: Instant,
    ) -> Result<Absent, Error> {
        let Some(pair) = pair else { return Ok(Absent::default()) };
        let exchange = self.is_exchange_there(&pair.exchange, deadline).await?;
        let queue = self.is_there(&pair.queue, deadline).await?;
        Ok(Absent { exchange: !exchange, queue: !queue })
    }

    /// Deletes the pair of a refused declaration. Returns the names of the parts that it could not delete.
    pub(super) async fn take_back(
        &self,
        queue: &QueueDeclaration,
        absent: Absent,
        was_there: bool,
        deadline: Instant,
    ) -> Vec<String> {
        let Some(pair) = &queue.dead_letter_pair else { return Vec::new() };
        let is_there_now = self.is_there(&queue.name, deadline).await.unwrap_or(true);
        let is_safe = was_there || !is_there_now;
        let mut remains = Vec::new();
        if !is_safe {
            remains.push(format!("queue \"{}\"", queue.name));
        }
        let is_made = absent.queue && self.is_there(&pair.queue, deadline).await.unwrap_or(true);
        if is_made && !(is_safe && self.take_back_queue(pair, deadline).await) {
            remains.push(format!("queue \"{}\"", pair.queue));
        }
        if absent.exchange && !(is_safe && self.take_back_exchange(pair, deadline).await) {
            remains.push(format!("exchange \"{}\"", pair.exchange));
        }
        remains
    }

    /// Whether the queue is gone.
    async fn take_back_queue(&self, pair: &DeadLetterPair, deadline: Instant) -> bool {
        let unused = DeleteConditions { if_unused: true, if_empty: true };
        self.delete(&pair.queue, unused, deadline).await.is_ok()
    }

    /// Whether the exchange is gone.
    async fn take_back_exchange(&self, pair: &DeadLetterPair, deadline: Instant) -> bool {
        let name = pair.exchange.clone();
        // RabbitMQ answers the deletion of a missing exchange with success.
        let deleted = self.repeat(deadline, false, move |channel| delete(channel, name.clone(), true));
        deleted.await.is_ok()
    }
}
