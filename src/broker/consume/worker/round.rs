//! A round fetches messages for the callers who wait at that moment: qos, consume, cancel.
//!
//! RabbitMQ sends at most as many messages as the qos says, and all of them before it answers the cancel. So a round that brings
//! fewer messages than it asked for proves that the queue was empty. The gateway cancels only after RabbitMQ has confirmed the consumer: an earlier cancel
//! makes RabbitMQ end the connection.

use std::sync::Arc;

use tokio::time::Instant;

use super::barrier::Answer;
use super::round_state::{FIRST_RENEWAL, LAST_RENEWAL, Phase};
use super::{Kept, Ready, TOO_LARGE_PAUSE, Worker};
use crate::broker::consume::lease_channel::{Arrived, Event};
use crate::broker::consume::lease_scope::LeaseScope;
use crate::broker::consume::pull::{Leased, Pulled};
use crate::broker::error::{Error, Refusal, SharedResource, Unavailable};
use crate::broker::wire::{ConsumerKind, push_cancel, push_consume, push_qos};
use crate::fairness::{Held, OverShare};

impl Worker {
    /// Begins a round for the callers who wait, unless one is running.
    pub(super) fn start_round(&mut self) {
        if self.round.is_running() {
            return;
        }
        let now = Instant::now();
        if let Some(error) = self.round.refusal(now) {
            self.refuse(&error);
            return;
        }
        let free = self.shared.free_leases();
        if free == 0 {
            self.refuse(&Error::NotSent(Unavailable::TooManyLeases));
            return;
        }
        let Some(wanted) = self.wanted(free) else { return };
        self.round.begin(u16::try_from(wanted).unwrap_or(u16::MAX));
        let asked = self.round.asked;
        let (queue, consumer) = (self.queue.clone(), self.round.consumer());
        self.barrier.expect_proof();
        self.write(|out, channel| {
            push_qos(out, channel, asked);
            push_consume(out, channel, queue.as_str(), &consumer, ConsumerKind::WithAcks);
        });
    }

    /// The number of messages that the callers want, and that the free leases, the budget of leased bytes and the shares of the
    /// principals allow. Refuses the first callers if their principals have their shares; `None` if no caller is left.
    fn wanted(&mut self, free: usize) -> Option<usize> {
        // Before the first message its size is not known.
        let by_bytes = self.shared.free_bytes.available_permits().checked_div(self.round.largest);
        let most = by_bytes.unwrap_or(1).min(self.shared.settings.pull_max).min(free).max(1);
        let (wanted, refused) = self.callers.permitted(&self.shared.lease_shares, free, most);
        for (caller, share) in refused {
            let _gone = caller.answer.send(Err(over_share(share)));
        }
        (wanted > 0).then_some(wanted)
    }

    pub(super) fn on_round_event(&mut self, event: Event) {
        match event {
            Event::ConsumeOk => {
                self.barrier.proven();
                self.round.phase = Phase::Standing;
                self.round.renew_at = Instant::now() + self.round.renewal;
                self.round_on_time(Instant::now());
            }
            Event::Delivery(arrived) => self.on_arrived(*arrived),
            Event::TooLarge { tag, bytes } => self.on_too_large(tag, bytes),
            Event::CancelOk => {
                self.barrier.proven();
                let was_empty = self.round.was_empty();
                self.on_round_end(was_empty);
            }
            // The messages that have arrived stay valid. RabbitMQ still answers a cancel that is on its way.
            Event::Cancelled if self.round.phase == Phase::Standing => self.on_round_end(false),
            Event::Cancelled | Event::Committed | Event::Closed(_) => {}
        }
    }

    fn on_arrived(&mut self, arrived: Arrived) {
        let Arrived { tag, delivery, bytes, room } = arrived;
        let tag = self.round.tag_of(tag);
        self.round.note_size(bytes);
        self.round.arrived += 1;
        self.round.renewal = FIRST_RENEWAL;
        // Other queues may have taken the last ones since the round began.
        let Some(lease) = self.shared.take_lease() else {
            self.round.refused.push(tag);
            self.end_round();
            return;
        };
        let held = self.shared.held.count();
        let kept = Kept {
            delivery: Arc::new(delivery),
            _held: held,
            _lease: lease,
            share: Held::default(),
            _bytes: room,
            copy_id: None,
        };
        self.ready.push_back(Ready { tag, arrived: Instant::now(), kept });
        self.end_round();
        if self.ready.len() >= usize::from(self.round.asked) {
            self.deal();
        }
    }

    fn on_too_large(&mut self, tag: u64, bytes: usize) {
        self.round.refused.push(self.round.tag_of(tag));
        self.round.arrived += 1;
        let limit = self.shared.settings.max_lease_bytes;
        if bytes > limit {
            let reason = format!(
                "the next message of the queue has {bytes} bytes, and GATEWAY_MAX_LEASE_BYTES allows {limit} for all leased messages"
            );
            let error = Error::Refused(Refusal::NotSupported { reason });
            self.round.too_large = Some((Instant::now() + TOO_LARGE_PAUSE, error));
        }
        self.end_round();
    }

    /// Cancels the consumer, if it stands.
    pub(super) fn end_round(&mut self) {
        if self.round.phase == Phase::Standing {
            self.round.phase = Phase::Ending;
            self.callers.note_cancel();
            let consumer = self.round.consumer();
            self.barrier.expect_proof();
            self.write(|out, channel| push_cancel(out, channel, &consumer));
        }
    }

    /// All messages of the round have arrived. If the queue was empty, callers whose wait is over get none, provided that they came
    /// before the cancel. The others need a further round.
    fn on_round_end(&mut self, was_empty: bool) {
        self.round.phase = Phase::Idle;
        let refused = std::mem::take(&mut self.round.refused);
        let has_no_room = !refused.is_empty() && self.ready.is_empty();
        for tag in refused {
            self.barrier.answer(Answer::Nack, tag);
        }
        self.deal();
        let now = Instant::now();
        if has_no_room {
            let error = self.round.refusal(now).unwrap_or(Error::NotSent(Unavailable::TooManyLeases));
            self.refuse(&error);
        }
        let unserved = if was_empty { self.callers.take_unserved(now) } else { Vec::new() };
        for caller in unserved {
            let _gone = caller.answer.send(Ok(Pulled::none()));
        }
    }

    /// Gives the messages that have arrived to the callers in turn. Those that no caller is left for go back to the queue, but not
    /// while the consumer stands: RabbitMQ would send them again at once.
    pub(super) fn deal(&mut self) {
        let now = Instant::now();
        let owner = self.link.as_ref().map(|link| Arc::clone(&link.owner_name)).unwrap_or_default();
        while !self.ready.is_empty()
            && let Some(caller) = self.callers.take_first()
        {
            if caller.answer.is_closed() {
                continue;
            }
            let count = caller.max.min(self.ready.len());
            // As when the round began: the messages that wait for their callers count as free.
            let free = self.shared.free_leases.available_permits() + self.ready.len();
            let (count, mut share) = match self.shared.lease_shares.take_up_to(&caller.holder, count, free) {
                Ok(taken) => taken,
                // Its principal has taken messages of other queues since the round began.
                Err(share) => {
                    let _gone = caller.answer.send(Err(over_share(share)));
                    continue;
                }
            };
            let messages: Vec<_> = self.ready.drain(..count).collect();
            let leased = messages.into_iter().map(|mut ready| {
                ready.kept.share = share.split(1);
                let serial = self.shared.next_number();
                let delivery = Arc::clone(&ready.kept.delivery);
                let expires =
                    self.leases.add(serial, (ready.tag, ready.arrived), ready.kept, caller.lease, now);
                let expires_at = super::settling::wall_clock(expires, now);
                let scope = LeaseScope { queue: &self.queue, principal: &caller.principal };
                Leased { id: self.shared.lease_id(&owner, serial, scope), expires_at, delivery }
            });
            let pulled = Pulled::new(leased.collect(), self.returned.0.clone());
            // When the caller has just left, dropping the messages gives them back.
            let _gone = caller.answer.send(Ok(pulled));
        }
        if !self.round.is_running() {
            for ready in std::mem::take(&mut self.ready) {
                self.barrier.answer(Answer::Nack, ready.tag);
            }
        }
    }

    /// The time at which the worker cancels the standing consumer: the first wait of a caller ends, or the worker begins a new round.
    pub(super) fn round_wake_at(&self) -> Option<Instant> {
        if self.round.phase != Phase::Standing {
            return None;
        }
        self.callers.first_wait_end().into_iter().chain([self.round.renew_at]).min()
    }

    pub(super) fn round_on_time(&mut self, now: Instant) {
        if self.round.phase != Phase::Standing {
            return;
        }
        if self.round.renew_at <= now {
            self.round.renewal = (2 * self.round.renewal).min(LAST_RENEWAL);
            self.end_round();
        } else if self.callers.is_empty()
            || !self.ready.is_empty()
            || self.callers.first_wait_end().is_some_and(|wait_end| wait_end <= now)
        {
            self.end_round();
        }
    }
}

fn over_share(share: OverShare) -> Error {
    Error::NotSent(Unavailable::OverShare { of: SharedResource::Leases, share })
}
