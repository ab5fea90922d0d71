//! RabbitMQ's last answers on a confirm channel, for the publish watch.

use std::collections::HashMap;

use tokio::time::Instant;

use super::in_flight::Pending;
use crate::broker::destination::KnownDestination;

/// Number of destinations whose nacks the channel remembers.
const MAX_NACKED: usize = 1_000;

/// The last answers on a channel.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::broker) struct Progress {
    /// When RabbitMQ last answered a publish on the channel.
    pub(in crate::broker) last_answer: Option<Instant>,
    /// When the caller handed in the newest publish that has an answer.
    pub(in crate::broker) newest_answered: Option<Instant>,
}

/// The last answers on a channel, and the destinations that RabbitMQ only nacks.
#[derive(Debug, Default)]
pub(super) struct AnswerHistory {
    progress: Progress,
    /// For each destination, the first nack after its last confirm.
    nacked: HashMap<KnownDestination, Instant>,
}

impl AnswerHistory {
    /// The last answers.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// The destinations for which RabbitMQ has sent only nacks since this instant or longer.
    pub(super) fn nacked_since(&self, instant: Instant) -> Vec<KnownDestination> {
        let only_nacked = self.nacked.iter().filter(|(_, since)| **since <= instant);
        only_nacked.map(|(destination, _)| destination.clone()).collect()
    }

    /// Records that an ack or nack has arrived.
    pub(super) fn note_frame(&mut self, now: Instant) {
        self.progress.last_answer = Some(now);
    }

    /// Records that a publish has its answer.
    pub(super) fn note_answer(&mut self, pending: &Pending, is_ack: bool, now: Instant) {
        let Pending { destination, since, .. } = pending;
        self.progress.newest_answered = self.progress.newest_answered.max(Some(*since));
        destination.note_answer(now, is_ack);
        if is_ack {
            if !self.nacked.is_empty() {
                self.nacked.remove(destination);
            }
        } else if self.nacked.len() < MAX_NACKED || self.nacked.contains_key(destination) {
            self.nacked.entry(destination.clone()).or_insert(now);
        }
    }
}
