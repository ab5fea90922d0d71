//! The reasons why a request to RabbitMQ failed, classified once. This module knows no HTTP.
//!
//! The shape of an error is the [`Outcome`] of the message that was published.

mod words;

use crate::domain::outcome::Outcome;
use crate::fairness::OverShare;

/// Why a request to RabbitMQ failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The gateway did not write the request.
    #[error(transparent)]
    NotSent(#[from] Unavailable),
    /// RabbitMQ refused the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// RabbitMQ returned the message: no queue took it.
    #[error("no queue took the message: {reason}")]
    Unroutable {
        /// RabbitMQ's text, such as `NO_ROUTE`.
        reason: String,
    },
    /// RabbitMQ nacked the message: at least one queue refused it, others may hold it.
    #[error("at least one queue refused the message")]
    Rejected,
    /// The gateway wrote the request, or may have written it, and does not know the result.
    #[error(transparent)]
    Unknown(#[from] Cause),
}

/// Why the gateway could not send a request. It did not write the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// No connection was up until the deadline, or RabbitMQ opened no channel on it.
    #[error("no connection to RabbitMQ, or no channel, within the deadline")]
    NoConnection,
    /// RabbitMQ refuses the gateway itself.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// A connection was up, but no permit became free until the deadline.
    #[error("no confirm channel had room within the deadline")]
    Busy,
    /// The maximum number of calls already waits for replies.
    #[error("too many calls wait for replies")]
    TooManyCalls,
    /// The principal of the request holds its fair share of a resource.
    #[error("the principal holds {} of {}, its fair share", share.held, share.limit)]
    OverShare {
        /// The resource.
        of: SharedResource,
        /// The part that the principal holds, and the whole.
        share: OverShare,
    },
    /// The maximum number of slow destinations already has a connection each.
    #[error("{limit} other destinations do not answer in time and use all connections for slow destinations")]
    TooManySlow {
        /// The maximum number of such connections.
        limit: usize,
    },
    /// The maximum number of operations that run alone already takes long.
    #[error("{limit} operations that run alone on a connection already take long")]
    TooManyLong {
        /// The number of connections for such operations.
        limit: usize,
    },
    /// As many messages are leased as the limits allow.
    #[error("too many messages are leased")]
    TooManyLeases,
    /// The maximum number of queues already has a channel for pulls.
    #[error("{limit} other queues have a channel for pulls")]
    TooManyLeaseQueues {
        /// The maximum number of queues.
        limit: usize,
    },
    /// The replica that holds the message has another version, which does not know the request.
    #[error("the replica that holds the message has another version")]
    OtherVersion,
    /// The replica that holds the message keeps as many requests of other replicas as it can.
    #[error("the replica that holds the message keeps as many requests of other replicas as it can")]
    OwnerBusy,
    /// A resource alarm blocks publishers.
    #[error("RabbitMQ blocks publishers")]
    Blocked,
    /// The gateway is stopping and no connection is up.
    #[error("the gateway is stopping")]
    ShuttingDown,
}

/// A resource of which each principal gets a fair share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedResource {
    /// Calls that wait for their replies.
    PendingReplies,
    /// Leased messages.
    Leases,
}

/// Why RabbitMQ refuses the gateway itself, for every request. The texts name no user, virtual host or address;
/// RabbitMQ's own text is in the gateway's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The user or the password is wrong, or the user may not log in from the gateway's address.
    #[error("RabbitMQ refuses the gateway's user name or password")]
    Credentials,
    /// The virtual host does not exist.
    #[error("the gateway's virtual host does not exist in RabbitMQ")]
    VhostMissing,
    /// The user has no permissions in the virtual host.
    #[error("RabbitMQ does not let the gateway's user into its virtual host")]
    VhostForbidden,
    /// The virtual host, the user or the node has its maximum number of connections.
    #[error("a connection limit of RabbitMQ is reached")]
    ConnectionLimit,
    /// The user has its maximum number of channels.
    #[error("the limit of RabbitMQ on channels of the gateway's user is reached")]
    ChannelLimit,
    /// The user may not declare or consume from the reply queue.
    #[error(
        "the gateway's user needs the permissions configure and read for amq.gen-.* to have a reply queue"
    )]
    ReplyQueueForbidden,
    /// RabbitMQ refuses the reply queue for another reason.
    #[error("RabbitMQ refuses the reply queue; the gateway's log tells why")]
    ReplyQueue,
    /// Another reason.
    #[error("RabbitMQ refuses the gateway's connection; the gateway's log tells why")]
    Other,
}

/// Why RabbitMQ refused a request. `reason` is RabbitMQ's own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each reason is RabbitMQ's text")]
pub enum Refusal {
    /// The exchange does not exist.
    #[error("no such exchange: {reason}")]
    ExchangeMissing { reason: String },
    /// The queue does not exist.
    #[error("no such queue: {reason}")]
    QueueMissing { reason: String },
    /// The gateway's user lacks a permission, or the exchange is internal.
    #[error("access refused: {reason}")]
    AccessRefused { reason: String },
    /// The request itself is wrong.
    #[error("invalid: {reason}")]
    Invalid { reason: String },
    /// RabbitMQ has no exchange type of this name: a plugin may have it.
    #[error("unknown exchange type: {reason}")]
    TypeUnknown { reason: String },
    /// The queue or exchange already exists with other arguments.
    #[error("already exists with other arguments: {reason}")]
    Differs { reason: String },
    /// The queue has consumers or messages, or the exchange has bindings, and the request forbids the deletion in that case.
    #[error("in use: {reason}")]
    InUse { reason: String },
    /// The properties and headers of a message, or the arguments of a declaration, are larger than a frame. The gateway
    /// refuses them, because RabbitMQ would close the connection.
    #[error("{bytes} bytes are larger than a frame of {limit} bytes")]
    HeadersTooLarge { bytes: usize, limit: usize },
    /// The body is larger than RabbitMQ's limit.
    #[error("message too large: {reason}")]
    TooLarge { reason: String },
    /// The queue is exclusive to another connection.
    #[error("resource locked: {reason}")]
    Locked { reason: String },
    /// This type of queue does not support the request.
    #[error("not supported by this queue: {reason}")]
    NotSupported { reason: String },
}

impl Refusal {
    /// The words between RabbitMQ's reason and the objects that the gateway made and could not delete.
    pub const REMAINS: &str = "; this remains of what the gateway made: ";

    /// The same refusal, which also names the queues and exchanges that the request made and the gateway could not
    /// delete.
    pub(super) fn with_remains(mut self, remains: &[String]) -> Self {
        if let Some(reason) = self.reason_mut().filter(|_| !remains.is_empty()) {
            *reason = format!("{reason}{}{}", Self::REMAINS, remains.join(", "));
        }
        self
    }

    /// Whether RabbitMQ always answers with it by closing the channel, and never by closing the connection.
    pub(super) fn is_of_a_channel(&self) -> bool {
        !matches!(self, Self::NotSupported { .. } | Self::TypeUnknown { .. })
    }

    fn reason_mut(&mut self) -> Option<&mut String> {
        Some(match self {
            Self::HeadersTooLarge { .. } => return None,
            Self::ExchangeMissing { reason }
            | Self::QueueMissing { reason }
            | Self::AccessRefused { reason }
            | Self::Invalid { reason }
            | Self::TypeUnknown { reason }
            | Self::Differs { reason }
            | Self::InUse { reason }
            | Self::TooLarge { reason }
            | Self::Locked { reason }
            | Self::NotSupported { reason } => reason,
        })
    }
}

/// Why the gateway does not know the result of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// RabbitMQ did not answer within the deadline.
    #[error("no answer from RabbitMQ within the deadline")]
    Silence,
    /// The gateway stopped before RabbitMQ answered, or before a reply arrived.
    #[error("the gateway stopped before the answer came")]
    Stopped,
    /// No reply to a call arrived within the deadline.
    #[error("no reply within the deadline")]
    NoReply,
    /// The reply queue was lost; the gateway may have written the call's request.
    #[error("the reply queue was lost")]
    ReplyChannelLost,
    /// The connection or channel that carried the request is gone.
    #[error("the connection was lost before RabbitMQ answered: {reason}")]
    Lost {
        /// RabbitMQ's or lapin's text, for the gateway's log.
        reason: String,
        /// Whether the same request can have another result when it is repeated. False if the request itself ended the
        /// connection.
        repeatable: bool,
    },
}

impl Error {
    /// The outcome of the message that was published.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotSent(_) | Self::Refused(_) => Outcome::NotSent,
            Self::Unroutable { .. } => Outcome::Unroutable,
            Self::Rejected => Outcome::Rejected,
            Self::Unknown(_) => Outcome::Unknown,
        }
    }

    /// The connection or channel is lost, and the gateway may send the same request again.
    #[must_use]
    pub fn lost(reason: &str) -> Self {
        Self::Unknown(Cause::Lost { reason: reason.to_owned(), repeatable: true })
    }

    /// The connection is gone, and RabbitMQ gave no reason.
    pub(super) fn gone() -> Self {
        Self::lost("the connection is gone")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_answer_leaves_the_outcome_unknown() {
        let refusal = Refusal::TooLarge { reason: "message size 9".to_owned() };
        for (error, outcome) in [
            (Error::from(Unavailable::Busy), Outcome::NotSent),
            (Error::from(refusal), Outcome::NotSent),
            (Error::Unroutable { reason: "NO_ROUTE".to_owned() }, Outcome::Unroutable),
            (Error::Rejected, Outcome::Rejected),
            (Error::from(Cause::Silence), Outcome::Unknown),
            (Error::lost("the connection is gone"), Outcome::Unknown),
        ] {
            assert_eq!(error.outcome(), outcome, "{error}");
        }
    }
}
