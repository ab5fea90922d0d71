//! The types of queues.

use serde::Deserialize;
use utoipa::ToSchema;

/// Type of a queue.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum QueueType {
    Classic,
    Quorum,
    Stream,
}

impl QueueType {
    /// Its value in `x-queue-type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
            Self::Stream => "stream",
        }
    }
}
