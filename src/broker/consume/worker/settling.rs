//! Settles leases, and answers after the ack barrier.
//!
//! RabbitMQ answers no ack. So the worker sends a `basic.qos` after the acks, which changes nothing: its answer proves that RabbitMQ
//! has read the acks before it. Requests that come meanwhile share the next barrier.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Worker;
use super::barrier::{Asked, Written};
use super::requests::Place;
use crate::broker::consume::command::{SettleRequest, SettleResult};
use crate::broker::consume::lease_table::{NotExtended, Step};
use crate::broker::consume::settle::{Action, Final, NotSettled, Settled};
use crate::broker::error::Error;
use crate::broker::wire::{push_ack, push_nack, push_qos, push_reject};

impl Worker {
    /// Settles leases. The answer follows when each action has its result.
    pub(super) fn settle(&mut self, request: SettleRequest) {
        let SettleRequest { actions, deadline, answer } = request;
        let number = self.requests.add(actions.len(), deadline, answer);
        let now = Instant::now();
        for (index, (serial, action)) in actions.into_iter().enumerate() {
            self.act((number, index), serial, action, (now, deadline));
        }
        if !self.barrier.next.is_empty() {
            self.ask_for_barrier();
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
            self.write(|out, channel| match settled {
                Settled::Released => push_nack(out, channel, tag),
                Settled::Rejected => push_reject(out, channel, tag, false),
                _ => push_ack(out, channel, tag),
            });
            self.barrier.next.push(Written { place, serial, settled });
        } else if let Some(how) = settled.how() {
            self.join(place, serial, step, how);
        }
    }

    /// The result of an action with a lease that is being settled, is settled or does not exist.
    pub(super) fn join(&mut self, place: Place, serial: u64, step: Step, how: Final) {
        match step {
            Step::JoinBarrier(settled) => self.barrier.next.push(Written { place, serial, settled }),
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
                self.barrier.next.push(Written { place, serial, settled });
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
    pub(super) fn ack_original(&mut self, places: Vec<Place>, serial: u64, tag: u64, settled: &Settled) {
        self.write(|out, channel| push_ack(out, channel, tag));
        // The lease has to be finished also if no request waits any longer.
        let places = if places.is_empty() { vec![(0, 0)] } else { places };
        let written = places.into_iter().map(|place| Written { place, serial, settled: settled.clone() });
        self.barrier.next.extend(written);
        self.ask_for_barrier();
    }

    /// Sends a barrier, or the next one when RabbitMQ has answered the last one.
    pub(super) fn ask_for_barrier(&mut self) {
        if self.link.is_none() {
            self.fail_barrier(&Error::gone());
            return;
        }
        if self.barrier.is_asked() {
            self.barrier.is_due = true;
            return;
        }
        self.barrier.is_due = false;
        let written = std::mem::take(&mut self.barrier.next);
        self.barrier.asked.push_back(Asked::Barrier(written));
        let count = self.round.asked();
        self.write(|out, channel| push_qos(out, channel, count));
    }

    /// RabbitMQ has read everything that was written before its oldest unanswered qos.
    pub(super) fn on_qos_ok(&mut self) {
        let Some(Asked::Barrier(answered)) = self.barrier.asked.pop_front() else { return };
        let now = Instant::now();
        for Written { place, serial, settled } in answered {
            if let Some(settled) = self.leases.finish(serial) {
                self.shared.note_settled(serial, settled, now);
            }
            self.requests.set(place, Ok(settled));
        }
        if self.barrier.is_due {
            self.ask_for_barrier();
        }
    }

    /// The channel has ended: RabbitMQ has perhaps not read what was written.
    pub(super) fn fail_barrier(&mut self, error: &Error) {
        let unknown = Error::lost(&error.to_string());
        for Written { place, .. } in self.barrier.take() {
            self.requests.set(place, Err(NotSettled::Failed(unknown.clone())));
        }
    }
}

/// The time of day of this instant.
pub(super) fn wall_clock(instant: Instant, now: Instant) -> SystemTime {
    SystemTime::now() + instant.saturating_duration_since(now)
}
