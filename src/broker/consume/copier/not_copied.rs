//! Why there is no copy.

use crate::broker::consume::settle::NoReplyTo;
use crate::broker::error::{Cause, Error, Unavailable};
use crate::broker::publish::PublishFailure;
use crate::domain::outcome::Outcome;

/// Why there is no copy.
pub(super) enum NotCopied {
    Failed(PublishFailure),
    NoReplyTo(NoReplyTo),
}

impl From<PublishFailure> for NotCopied {
    fn from(failure: PublishFailure) -> Self {
        Self::Failed(failure)
    }
}

/// The copy was certainly not sent.
pub(super) fn not_sent(error: Error) -> PublishFailure {
    // A declaration without an answer leaves no message behind.
    let error = match error {
        Error::Unknown(Cause::Stopped) => Error::NotSent(Unavailable::ShuttingDown),
        Error::Unknown(_) => Error::NotSent(Unavailable::NoConnection),
        error => error,
    };
    PublishFailure { error, attempts: 0, outcome: Outcome::NotSent }
}
