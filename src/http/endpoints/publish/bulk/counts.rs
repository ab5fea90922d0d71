//! The number of messages by outcome.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::outcome::Outcome;

/// The number of messages of a batch or stream, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PublishCounts)]
pub(in crate::http) struct Counts {
    confirmed: u64,
    accepted: u64,
    unroutable: u64,
    rejected: u64,
    not_sent: u64,
    unknown: u64,
}

impl Counts {
    /// Counts one message.
    pub(super) fn add(&mut self, outcome: Outcome) {
        *self.of_mut(outcome) += 1;
    }

    /// The messages with this outcome.
    pub(super) fn of(mut self, outcome: Outcome) -> u64 {
        *self.of_mut(outcome)
    }

    /// All messages.
    pub(in crate::http::endpoints::publish) fn total(self) -> u64 {
        Outcome::ALL.into_iter().map(|outcome| self.of(outcome)).sum()
    }

    /// Whether every message is confirmed or accepted.
    pub(in crate::http::endpoints::publish) fn are_all_kept(self) -> bool {
        self.total() == self.confirmed + self.accepted
    }

    fn of_mut(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Confirmed => &mut self.confirmed,
            Outcome::Accepted => &mut self.accepted,
            Outcome::Unroutable => &mut self.unroutable,
            Outcome::Rejected => &mut self.rejected,
            Outcome::NotSent => &mut self.not_sent,
            Outcome::Unknown => &mut self.unknown,
        }
    }
}
