//! The outcome of a message: one list, which receipts, problems, metrics and the contract share.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The outcome of a message, as the gateway knows it when it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(example = "confirmed")]
pub enum Outcome {
    /// RabbitMQ has confirmed the message, and at least one queue took it.
    Confirmed,
    /// RabbitMQ has confirmed the message, and the gateway did not ask whether a queue took it (`mandatory=false`).
    Accepted,
    /// RabbitMQ returned the message: it is in no queue.
    Unroutable,
    /// RabbitMQ nacked the message: at least one queue refused it, other queues may hold it.
    Rejected,
    /// The message is in no queue: the gateway did not write it, or RabbitMQ refused it.
    NotSent,
    /// The message may be in a queue, or in none.
    Unknown,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Confirmed, Self::Accepted, Self::Unroutable, Self::Rejected, Self::NotSent, Self::Unknown];

    /// The outcome as answers and metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Accepted => "accepted",
            Self::Unroutable => "unroutable",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_spell_an_outcome_as_answers_do() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).ok(), Some(outcome.as_str().into()), "{outcome:?}");
        }
    }
}
