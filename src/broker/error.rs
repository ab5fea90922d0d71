//! What can go wrong with the broker, classified once, by meaning and without HTTP words.
//!
//! Every error has an [`Outcome`]: what is true of the message that was to be published.

mod words;

pub(super) use self::words::is_login_refused;
use crate::domain::outcome::Outcome;

/// Why the broker did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No connection within the deadline; nothing was written.
    #[error("no connection to the broker within the deadline")]
    Unavailable,
    /// The broker refuses the gateway's user or virtual host; nothing was written.
    #[error("the broker refuses the gateway's user or virtual host")]
    LoginRefused,
    /// Connected, but no place on a confirm channel was free until the deadline; nothing was written.
    #[error("no place on a confirm channel became free within the deadline")]
    Busy,
    /// As many calls wait for replies as may; nothing was written.
    #[error("too many calls wait for replies")]
    TooManyCalls,
    /// A resource alarm blocks publishers; nothing was written.
    #[error("the broker blocks publishers")]
    Blocked,
    /// The gateway is stopping and the broker is away; nothing was written.
    #[error("the gateway is stopping")]
    ShuttingDown,
    /// No such exchange.
    #[error("no such exchange: {reason}")]
    ExchangeMissing {
        /// The broker's own words.
        reason: String,
    },
    /// No such queue.
    #[error("no such queue: {reason}")]
    QueueMissing {
        /// The broker's own words.
        reason: String,
    },
    /// The gateway's user lacks a permission, or the exchange is internal.
    #[error("access refused: {reason}")]
    AccessRefused {
        /// The broker's own words.
        reason: String,
    },
    /// The broker finds the request itself wrong.
    #[error("invalid: {reason}")]
    Invalid {
        /// The broker's own words.
        reason: String,
    },
    /// It is there already, with other arguments.
    #[error("declared otherwise: {reason}")]
    Differs {
        /// The broker's own words.
        reason: String,
    },
    /// It has consumers or messages, and must not be deleted while it has.
    #[error("in use: {reason}")]
    InUse {
        /// The broker's own words.
        reason: String,
    },
    /// The body is larger than the broker takes.
    #[error("message too large: {reason}")]
    TooLarge {
        /// The broker's own words.
        reason: String,
    },
    /// The queue is exclusive to another connection.
    #[error("resource locked: {reason}")]
    Locked {
        /// The broker's own words.
        reason: String,
    },
    /// This type of queue cannot do that.
    #[error("not supported by this queue: {reason}")]
    NotSupported {
        /// The broker's own words.
        reason: String,
    },
    /// Returned: no queue took the message.
    #[error("no queue took the message: {reason}")]
    Unroutable {
        /// The broker's own words, such as `NO_ROUTE`.
        reason: String,
    },
    /// Nacked: at least one queue refused the message, others may hold it.
    #[error("at least one queue refused the message")]
    Rejected,
    /// Written, and no answer within the deadline.
    #[error("no answer from the broker within the deadline")]
    Silence,
    /// The request was written, and no reply came within the deadline.
    #[error("no reply within the deadline")]
    NoReply,
    /// The request may have been written, and the reply queue was lost.
    #[error("the reply queue was lost")]
    ReplyChannelLost,
    /// Written, and the connection or channel that carried it is gone.
    #[error("the connection was lost before the broker answered: {reason}")]
    Lost {
        /// What lapin says of the loss; for our own logs.
        reason: String,
        /// Whether doing it again can end otherwise: not when our own words ended the connection.
        repeatable: bool,
    },
}

impl Error {
    /// What is true of the message that was to be published.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unavailable
            | Self::LoginRefused
            | Self::Busy
            | Self::TooManyCalls
            | Self::Blocked
            | Self::ShuttingDown
            | Self::ExchangeMissing { .. }
            | Self::QueueMissing { .. }
            | Self::AccessRefused { .. }
            | Self::Invalid { .. }
            | Self::Differs { .. }
            | Self::InUse { .. }
            | Self::TooLarge { .. }
            | Self::Locked { .. }
            | Self::NotSupported { .. } => Outcome::NotSent,
            Self::Unroutable { .. } => Outcome::Unroutable,
            Self::Rejected => Outcome::Rejected,
            Self::Silence | Self::NoReply | Self::ReplyChannelLost | Self::Lost { .. } => Outcome::Unknown,
        }
    }
}

impl Error {
    /// The connection that carried it is gone, and said nothing more.
    pub(super) fn gone() -> Self {
        Self::Lost { reason: "the connection is gone".to_owned(), repeatable: true }
    }
}
