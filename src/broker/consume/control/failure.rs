//! The reason why the owner of a lease could not settle it, as JSON. A reason without a name here becomes `unknown`.

use serde::{Deserialize, Serialize};

use crate::broker::error::{Cause, Error, Refusal, Unavailable};

/// A failure. Texts are RabbitMQ's.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FailureJson {
    Blocked,
    Unavailable,
    ShuttingDown,
    Unroutable(String),
    Rejected,
    ExchangeMissing(String),
    QueueMissing(String),
    AccessRefused(String),
    Invalid(String),
    Differs(String),
    TooLarge(String),
    HeadersTooLarge {
        bytes: usize,
        limit: usize,
    },
    #[serde(other)]
    Unknown,
}

impl From<&Error> for FailureJson {
    fn from(error: &Error) -> Self {
        match error.clone() {
            Error::NotSent(Unavailable::Blocked) => Self::Blocked,
            Error::NotSent(Unavailable::ShuttingDown) => Self::ShuttingDown,
            Error::NotSent(_) => Self::Unavailable,
            Error::Unroutable { reason } => Self::Unroutable(reason),
            Error::Rejected => Self::Rejected,
            Error::Refused(refusal) => match refusal {
                Refusal::ExchangeMissing { reason } => Self::ExchangeMissing(reason),
                Refusal::QueueMissing { reason } => Self::QueueMissing(reason),
                Refusal::AccessRefused { reason } => Self::AccessRefused(reason),
                Refusal::Differs { reason } => Self::Differs(reason),
                Refusal::TooLarge { reason } => Self::TooLarge(reason),
                Refusal::HeadersTooLarge { bytes, limit } => Self::HeadersTooLarge { bytes, limit },
                Refusal::Invalid { reason }
                | Refusal::TypeUnknown { reason }
                | Refusal::InUse { reason }
                | Refusal::Locked { reason }
                | Refusal::NotSupported { reason } => Self::Invalid(reason),
            },
            Error::Unknown(_) => Self::Unknown,
        }
    }
}

impl From<FailureJson> for Error {
    fn from(failure: FailureJson) -> Self {
        match failure {
            FailureJson::Blocked => Self::NotSent(Unavailable::Blocked),
            FailureJson::Unavailable => Self::NotSent(Unavailable::NoConnection),
            FailureJson::ShuttingDown => Self::NotSent(Unavailable::ShuttingDown),
            FailureJson::Unroutable(reason) => Self::Unroutable { reason },
            FailureJson::Rejected => Self::Rejected,
            FailureJson::ExchangeMissing(reason) => Self::Refused(Refusal::ExchangeMissing { reason }),
            FailureJson::QueueMissing(reason) => Self::Refused(Refusal::QueueMissing { reason }),
            FailureJson::AccessRefused(reason) => Self::Refused(Refusal::AccessRefused { reason }),
            FailureJson::Invalid(reason) => Self::Refused(Refusal::Invalid { reason }),
            FailureJson::Differs(reason) => Self::Refused(Refusal::Differs { reason }),
            FailureJson::TooLarge(reason) => Self::Refused(Refusal::TooLarge { reason }),
            FailureJson::HeadersTooLarge { bytes, limit } => {
                Self::Refused(Refusal::HeadersTooLarge { bytes, limit })
            }
            FailureJson::Unknown => Self::Unknown(Cause::Silence),
        }
    }
}
