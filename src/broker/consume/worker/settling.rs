//! Settles leases, and answers after the ack barrier.
//!
//! RabbitMQ answers no ack. So the worker sends a `basic.qos` after the acks, which changes nothing: its answer proves that RabbitMQ
//! has read the acks before it. Requests that come meanwhile share the next barrier.

use std::collections::VecDeque;
use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Worker;
use crate::broker::consume::command::{SettleRequest, SettleResult};
use crate::broker::consume::lease_table::{Final, NotExtended, Step};
use crate::broker::consume::settle::{Action, NotSettled, Settled};
use crate::broker::error::Error;
use crate::broker::wire::{push_ack, push_nack, push_qos, push_reject};

/// The barriers that RabbitMQ has not answered, and the requests that wait for them.
#[derive(Debug, Default)]
pub(super) struct Barrier {
    /// The `basic.qos` without an answer, in the order in which they were written.
    asked: VecDeque<Asked>,
    /// Requests that the next barrier is for.
    next: Vec<Waiting>,
    is_due: bool,
}

#[derive(Debug)]
enum Asked {
    /// The qos of a round.
    Round,
    /// A barrier, with the requests that it answers.
    Barrier(Vec<Waiting>),
}

/// A request whose frames are written.
#[derive(Debug)]
struct Waiting {
    /// Each result, with the number of the lease whose settling it ends.
    results: Vec<(SettleResult, Option<u64>)>,
    answer: oneshot::Sender<Vec<SettleResult>>,
}

impl Barrier {
    /// A round has written its qos.
    pub(super) fn expect_round(&mut self) {
        self.asked.push_back(Asked::Round);
    }

    /// Whether a request or a barrier waits for RabbitMQ.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_asked() || self.is_due || !self.next.is_empty()
    }

    fn is_asked(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked, Asked::Barrier(_)))
    }

    /// The channel has ended: RabbitMQ has perhaps not read what was written.
    pub(super) fn fail(&mut self, error: &Error) {
        let asked = std::mem::take(&mut self.asked).into_iter().flat_map(|asked| match asked {
            Asked::Round => Vec::new(),
            Asked::Barrier(waiting) => waiting,
        });
        let unknown = Error::lost(&error.to_string());
        for Waiting { results, answer } in asked.chain(std::mem::take(&mut self.next)) {
            let results = results.into_iter().map(|(result, serial)| match serial {
                Some(_) => Err(NotSettled::Failed(unknown.clone())),
                None => result,
            });
            let _gone = answer.send(results.collect());
        }
        self.is_due = false;
    }
}

impl Worker {
    /// Settles leases. The answer follows at once where nothing was written, else after the barrier.
    pub(super) fn settle(&mut self, request: SettleRequest) {
        let SettleRequest { actions, answer } = request;
        let now = Instant::now();
        let results: Vec<_> =
            actions.into_iter().map(|(serial, action)| self.act(serial, action, now)).collect();
        if results.iter().all(|(_, serial)| serial.is_none()) {
            let _gone = answer.send(results.into_iter().map(|(result, _)| result).collect());
            return;
        }
        self.barrier.next.push(Waiting { results, answer });
        self.ask_for_barrier();
    }

    /// Does one action. Returns the result after the barrier, with the lease that it waits for; or the result, if it waits for none.
    fn act(&mut self, serial: u64, action: Action, now: Instant) -> (SettleResult, Option<u64>) {
        let how = match action {
            Action::Ack => Final::Acked,
            Action::Release => Final::Released,
            Action::Reject => Final::Rejected,
            Action::Extend(lease) => return self.extend(serial, lease, now),
        };
        match self.leases.settle(serial, how, now) {
            Step::Write(tag) => self.write(|out, channel| match how {
                Final::Acked => push_ack(out, channel, tag),
                Final::Released => push_nack(out, channel, tag),
                Final::Rejected => push_reject(out, channel, tag, false),
            }),
            Step::Join => {}
            Step::Refuse(other) => return (Err(NotSettled::Already(other.into())), None),
            Step::Unknown => return (self.shared.repeated(serial, how), None),
        }
        (Ok(how.into()), Some(serial))
    }

    fn extend(
        &mut self,
        serial: u64,
        lease: std::time::Duration,
        now: Instant,
    ) -> (SettleResult, Option<u64>) {
        match self.leases.extend(serial, lease, now) {
            Ok(expires) => (Ok(Settled::Extended { expires_at: wall_clock(expires, now) }), Some(serial)),
            Err(NotExtended::TooLong) => {
                (Err(NotSettled::TooLong { longest: self.shared.settings.lease_max }), None)
            }
            Err(NotExtended::Settling(other)) => (Err(NotSettled::Already(other.into())), None),
            Err(NotExtended::Unknown) => {
                let other = self.shared.settled(serial);
                (Err(other.map_or(NotSettled::Expired, |how| NotSettled::Already(how.into()))), None)
            }
        }
    }

    /// Sends a barrier, or the next one when RabbitMQ has answered the last one.
    pub(super) fn ask_for_barrier(&mut self) {
        if self.link.is_none() {
            self.barrier.fail(&Error::gone());
            return;
        }
        if self.barrier.is_asked() {
            self.barrier.is_due = true;
            return;
        }
        self.barrier.is_due = false;
        let waiting = std::mem::take(&mut self.barrier.next);
        self.barrier.asked.push_back(Asked::Barrier(waiting));
        let count = self.round.asked();
        self.write(|out, channel| push_qos(out, channel, count));
    }

    /// RabbitMQ has read everything that was written before its oldest unanswered qos.
    pub(super) fn on_qos_ok(&mut self) {
        let Some(Asked::Barrier(answered)) = self.barrier.asked.pop_front() else { return };
        let now = Instant::now();
        for Waiting { results, answer } in answered {
            for serial in results.iter().filter_map(|(_, serial)| *serial) {
                if let Some(how) = self.leases.finish(serial) {
                    self.shared.note_settled(serial, how, now);
                }
            }
            let _gone = answer.send(results.into_iter().map(|(result, _)| result).collect());
        }
        if self.barrier.is_due {
            self.ask_for_barrier();
        }
    }
}

/// The time of day of this instant.
pub(super) fn wall_clock(instant: Instant, now: Instant) -> SystemTime {
    SystemTime::now() + instant.saturating_duration_since(now)
}
