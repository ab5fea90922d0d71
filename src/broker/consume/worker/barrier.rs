//! The ack barrier of a channel: a transaction.
//!
//! RabbitMQ answers no ack. So the acks, nacks and rejects of the channel are in a transaction, and RabbitMQ's answer to its commit proves
//! that the queue has got them. They also become few commands that way: one for each kind of answer and each round. A quorum queue takes at
//! most 32 commands at a time, RabbitMQ's channel keeps further ones back, and they are lost with the channel. So a commit has few
//! commands, and further ones wait until RabbitMQ has answered a consume or a cancel, which a quorum queue carries out after all
//! earlier commands.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::requests::Place;
use crate::broker::consume::lease_table::Tag;
use crate::broker::consume::settle::Settled;
use crate::broker::wire::{push_ack, push_nack, push_reject, push_tx_commit};

/// The most commands to a queue without a proof that it has carried them out. RabbitMQ's own limit is 32 by default
/// (`quorum_commands_soft_limit`).
const MAX_COMMANDS: usize = 24;
/// Where no round proves it, a queue has carried out its commands after this time.
const PAUSE: Duration = Duration::from_millis(10);

/// The answer to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    Ack,
    /// Back to the queue.
    Nack,
    /// Back to the queue, as a failure.
    RejectBack,
    /// Not back to the queue.
    Reject,
}

/// An action, with its result after the commit.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) serial: u64,
    pub(super) settled: Settled,
}

/// An answer to a delivery, an action that waits for one, or both.
#[derive(Debug)]
struct Due {
    answer: Option<(Answer, Tag)>,
    written: Option<Written>,
}

/// The content of one commit.
#[derive(Default)]
struct Commit {
    /// By their kinds.
    answers: Vec<(Answer, Tag)>,
    /// The commands that RabbitMQ makes of them: the kind and the round of each.
    commands: BTreeSet<(Answer, u64)>,
    /// The actions that wait for it.
    written: Vec<Written>,
}

/// The commits of a channel, and the actions that wait for them.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// For the next commits, in order.
    next: VecDeque<Due>,
    /// The actions of the commit that RabbitMQ has not answered.
    asked: Option<Vec<Written>>,
    /// The commands of which it is not proven that the queue has carried them out.
    unproven: usize,
    /// The number of them before a consume or a cancel without an answer.
    about_to_be_proven: Option<usize>,
    /// The end of the pause after the last commit.
    pause_ends: Option<Instant>,
}

impl Barrier {
    /// Answers a delivery with the next commit.
    pub(super) fn answer(&mut self, answer: Answer, tag: Tag) {
        self.next.push_back(Due { answer: Some((answer, tag)), written: None });
    }

    /// The same for an action.
    pub(super) fn answer_for(&mut self, answer: Answer, tag: Tag, written: Written) {
        self.next.push_back(Due { answer: Some((answer, tag)), written: Some(written) });
    }

    /// The action waits for the next commit.
    pub(super) fn wait(&mut self, written: Written) {
        self.next.push_back(Due { answer: None, written: Some(written) });
    }

    /// Whether an answer or an action waits for RabbitMQ.
    pub(super) fn is_waiting(&self) -> bool {
        self.asked.is_some() || !self.next.is_empty()
    }

    /// When a commit that waits may be written, unless an answer of RabbitMQ allows it earlier.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let is_held_back = self.asked.is_none() && !self.next.is_empty() && self.about_to_be_proven.is_none();
        self.pause_ends.filter(|_| is_held_back)
    }

    /// The frames of the next commit, if there is one and it may be written now.
    pub(super) fn commit(&mut self, now: Instant) -> Option<impl FnOnce(&mut Vec<u8>, u16) + use<>> {
        if self.asked.is_some() || self.next.is_empty() {
            return None;
        }
        let is_pause_over = self.pause_ends.is_none_or(|end| end <= now);
        if is_pause_over && self.about_to_be_proven.is_none() {
            self.unproven = 0;
        }
        let Commit { answers, commands, written } = self.take(MAX_COMMANDS.saturating_sub(self.unproven))?;
        self.unproven += commands.len();
        self.pause_ends = Some(now + PAUSE);
        self.asked = Some(written);
        Some(move |out: &mut Vec<u8>, channel| {
            for (answer, Tag { delivery, .. }) in answers {
                match answer {
                    Answer::Ack => push_ack(out, channel, delivery),
                    Answer::Nack => push_nack(out, channel, delivery),
                    Answer::RejectBack => push_reject(out, channel, delivery, true),
                    Answer::Reject => push_reject(out, channel, delivery, false),
                }
            }
            push_tx_commit(out, channel);
        })
    }

    /// Takes the next commit, with at most this number of commands. An action never overtakes an earlier one, which it may have joined.
    fn take(&mut self, room: usize) -> Option<Commit> {
        let Commit { mut commands, mut answers, mut written } = Commit::default();
        while let Some(due) = self.next.front() {
            if let Some((answer, tag)) = due.answer {
                let command = (answer, tag.round);
                if commands.len() >= room && !commands.contains(&command) {
                    break;
                }
                commands.insert(command);
                answers.push((answer, tag));
            }
            written.extend(self.next.pop_front().and_then(|due| due.written));
        }
        if answers.is_empty() && written.is_empty() {
            return None;
        }
        // RabbitMQ makes one command of neighbours of a kind.
        answers.sort_unstable();
        Some(Commit { answers, commands, written })
    }

    /// RabbitMQ has answered the commit. Returns its actions.
    pub(super) fn committed(&mut self) -> Vec<Written> {
        self.asked.take().unwrap_or_default()
    }

    /// A consume or a cancel is written.
    pub(super) fn expect_proof(&mut self) {
        self.about_to_be_proven = Some(self.unproven);
    }

    /// RabbitMQ has answered it.
    pub(super) fn proven(&mut self) {
        self.unproven -= self.about_to_be_proven.take().unwrap_or_default().min(self.unproven);
    }

    /// The channel has ended. Returns all actions that wait: RabbitMQ has perhaps not read them.
    pub(super) fn lose(&mut self) -> Vec<Written> {
        let lost = std::mem::take(self);
        let next = lost.next.into_iter().filter_map(|due| due.written);
        lost.asked.into_iter().flatten().chain(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(delivery: u64, round: u64) -> Tag {
        Tag { delivery, round }
    }

    fn written(serial: u64) -> Written {
        Written { place: (0, 0), serial, settled: Settled::Acked }
    }

    /// The methods of the next commit, or none.
    fn commit(barrier: &mut Barrier, now: Instant) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        barrier.commit(now)?(&mut out, 1);
        // A method frame has 7 bytes before its class, and 1 behind its payload.
        let mut methods = Vec::new();
        while !out.is_empty() {
            let size = u32::from_be_bytes([out[3], out[4], out[5], out[6]]) as usize;
            methods.push(out[10]);
            out.drain(..size + 8);
        }
        Some(methods)
    }

    fn serials(written: &[Written]) -> Vec<u64> {
        written.iter().map(|it| it.serial).collect()
    }

    #[test]
    fn answers_of_a_kind_are_neighbours_before_one_commit() {
        let (mut barrier, now) = (Barrier::default(), Instant::now());
        barrier.answer_for(Answer::Ack, tag(1, 1), written(1));
        barrier.answer(Answer::Nack, tag(2, 1));
        barrier.answer_for(Answer::Ack, tag(3, 1), written(3));
        barrier.answer(Answer::RejectBack, tag(4, 1));
        barrier.wait(written(1));
        let (ack, nack, reject, commit_method) = (80, 120, 90, 20);
        assert_eq!(commit(&mut barrier, now), Some(vec![ack, ack, nack, reject, commit_method]));
        barrier.answer(Answer::Ack, tag(5, 2));
        assert_eq!(commit(&mut barrier, now), None, "one commit at a time");
        assert_eq!(serials(&barrier.committed()), [1, 3, 1]);
        assert_eq!(commit(&mut barrier, now), Some(vec![ack, commit_method]));
        assert!(barrier.is_waiting());
        assert!(barrier.committed().is_empty());
        assert!(!barrier.is_waiting());
    }

    #[test]
    fn commands_beyond_the_limit_wait_for_a_proof_or_a_pause() {
        let (mut barrier, now) = (Barrier::default(), Instant::now());
        for round in 0..30 {
            barrier.answer_for(Answer::Ack, tag(round, round), written(round));
            barrier.answer(Answer::Ack, tag(100 + round, round));
        }
        // A repeated request waits for its answer too.
        barrier.wait(written(29));
        assert_eq!(commit(&mut barrier, now).map(|methods| methods.len()), Some(2 * MAX_COMMANDS + 1));
        assert_eq!(serials(&barrier.committed()), (0..24).collect::<Vec<_>>());
        assert_eq!(commit(&mut barrier, now), None);
        assert_eq!(barrier.wake_at(), Some(now + PAUSE));
        barrier.expect_proof();
        assert_eq!((barrier.wake_at(), commit(&mut barrier, now + PAUSE)), (None, None));
        barrier.proven();
        assert_eq!(commit(&mut barrier, now).map(|methods| methods.len()), Some(13));
        assert_eq!(serials(&barrier.committed()), [24, 25, 26, 27, 28, 29, 29]);
        for round in 30..60 {
            barrier.answer(Answer::Nack, tag(round, round));
        }
        // Six commands are without a proof.
        assert_eq!(commit(&mut barrier, now).map(|methods| methods.len()), Some(19));
        barrier.committed();
        assert_eq!(commit(&mut barrier, now + PAUSE).map(|methods| methods.len()), Some(13));
    }

    #[test]
    fn a_lost_channel_returns_every_action() {
        let (mut barrier, now) = (Barrier::default(), Instant::now());
        barrier.answer_for(Answer::Ack, tag(1, 1), written(1));
        assert!(barrier.commit(now).is_some());
        barrier.wait(written(2));
        barrier.answer(Answer::Nack, tag(3, 1));
        assert_eq!(serials(&barrier.lose()), [1, 2]);
        assert!(!barrier.is_waiting());
    }
}
