//! What happens to a leased message by its caller's word.

use std::time::{Duration, SystemTime};

use crate::broker::error::Error;

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
