//! Takes messages from queues for callers, and settles them by the callers' word.
//!
//! A message that is given to a caller is a lease: RabbitMQ keeps it unacknowledged until the caller settles it, the lease expires
//! or the connection is lost. Guarantees:
//! - The gateway acks or rejects a message only when its caller has said so, and answers `acked` only when RabbitMQ has read the ack.
//! - A message of a caller that left goes to the next waiting caller, or back to its queue, at once.
//! - Every queue has a channel of its own: a fault of one queue ends no lease of another.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::error::Error;
use crate::domain::lease::LeaseId;
use crate::domain::message::Delivery;
use crate::domain::names::QueueName;

/// A caller who asks for messages of a queue.
#[derive(Debug, Clone)]
pub struct Pull {
    /// The queue.
    pub queue: QueueName,
    /// The most messages, at least 1.
    pub max: usize,
    /// How long the caller waits for the first message.
    pub wait: Duration,
    /// How long the caller has time to settle the messages.
    pub lease: Duration,
}

/// A message that its caller has to settle.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The id by which the caller settles it.
    pub id: LeaseId,
    /// When the lease expires.
    pub expires_at: SystemTime,
    /// The message.
    pub delivery: Arc<Delivery>,
}

/// The messages for one caller. When this is dropped before [`Self::taken`], the messages go to the next caller or back.
#[derive(Debug)]
pub struct Pulled {
    /// The messages; empty when none came in time.
    pub messages: Vec<Leased>,
}

/// What happens to a leased message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// RabbitMQ removes it.
    Ack,
    /// It goes back to its queue (`basic.nack` with `requeue`).
    Release,
    /// RabbitMQ drops it, or sends it to the dead-letter exchange of its queue (`basic.reject` without `requeue`).
    Reject,
    /// The caller gets this time from now on.
    Extend(Duration),
}

/// An action that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// RabbitMQ has read the ack.
    Acked,
    /// The message is back in its queue.
    Released,
    /// RabbitMQ has dropped or dead-lettered the message.
    Rejected,
    /// The lease expires later.
    Extended {
        /// When it expires now.
        expires_at: SystemTime,
    },
}

/// Why an action is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSettled {
    /// The queue has no lease with this id: it expired, its connection was lost, or it never existed. The message is back in its
    /// queue, or was settled by somebody else.
    #[error("the lease does not exist any more")]
    Expired,
    /// The lease was settled in another way, or is being settled in another way.
    #[error("the lease is settled already")]
    Already(Settled),
    /// The lease would be older than the longest lease.
    #[error("a lease lasts at most {longest:?} from its delivery on")]
    TooLong {
        /// The longest time from the delivery on.
        longest: Duration,
    },
    /// RabbitMQ did not answer.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// The handle to the queues that callers take messages from.
pub struct Consuming {}

impl Consuming {
    /// Takes messages for a caller: at least one, or none when none came within its wait. Drop the future when the caller leaves.
    ///
    /// # Errors
    /// RabbitMQ's refusal, or the reason why RabbitMQ could not be asked.
    pub async fn pull(&self, pull: Pull) -> Result<Pulled, Error> {
        let _ = pull;
        unimplemented!("follows in the next commit")
    }

    /// Does these actions with leases of a queue, and waits until RabbitMQ has read them, at most to the deadline. The results are
    /// in the order of the actions. Each lease occurs once.
    pub async fn settle(
        &self,
        queue: &QueueName,
        actions: Vec<(LeaseId, Action)>,
        deadline: Instant,
    ) -> Vec<Result<Settled, NotSettled>> {
        let _ = (queue, actions, deadline);
        unimplemented!("follows in the next commit")
    }
}

impl Pulled {
    /// The connection has taken the messages.
    pub fn taken(self) {}
}
