//! Where the broker's errors become problems: the one place that knows both words.

use std::fmt::Display;

use super::problem::{Problem, ProblemType};
use crate::broker::{Error, PublishFailure};
use crate::domain::outcome::Outcome;

impl Problem {
    /// 400: `field` is wrong; `why` completes the sentence.
    pub(super) fn malformed(field: &str, why: impl Display) -> Self {
        Self::new(ProblemType::MalformedRequest, format!("{field} {why}")).with("field", field)
    }
}

/// Whether the caller may send the same message again.
fn is_retryable(outcome: Outcome, error: &Error) -> bool {
    match outcome {
        Outcome::NotSent => is_passing(error),
        Outcome::Confirmed | Outcome::Accepted | Outcome::Unroutable => false,
        Outcome::Rejected | Outcome::Unknown => true,
    }
}

/// Whether the same request can end otherwise later.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Unavailable
        | Error::LoginRefused
        | Error::Busy
        | Error::TooManyCalls
        | Error::Blocked
        | Error::ShuttingDown
        | Error::Rejected
        | Error::Silence
        | Error::NoReply
        | Error::ReplyChannelLost
        | Error::Lost { .. } => true,
        Error::ExchangeMissing { .. }
        | Error::QueueMissing { .. }
        | Error::AccessRefused { .. }
        | Error::Invalid { .. }
        | Error::Differs { .. }
        | Error::InUse { .. }
        | Error::TooLarge { .. }
        | Error::Locked { .. }
        | Error::NotSupported { .. }
        | Error::Unroutable { .. } => false,
    }
}

/// A topology operation that failed.
impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        describe(&error).because(&error)
    }
}

/// A publish that failed.
impl From<PublishFailure> for Problem {
    fn from(failure: PublishFailure) -> Self {
        let PublishFailure { error, attempts, outcome } = &failure;
        let problem = match outcome {
            Outcome::Unknown => doubt(error),
            Outcome::Confirmed
            | Outcome::Accepted
            | Outcome::Unroutable
            | Outcome::Rejected
            | Outcome::NotSent => describe(error),
        };
        problem.outcome(*outcome, is_retryable(*outcome, error)).with("attempts", *attempts).because(error)
    }
}

/// Says in a problem what the broker's error means. Texts of the broker's are told in 4xx only.
fn describe(error: &Error) -> Problem {
    use ProblemType as Kind;
    match error {
        Error::Unavailable => Problem::new(
            Kind::BrokerUnavailable,
            "the broker could not be reached within the deadline; nothing was sent",
        ),
        Error::LoginRefused => Problem::new(
            Kind::BrokerRefused,
            "the broker refuses the gateway's user or virtual host; nothing was sent",
        ),
        Error::Busy => Problem::new(
            Kind::Overloaded,
            "no turn on the channels to the broker came until the deadline; nothing was sent",
        ),
        Error::Blocked => Problem::new(
            Kind::BrokerBlocked,
            "the broker takes no messages because of a resource alarm; nothing was sent",
        ),
        Error::ShuttingDown => Problem::new(Kind::ShuttingDown, "the gateway is stopping; nothing was sent"),
        Error::ExchangeMissing { reason } => Problem::new(Kind::ExchangeNotFound, reason),
        Error::QueueMissing { reason } => Problem::new(Kind::QueueNotFound, reason),
        Error::AccessRefused { reason } => Problem::new(Kind::Forbidden, reason),
        Error::Invalid { reason } => Problem::new(Kind::MalformedRequest, reason),
        Error::Differs { reason } => Problem::new(Kind::PreconditionFailed, reason),
        Error::InUse { reason } | Error::NotSupported { reason } => Problem::new(Kind::ResourceInUse, reason),
        Error::TooLarge { reason } => Problem::new(Kind::PayloadTooLarge, reason),
        Error::Locked { reason } => Problem::new(Kind::ResourceLocked, reason),
        Error::Unroutable { reason } => {
            Problem::new(Kind::Unroutable, format!("no queue took the message: {reason}"))
        }
        Error::Rejected => {
            Problem::new(Kind::Rejected, "at least one queue refused the message; others may hold it")
        }
        Error::TooManyCalls => {
            Problem::new(Kind::Overloaded, "as many calls wait for replies as may; nothing was sent")
        }
        Error::Silence | Error::NoReply | Error::ReplyChannelLost | Error::Lost { .. } => doubt(error),
    }
}

/// Says that nobody knows, and why.
fn doubt(last: &Error) -> Problem {
    let kind = match last {
        Error::NoReply => ProblemType::RpcTimeout,
        Error::ReplyChannelLost => ProblemType::ReplyChannelLost,
        _ => ProblemType::OutcomeUnknown,
    };
    Problem::new(kind, unknown(last))
}

fn unknown(last: &Error) -> &'static str {
    match last {
        Error::NoReply => "no reply came within the deadline; the request may still be executed",
        Error::ReplyChannelLost => {
            "the queue that the reply was to come by is lost; the request may still be executed"
        }
        Error::Silence => {
            "the broker did not answer within the deadline; whether it did what was asked is unknown"
        }
        Error::Lost { .. } => {
            "the connection to the broker was lost before it answered; whether it did what was asked is unknown"
        }
        _ => {
            "an earlier attempt was lost with its connection, and a later one failed; whether the broker holds \
             the message is unknown"
        }
    }
}
