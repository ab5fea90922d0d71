//! The ack barriers of a channel.

use std::collections::VecDeque;

use super::requests::Place;
use crate::broker::consume::settle::Settled;

/// The barriers that RabbitMQ has not answered, and the actions that wait for them.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// The `basic.qos` without an answer, in the order in which they were written.
    pub(super) asked: VecDeque<Asked>,
    /// Actions that the next barrier is for.
    pub(super) next: Vec<Written>,
    pub(super) is_due: bool,
}

#[derive(Debug)]
pub(super) enum Asked {
    /// The qos of a round.
    Round,
    /// A barrier, with the actions that it answers.
    Barrier(Vec<Written>),
}

/// An action whose frame is written, with its result after the barrier.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) serial: u64,
    pub(super) settled: Settled,
}

impl Barrier {
    /// A round has written its qos.
    pub(super) fn expect_round(&mut self) {
        self.asked.push_back(Asked::Round);
    }

    /// Whether an action or a barrier waits for RabbitMQ.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_asked() || self.is_due || !self.next.is_empty()
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked, Asked::Barrier(_)))
    }

    /// Everything that waits. RabbitMQ has perhaps not read what was written.
    pub(super) fn take(&mut self) -> Vec<Written> {
        self.is_due = false;
        let asked = std::mem::take(&mut self.asked).into_iter().flat_map(|asked| match asked {
            Asked::Round => Vec::new(),
            Asked::Barrier(written) => written,
        });
        asked.chain(std::mem::take(&mut self.next)).collect()
    }
}
