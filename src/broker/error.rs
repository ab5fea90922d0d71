//! Why RabbitMQ did not do what was asked, classified once. Knows no HTTP.
//!
//! The shape of an error is the [`Outcome`] of the message that was to be published.

mod words;

use crate::domain::outcome::Outcome;

/// Why RabbitMQ did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The gateway wrote nothing.
    #[error(transparent)]
    NotSent(#[from] Unavailable),
    /// RabbitMQ refused the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Returned: no queue took the message.
    #[error("no queue took the message: {reason}")]
    Unroutable {
        /// RabbitMQ's text, such as `NO_ROUTE`.
        reason: String,
    },
    /// Nacked: at least one queue refused the message, others may hold it.
    #[error("at least one queue refused the message")]
    Rejected,
    /// The request was written, or may have been, and its result is not known.
    #[error(transparent)]
    Unknown(#[from] Cause),
}

/// Why the gateway could not send a request. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There was no connection within the deadline, or RabbitMQ opened no channel on it.
    #[error("no connection to the broker, or no channel, within the deadline")]
    NoConnection,
    /// RabbitMQ refuses the gateway itself.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// There was a connection, but no channel had room until the deadline.
    #[error("no place on a confirm channel became free within the deadline")]
    Busy,
    /// The largest number of calls already waits for replies.
    #[error("too many calls wait for replies")]
    TooManyCalls,
    /// The largest number of destinations that do not answer already has a connection each.
    #[error("{limit} destinations that do not answer have a connection of their own already")]
    TooManySlow {
        /// How many such connections there may be.
        limit: usize,
    },
    /// As many operations that run alone take long as may.
    #[error("{limit} operations that run alone on a connection take long already")]
    TooManyLong {
        /// How many connections there are for such operations.
        limit: usize,
    },
    /// A resource alarm blocks publishers.
    #[error("the broker blocks publishers")]
    Blocked,
    /// The gateway is stopping and there is no connection.
    #[error("the gateway is stopping")]
    ShuttingDown,
}

/// Why RabbitMQ refuses the gateway itself, whatever is asked. The texts name no user, virtual host or address; RabbitMQ's own
/// text is in the gateway's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The user or the password is wrong, or the user may not log in from the gateway's address.
    #[error("RabbitMQ refuses the gateway's user name or password")]
    Credentials,
    /// There is no such virtual host.
    #[error("the gateway's virtual host does not exist in RabbitMQ")]
    VhostMissing,
    /// The user has no permissions in the virtual host.
    #[error("RabbitMQ does not let the gateway's user into its virtual host")]
    VhostForbidden,
    /// As many connections are open as the virtual host, the user or the node may have.
    #[error("a connection limit of RabbitMQ is reached")]
    ConnectionLimit,
    /// As many channels are open as the user may have.
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

/// Why RabbitMQ refused a request. `reason` is its own text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each reason is RabbitMQ's text")]
pub enum Refusal {
    /// There is no such exchange.
    #[error("no such exchange: {reason}")]
    ExchangeMissing { reason: String },
    /// There is no such queue.
    #[error("no such queue: {reason}")]
    QueueMissing { reason: String },
    /// The gateway's user lacks a permission, or the exchange is internal.
    #[error("access refused: {reason}")]
    AccessRefused { reason: String },
    /// The request itself is wrong.
    #[error("invalid: {reason}")]
    Invalid { reason: String },
    /// It already exists, with other arguments.
    #[error("declared otherwise: {reason}")]
    Differs { reason: String },
    /// It has consumers or messages, and the request asked not to delete it then.
    #[error("in use: {reason}")]
    InUse { reason: String },
    /// The properties and headers of a message, or the arguments of a declaration, are larger than a frame may be. The
    /// gateway refuses them: RabbitMQ would close the connection.
    #[error("{bytes} bytes are larger than a frame of {limit} bytes")]
    HeadersTooLarge { bytes: usize, limit: usize },
    /// The body is larger than RabbitMQ's limit.
    #[error("message too large: {reason}")]
    TooLarge { reason: String },
    /// The queue is exclusive to another connection.
    #[error("resource locked: {reason}")]
    Locked { reason: String },
    /// This type of queue cannot do that.
    #[error("not supported by this queue: {reason}")]
    NotSupported { reason: String },
}

impl Refusal {
    /// The same, which names what the refused request has made and could not take back.
    pub(super) fn with_remains(mut self, remains: &[String]) -> Self {
        if let Some(reason) = self.reason_mut().filter(|_| !remains.is_empty()) {
            *reason = format!("{reason}; this remains of what the gateway made: {}", remains.join(", "));
        }
        self
    }

    /// Whether RabbitMQ answers it by closing the channel, and not the connection.
    pub(super) fn is_of_a_channel(&self) -> bool {
        !matches!(self, Self::NotSupported { .. })
    }

    fn reason_mut(&mut self) -> Option<&mut String> {
        Some(match self {
            Self::HeadersTooLarge { .. } => return None,
            Self::ExchangeMissing { reason }
            | Self::QueueMissing { reason }
            | Self::AccessRefused { reason }
            | Self::Invalid { reason }
            | Self::Differs { reason }
            | Self::InUse { reason }
            | Self::TooLarge { reason }
            | Self::Locked { reason }
            | Self::NotSupported { reason } => reason,
        })
    }
}

/// Why the result of a request is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// RabbitMQ did not answer within the deadline.
    #[error("no answer from the broker within the deadline")]
    Silence,
    /// The gateway stopped before RabbitMQ answered, or before a reply came.
    #[error("the gateway stopped before the answer came")]
    Stopped,
    /// No reply to a call came within the deadline.
    #[error("no reply within the deadline")]
    NoReply,
    /// The reply queue was lost; the call's request may have been written.
    #[error("the reply queue was lost")]
    ReplyChannelLost,
    /// The connection or channel that carried the request is gone.
    #[error("the connection was lost before the broker answered: {reason}")]
    Lost {
        /// How it was lost; for the gateway's log.
        reason: String,
        /// Whether the same request can end otherwise: not when the request itself ended the connection.
        repeatable: bool,
    },
}

impl Error {
    /// What is true of the message that was to be published.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotSent(_) | Self::Refused(_) => Outcome::NotSent,
            Self::Unroutable { .. } => Outcome::Unroutable,
            Self::Rejected => Outcome::Rejected,
            Self::Unknown(_) => Outcome::Unknown,
        }
    }

    /// The connection or channel is lost, and the same request may be sent again.
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
