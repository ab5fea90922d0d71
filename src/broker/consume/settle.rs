//! The actions by which a caller settles a leased message, and their results.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::broker::error::Error;
use crate::domain::message::{Message, MessageId};
use crate::domain::names::{ExchangeName, ShortText};
use crate::domain::retry_step::RetryStep;

/// An action with a leased message.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// RabbitMQ removes it.
    Ack,
    /// It goes back to its queue (`basic.nack` with `requeue`).
    Release,
    /// RabbitMQ drops it, or sends it to the dead-letter exchange of its queue (`basic.reject` without `requeue`).
    Reject,
    /// The caller gets this time from now on.
    Extend(Duration),
    /// A copy of it comes again later, and RabbitMQ removes the original.
    Retry {
        /// The delay; `None` means at once, behind the other messages of the queue.
        step: Option<RetryStep>,
        /// Why its caller could not process it.
        reason: Option<String>,
    },
    /// A copy of it goes to this exchange, and RabbitMQ removes the original.
    DeadLetter {
        /// The exchange.
        exchange: ExchangeName,
        /// The routing key.
        routing_key: ShortText,
        /// Why its caller could not process it.
        reason: Option<String>,
    },
    /// This message goes to the queue that the leased one names in `reply_to`, with its `correlation_id`, and RabbitMQ removes the
    /// leased one.
    Reply(Arc<Message>),
}

impl Action {
    /// Whether a copy or a reply is published first.
    pub(super) fn is_copy(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::DeadLetter { .. } | Self::Reply(_))
    }
}

/// An action that ends a lease, without its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Final {
    Acked,
    Released,
    Rejected,
    Retried,
    DeadLettered,
    Replied,
}

impl Action {
    /// The action without its parameters, if it ends the lease.
    pub(super) fn how(&self) -> Option<Final> {
        match self {
            Self::Ack => Some(Final::Acked),
            Self::Release => Some(Final::Released),
            Self::Reject => Some(Final::Rejected),
            Self::Retry { .. } => Some(Final::Retried),
            Self::DeadLetter { .. } => Some(Final::DeadLettered),
            Self::Reply(_) => Some(Final::Replied),
            Self::Extend(_) => None,
        }
    }
}

/// An action that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// RabbitMQ holds a copy that comes again, and has read the ack of the original.
    Retried(Arc<Retried>),
    /// RabbitMQ holds a copy at the dead-letter exchange, and has read the ack of the original.
    DeadLettered,
    /// RabbitMQ has read the ack of the request, after its reply was sent once.
    Replied {
        /// Whether the queue for the reply has got it. `None` if it is unknown: RabbitMQ does not tell for direct reply-to, and a reply
        /// without an answer is not sent again.
        delivered: Option<bool>,
    },
}

/// The copy of a message that comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// When it comes again.
    pub retry_at: SystemTime,
    /// The id of the message and of its copy.
    pub message_id: MessageId,
    /// Whether an earlier copy with this id may be in a queue too.
    pub duplicate_possible: bool,
}

impl Settled {
    /// The action, if it ended the lease.
    pub(super) fn how(&self) -> Option<Final> {
        match self {
            Self::Acked => Some(Final::Acked),
            Self::Released => Some(Final::Released),
            Self::Rejected => Some(Final::Rejected),
            Self::Retried(_) => Some(Final::Retried),
            Self::DeadLettered => Some(Final::DeadLettered),
            Self::Replied { .. } => Some(Final::Replied),
            Self::Extended { .. } => None,
        }
    }
}

/// Why a message can have no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NoReplyTo {
    /// It has no `reply_to`, or one that is no name of a queue.
    #[error("the message names no queue that a reply can go to")]
    NoQueue,
    /// Its `reply_to` or `correlation_id` has bytes that are not UTF-8, which the gateway cannot send again.
    #[error("the reply_to or the correlation_id of the message is not UTF-8")]
    NotText,
    /// Its `reply_to` begins as an address of direct reply-to, and RabbitMQ cannot have made it.
    #[error("the message names an address of direct reply-to that is none")]
    NoAddress,
    /// RabbitMQ closed the connection over an earlier reply to its address of direct reply-to.
    #[error("the address of direct reply-to leads to no client")]
    Unreachable,
}

/// Why an action is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSettled {
    /// The queue has no lease with this id: it expired, its connection was lost, or it never existed. The message is back in its
    /// queue, or was settled by another caller.
    #[error("the lease does not exist any more")]
    Expired,
    /// The lease was settled in another way.
    #[error("the lease is settled already")]
    Already(Settled),
    /// The lease is being settled in another way.
    #[error("the lease is being settled in another way")]
    Settling,
    /// The lease would be older than the longest lease.
    #[error("a lease lasts at most {longest:?} from its delivery on")]
    TooLong {
        /// The longest time from the delivery on.
        longest: Duration,
    },
    /// The message names no queue that a reply can go to. Nothing was sent, and the lease goes on.
    #[error(transparent)]
    NoReplyTo(#[from] NoReplyTo),
    /// The only queue that the copy or the reply goes to refused it, so RabbitMQ does not hold it. The lease goes on.
    #[error("the queue for the copy refused it")]
    CopyRejected,
    /// The replica that holds the message never keeps so large a request of another replica. Nothing was done.
    #[error("the replica that holds the message keeps at most {limit} bytes of requests")]
    TooLarge {
        /// The bytes that all such requests may take together.
        limit: usize,
    },
    /// RabbitMQ did not answer.
    #[error(transparent)]
    Failed(#[from] Error),
}
