//! Bounds the documents that the gateway applies at one time; the others wait for their turn as unread bytes.
//!
//! All documents share a connection to RabbitMQ. Many at a time would all miss their deadlines; in turn, the first ones succeed.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::http::problem::{Problem, ProblemType};

/// The turns of documents.
pub(in crate::http) struct TopologyTurns {
    turns: Semaphore,
    limit: usize,
}

impl TopologyTurns {
    /// At most `limit` documents at a time.
    pub(in crate::http) fn new(limit: usize) -> Self {
        Self { turns: Semaphore::new(limit), limit }
    }

    /// Waits for the turn of a document, which lasts until the value is dropped.
    ///
    /// # Errors
    /// `overloaded` at the deadline.
    pub(super) async fn wait(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Problem> {
        let turn = timeout_at(deadline, self.turns.acquire()).await;
        // Documents that end at their deadline free turns at the same moment for those with the same deadline.
        let turn = turn.ok().and_then(Result::ok).filter(|_| Instant::now() < deadline);
        turn.ok_or_else(|| {
            let limit = self.limit;
            let detail = format!(
                "the gateway applied {limit} other documents until the deadline, as many as \
                 GATEWAY_MAX_TOPOLOGY_DOCUMENTS allows at a time; nothing was made"
            );
            Problem::new(ProblemType::Overloaded, detail).with("limit", limit)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_document_waits_for_its_turn_and_a_turn_at_the_deadline_comes_too_late() {
        let turns = TopologyTurns::new(1);
        let soon = Instant::now() + Duration::from_secs(30);
        let turn = turns.wait(soon).await.expect("a turn");
        let refused = turns.wait(Instant::now() + Duration::from_millis(5)).await.expect_err("no turn");
        assert!(refused.detail().ends_with("nothing was made"), "{}", refused.detail());
        drop(turn);
        assert!(turns.wait(Instant::now()).await.is_err());
        assert!(turns.wait(soon).await.is_ok());
    }
}
