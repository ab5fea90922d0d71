//! What can go wrong with the broker, classified once, by meaning and without HTTP words.
//!
//! Every error answers one more question: what is true of the message now, its [`Fate`].

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

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

/// What is true of a message after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Certainly in no queue.
    NotSent,
    /// Returned; in no queue.
    Unroutable,
    /// Refused by at least one queue.
    Rejected,
    /// May be in a queue or not.
    Unknown,
}

impl Fate {
    /// The fate in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Unroutable => "unroutable",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }
}

impl Error {
    /// What is true of the message that was to be published.
    #[must_use]
    pub fn fate(&self) -> Fate {
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
            | Self::NotSupported { .. } => Fate::NotSent,
            Self::Unroutable { .. } => Fate::Unroutable,
            Self::Rejected => Fate::Rejected,
            Self::Silence | Self::NoReply | Self::ReplyChannelLost | Self::Lost { .. } => Fate::Unknown,
        }
    }
}

impl Error {
    /// The connection that carried it is gone, and said nothing more.
    pub(super) fn gone() -> Self {
        Self::Lost { reason: "the connection is gone".to_owned(), repeatable: true }
    }

    /// The exchange over which the broker refused a publish, where its words name one and cannot be misread.
    pub(super) fn exchange(&self) -> Option<&str> {
        let (Self::ExchangeMissing { reason } | Self::AccessRefused { reason }) = self else { return None };
        let (_, named) = split_at_only(words(reason), "exchange '")?;
        split_at_only(named, "' in vhost '").map(|(exchange, _)| exchange)
    }

    /// The property or argument in which the declaration differs, as far as the broker names it.
    pub(super) fn differing_argument(&self) -> Option<&str> {
        let Self::Differs { reason } = self else { return None };
        words(reason).strip_prefix(INEQUIVALENT)?.split_once('\'').map(|(argument, _)| argument)
    }
}

/// What lapin said of something that had been written on a channel that nobody else used.
///
/// A soft protocol error is then the broker's answer to us alone. Everything else means that the
/// answer is lost (never "not sent": lapin reports errors after it has written).
impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return Self::Lost { reason: error.to_string(), repeatable: true };
        };
        let reason = protocol.get_message().to_string();
        match protocol.kind() {
            AMQPErrorKind::Soft(soft) => from_soft(soft, reason),
            AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED) => Self::NotSupported { reason },
            AMQPErrorKind::Hard(hard) => {
                Self::Lost { reason: error.to_string(), repeatable: *hard == AMQPHardError::CONNECTIONFORCED }
            }
        }
    }
}

fn from_soft(soft: &AMQPSoftError, reason: String) -> Error {
    match soft {
        AMQPSoftError::ACCESSREFUSED => Error::AccessRefused { reason },
        AMQPSoftError::NOTFOUND if words(&reason).starts_with("no exchange ") => {
            Error::ExchangeMissing { reason }
        }
        AMQPSoftError::NOTFOUND => Error::QueueMissing { reason },
        AMQPSoftError::RESOURCELOCKED => Error::Locked { reason },
        AMQPSoftError::CONTENTTOOLARGE => Error::TooLarge { reason },
        AMQPSoftError::PRECONDITIONFAILED => from_precondition(reason),
        AMQPSoftError::NOROUTE | AMQPSoftError::NOCONSUMERS => Error::Unroutable { reason },
    }
}

/// One code for four meanings; the words tell them apart (checked against 3.10 and 4.0 by the tests).
fn from_precondition(reason: String) -> Error {
    let words = words(&reason);
    if words.starts_with("message size ") {
        Error::TooLarge { reason }
    } else if words.starts_with(INEQUIVALENT) {
        Error::Differs { reason }
    } else if words.starts_with("queue '") && ENDS_OF_IN_USE.iter().any(|end| words.ends_with(end)) {
        Error::InUse { reason }
    } else {
        Error::Invalid { reason }
    }
}

/// The broker's own words, which come before any name, so that no name can be taken for them.
fn words(reason: &str) -> &str {
    reason.split_once(" - ").map_or(reason, |(_, words)| words)
}

/// Around the separator, where there is just one.
fn split_at_only<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(separator).filter(|(_, rest)| !rest.contains(separator))
}

const INEQUIVALENT: &str = "inequivalent arg '";

/// The third is how a broker shortens what would not fit 255 bytes, as with a long name.
const ENDS_OF_IN_USE: [&str; 3] = [" in use", " not empty", "..."];

/// Whether the broker turned the gateway away at the door, rather than being away itself.
pub(super) fn is_login_refused(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol) if matches!(
        protocol.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word for word what RabbitMQ 3.10.8 and 4.0.5 say, which is the same.
    #[test]
    fn the_words_of_a_precondition_tell_what_it_was() {
        let precondition = |words: &str| from_precondition(format!("PRECONDITION_FAILED - {words}"));
        for words in ["queue 'q' in vhost '/' in use", "queue 'q' in vhost '/' not empty", "queue 'mmm..."] {
            assert!(matches!(precondition(words), Error::InUse { .. }), "{words}");
        }
        for words in [
            "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
            "inequivalent arg 'x-max-length' for queue 'not empty' in vhost '/': received the value '5' of type \
             'signedint' but current is none",
        ] {
            let argument = words.split('\'').nth(1);
            assert_eq!(precondition(words).differing_argument(), argument, "{words}");
        }
        let words = "message size 17825792 is larger than configured max size 16777216";
        assert!(matches!(precondition(words), Error::TooLarge { .. }));
        for words in [
            "invalid expiration 'soon': no_integer",
            "invalid arg 'x-max-length' for queue 'in use' in vhost '/': {value_negative,-1}",
            "invalid property 'non-durable' for queue 'q' in vhost '/'",
            "user_id property set to 'bob' but authenticated user was 'guest'",
        ] {
            assert!(matches!(precondition(words), Error::Invalid { .. }), "{words}");
        }
    }

    /// A name may hold whatever comes after it in the broker's words.
    #[test]
    fn the_exchange_of_a_refusal_is_named_only_where_it_cannot_be_another() {
        let missing = |words: &str| from_soft(&AMQPSoftError::NOTFOUND, format!("NOT_FOUND - {words}"));
        let refused =
            |words: &str| from_soft(&AMQPSoftError::ACCESSREFUSED, format!("ACCESS_REFUSED - {words}"));
        for error in [
            missing("no exchange 'e' in vhost '/'"),
            refused("access to exchange 'e' in vhost '/' refused for user 'guest'"),
            refused("cannot publish to internal exchange 'e' in vhost '/'"),
            refused("access to topic 'key' in exchange 'e' in vhost '/' refused for user 'guest'"),
        ] {
            assert_eq!(error.exchange(), Some("e"), "{error}");
        }
        for error in [
            missing("no exchange 'e' in vhost 'x' in vhost '/'"),
            missing("no queue 'e' in vhost '/'"),
            refused("access to topic 'exchange 'f' in exchange 'e' in vhost '/' refused for user 'guest'"),
            refused("operation not permitted on the default exchange"),
            from_precondition("PRECONDITION_FAILED - no exchange 'e' in vhost '/'".to_owned()),
        ] {
            assert_eq!(error.exchange(), None, "{error}");
        }
    }

    #[test]
    fn a_missing_exchange_is_told_from_a_missing_queue_by_its_words() {
        let missing = |words: &str| from_soft(&AMQPSoftError::NOTFOUND, format!("NOT_FOUND - {words}"));
        assert!(matches!(missing("no exchange 'e' in vhost '/'"), Error::ExchangeMissing { .. }));
        assert!(matches!(missing("no queue 'no exchange ' in vhost '/'"), Error::QueueMissing { .. }));
    }
}
