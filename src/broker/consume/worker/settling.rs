//! Settles leases, and answers after the ack barrier, see [`super::barrier`]. Requests that come meanwhile share the next one.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Worker;
use super::barrier::{Answer, Written};
use super::requests::Place;
use crate::broker::consume::command::{SettleRequest, SettleResult};
use crate::broker::consume::lease_table::{NotExtended, Step, Tag};
use crate::broker::consume::settle::{Action, Final, NotSettled, Settled};
use crate::broker::error::Error;

impl Worker {
    /// Settles leases. The answer follows when each action has its result.
    pub(super) fn settle(&mut self, request: SettleRequest) {
        let SettleRequest { actions, deadline, answer } = request;
        let number = self.requests.add(actions.len(), deadline, answer);
        let now = Instant::now();
        for (index, (serial, action)) in actions.into_iter().enumerate() {
            self.act((number, index), serial, action, (now, deadline));
        }
    }

    /// Does one action.
    fn act(&mut self, place: Place, serial: u64, action: Action, (now, deadline): (Instant, Instant)) {
        let settled = match action {
            Action::Ack => Settled::Acked,
            Action::Release => Settled::Released,
            Action::Reject => Settled::Rejected,
            Action::Extend(lease) => return self.extend(place, serial, lease, now),
            Action::Retry { .. } | Action::DeadLetter { .. } | Action::Reply(_) => {
                return self.act_by_copy(place, serial, action, (now, deadline));
            }
        };
        let step = self.leases.settle(serial, settled.clone(), now);
        if let Step::Begin(tag) = step {
            let answer = match settled {
                Settled::Released => Answer::Nack,
                Settled::Rejected => Answer::Reject,
                _ => Answer::Ack,
            };
            self.barrier.answer_for(answer, tag, Written { place, serial, settled });
        } else if let Some(how) = settled.how() {
            self.join(place, serial, step, how);
        }
    }

    /// The result of an action with a lease that is being settled, is settled or does not exist.
    pub(super) fn join(&mut self, place: Place, serial: u64, step: Step, how: Final) {
        match step {
            Step::JoinBarrier(settled) => self.barrier.wait(Written { place, serial, settled }),
            Step::JoinCopy => self.join_copy(place, serial),
            Step::Refuse => self.requests.set(place, Err(NotSettled::Settling)),
            Step::Begin(_) | Step::Unknown => {
                let result = self.shared.repeated(serial, how);
                self.requests.set(place, result);
            }
        }
    }

    fn extend(&mut self, place: Place, serial: u64, lease: Duration, now: Instant) {
        let result: SettleResult = match self.leases.extend(serial, lease, now) {
            Ok(expires) => {
                let settled = Settled::Extended { expires_at: wall_clock(expires, now) };
                self.barrier.wait(Written { place, serial, settled });
                return;
            }
            Err(NotExtended::TooLong) => Err(NotSettled::TooLong { longest: self.shared.settings.lease_max }),
            Err(NotExtended::Settling) => Err(NotSettled::Settling),
            Err(NotExtended::Unknown) => {
                Err(self.shared.settled(serial).map_or(NotSettled::Expired, NotSettled::Already))
            }
        };
        self.requests.set(place, result);
    }

    /// Acks the original of a message whose copy RabbitMQ has confirmed.
    pub(super) fn ack_original(&mut self, places: Vec<Place>, serial: u64, tag: Tag, settled: &Settled) {
        // The lease has to be finished also if no request waits any longer.
        let first = places.first().copied().unwrap_or_default();
        let written = |place| Written { place, serial, settled: settled.clone() };
        self.barrier.answer_for(Answer::Ack, tag, written(first));
        for place in places.into_iter().skip(1) {
            self.barrier.wait(written(place));
        }
    }

    /// Writes the next commit, unless RabbitMQ has still to answer the last one.
    pub(super) fn commit(&mut self) {
        if self.link.is_none() {
            self.lose_barrier(&Error::gone());
        } else if let Some(frames) = self.barrier.commit(Instant::now()) {
            self.write(frames);
        }
    }

    /// The queue has got everything that was written before the commit.
    pub(super) fn on_committed(&mut self) {
        let now = Instant::now();
        for Written { place, serial, settled } in self.barrier.committed() {
            if let Some(settled) = self.leases.finish(serial) {
                self.shared.note_settled(serial, settled, now);
            }
            self.requests.set(place, Ok(settled));
        }
    }

    /// The channel has ended: RabbitMQ has perhaps not read what was written.
    pub(super) fn lose_barrier(&mut self, error: &Error) {
        let lost = self.barrier.lose();
        if lost.is_empty() {
            return;
        }
        let unknown = Error::lost(&error.to_string());
        for Written { place, .. } in lost {
            self.requests.set(place, Err(NotSettled::Failed(unknown.clone())));
        }
    }
}

/// The time of day of this instant.
pub(super) fn wall_clock(instant: Instant, now: Instant) -> SystemTime {
    SystemTime::now() + instant.saturating_duration_since(now)
}
