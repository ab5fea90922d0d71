//! The state of the rounds of a queue.

use std::time::Duration;

use tokio::time::Instant;

use crate::broker::consume::lease_table::Tag;
use crate::broker::error::Error;

/// After this time without a message the worker begins a new round, and the next one after twice the time: RabbitMQ 3.10 serves the next
/// consumer of a queue with single active consumer only when a client registers a consumer.
pub(super) const FIRST_RENEWAL: Duration = Duration::from_secs(2);
pub(super) const LAST_RENEWAL: Duration = Duration::from_secs(30);

/// The state of the rounds of a queue.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) phase: Phase,
    /// The messages that the round asks for.
    pub(super) asked: u16,
    /// The messages that have arrived, those without room included.
    pub(super) arrived: u16,
    /// The number of the round on its channel.
    number: u64,
    /// Messages that did not fit the limits of leases.
    pub(super) refused: Vec<Tag>,
    /// The largest message of the last rounds, in bytes; 0 before the first message.
    pub(super) largest: usize,
    /// The time at which the worker replaces a round whose consumer stands.
    pub(super) renew_at: Instant,
    pub(super) renewal: Duration,
    /// The refusal of pulls after a message that no budget is large enough for.
    pub(super) too_large: Option<(Instant, Error)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// The consumer is written, and RabbitMQ has not confirmed it.
    Starting,
    /// The consumer stands and waits for messages.
    Standing,
    /// The cancel is written.
    Ending,
}

impl Default for Round {
    fn default() -> Self {
        Self {
            phase: Phase::Idle,
            asked: 0,
            arrived: 0,
            number: 0,
            refused: Vec::new(),
            largest: 0,
            renew_at: Instant::now(),
            renewal: FIRST_RENEWAL,
            too_large: None,
        }
    }
}

impl Round {
    /// Begins a round that asks for this number of messages.
    pub(super) fn begin(&mut self, asked: u16) {
        self.asked = asked;
        self.arrived = 0;
        self.number += 1;
        self.phase = Phase::Starting;
    }

    /// The tag of a delivery of this round.
    pub(super) fn tag_of(&self, delivery: u64) -> Tag {
        Tag { delivery, round: self.number }
    }

    /// The tag of its consumer, which RabbitMQ's management UI shows. Each round has another one: a quorum queue keeps a cancelled consumer
    /// until its messages are settled, and a consumer with the same tag makes RabbitMQ 3.10 end the connection.
    pub(super) fn consumer(&self) -> String {
        format!("rabbitmq-gateway.pull-{}", self.number)
    }

    /// Whether RabbitMQ has sent fewer messages than asked for, so that the queue was empty when it read the cancel.
    pub(super) fn was_empty(&self) -> bool {
        self.arrived < self.asked
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// The channel has ended. Returns whether RabbitMQ closed it instead of confirming the consumer.
    pub(super) fn close(&mut self) -> bool {
        self.refused.clear();
        std::mem::replace(&mut self.phase, Phase::Idle) == Phase::Starting
    }

    /// The refusal of pulls at this time.
    pub(super) fn refusal(&self, now: Instant) -> Option<Error> {
        self.too_large.as_ref().filter(|(until, _)| *until > now).map(|(_, error)| error.clone())
    }

    pub(super) fn note_size(&mut self, bytes: usize) {
        // An old large message counts less with each message.
        self.largest = bytes.max(self.largest - self.largest / 8);
    }
}
