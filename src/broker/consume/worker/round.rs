//! A round fetches messages for the callers who wait at that moment: qos, consume, cancel.
//!
//! RabbitMQ sends at most as many messages as the qos says, and all of them before it answers the cancel. So a round that brings no
//! message proves that the queue was empty. The gateway cancels only after RabbitMQ has confirmed the consumer: an earlier cancel
//! makes RabbitMQ end the connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Kept, Ready, TOO_LARGE_PAUSE, Worker};
use crate::broker::consume::lease_channel::{Arrived, Event};
use crate::broker::consume::pull::{Leased, Pulled};
use crate::broker::error::{Error, Refusal, Unavailable};
use crate::broker::wire::{ConsumerKind, push_cancel, push_consume, push_nack, push_qos};

/// The tag of the consumer of a round, which RabbitMQ's management UI shows.
const TAG: &str = "rabbitmq-gateway.pull";
/// After this time without a message a round begins anew, and after twice the time the next one: RabbitMQ 3.10 serves the next
/// consumer of a queue with single active consumer only when a consumer is registered.
const FIRST_RENEWAL: Duration = Duration::from_secs(2);
const LAST_RENEWAL: Duration = Duration::from_secs(30);

/// The state of the rounds of a queue.
#[derive(Debug)]
pub(super) struct Round {
    phase: Phase,
    /// The messages that the round asks for.
    asked: u16,
    /// The part of the limit of leases that the round has not used.
    leases: Option<OwnedSemaphorePermit>,
    /// Messages that did not fit the budget of leased bytes.
    refused: Vec<u64>,
    /// The largest message of the last rounds, in bytes; 0 before the first message.
    largest: usize,
    /// When a round with a standing consumer begins anew.
    renew_at: Instant,
    renewal: Duration,
    /// The refusal of pulls after a message that no budget is large enough for.
    too_large: Option<(Instant, Error)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
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
            leases: None,
            refused: Vec::new(),
            largest: 0,
            renew_at: Instant::now(),
            renewal: FIRST_RENEWAL,
            too_large: None,
        }
    }
}

impl Round {
    pub(super) fn is_running(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// The prefetch count of the channel.
    pub(super) fn asked(&self) -> u16 {
        self.asked.max(1)
    }

    /// The channel has ended. Returns whether RabbitMQ closed it instead of confirming the consumer.
    pub(super) fn close(&mut self) -> bool {
        self.leases = None;
        self.refused.clear();
        std::mem::replace(&mut self.phase, Phase::Idle) == Phase::Starting
    }

    /// The refusal of pulls at this time.
    fn refusal(&self, now: Instant) -> Option<Error> {
        self.too_large.as_ref().filter(|(until, _)| *until > now).map(|(_, error)| error.clone())
    }

    fn note_size(&mut self, bytes: usize) {
        // An old large message counts less with each message.
        self.largest = bytes.max(self.largest - self.largest / 8);
    }
}

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
        let Some(leases) = self.shared.take_leases(self.wanted()) else {
            self.refuse(&Error::NotSent(Unavailable::TooManyLeases));
            return;
        };
        self.round.asked = u16::try_from(leases.num_permits()).unwrap_or(u16::MAX);
        self.round.leases = Some(leases);
        self.round.phase = Phase::Starting;
        let asked = self.round.asked;
        let queue = self.queue.clone();
        self.barrier.expect_round();
        self.write(|out, channel| {
            push_qos(out, channel, asked);
            push_consume(out, channel, queue.as_str(), TAG, ConsumerKind::WithAcks);
        });
    }

    /// The number of messages that the callers want and that fit the budget of leased bytes.
    fn wanted(&self) -> usize {
        if self.round.largest == 0 {
            return 1;
        }
        let by_callers: usize = self.callers.iter().map(|caller| caller.max).sum();
        let by_bytes = self.shared.free_bytes.available_permits() / self.round.largest;
        by_callers.min(by_bytes).min(self.shared.settings.pull_max).max(1)
    }

    pub(super) fn on_round_event(&mut self, event: Event) {
        match event {
            Event::ConsumeOk => {
                self.round.phase = Phase::Standing;
                self.round.renew_at = Instant::now() + self.round.renewal;
                self.round_on_time(Instant::now());
            }
            Event::Delivery(arrived) => self.on_arrived(*arrived),
            Event::TooLarge { tag, bytes } => self.on_too_large(tag, bytes),
            Event::CancelOk => self.on_round_end(),
            // The messages that have arrived stay valid. RabbitMQ still answers a cancel that is on its way.
            Event::Cancelled if self.round.phase == Phase::Standing => self.on_round_end(),
            Event::Cancelled | Event::QosOk | Event::Closed(_) => {}
        }
    }

    fn on_arrived(&mut self, arrived: Arrived) {
        let Arrived { tag, delivery, bytes, room } = arrived;
        self.round.note_size(bytes);
        self.round.renewal = FIRST_RENEWAL;
        let lease = self.round.leases.as_mut().and_then(|leases| leases.split(1));
        let held = self.shared.held.count();
        let kept = Kept { delivery: Arc::new(delivery), _held: held, _lease: lease, _bytes: room };
        self.ready.push_back(Ready { tag, arrived: Instant::now(), kept });
        self.end_round();
        if self.ready.len() >= usize::from(self.round.asked) {
            self.deal();
        }
    }

    fn on_too_large(&mut self, tag: u64, bytes: usize) {
        self.round.refused.push(tag);
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
            self.write(|out, channel| push_cancel(out, channel, TAG));
        }
    }

    /// All messages of the round have arrived.
    fn on_round_end(&mut self) {
        self.round.phase = Phase::Idle;
        self.round.leases = None;
        let refused = std::mem::take(&mut self.round.refused);
        let has_no_room = !refused.is_empty() && self.ready.is_empty();
        for tag in refused {
            self.write(|out, channel| push_nack(out, channel, tag));
        }
        self.deal();
        let now = Instant::now();
        if has_no_room {
            let error = self.round.refusal(now).unwrap_or(Error::NotSent(Unavailable::TooManyLeases));
            self.refuse(&error);
        }
        let waits = std::mem::take(&mut self.callers);
        for caller in waits {
            if caller.wait_end <= now {
                let _gone = caller.answer.send(Ok(Pulled::none()));
            } else {
                self.callers.push_back(caller);
            }
        }
    }

    /// Gives the messages that have arrived to the callers in turn. Those that no caller is left for go back to the queue, but not
    /// while the consumer stands: RabbitMQ would send them again at once.
    pub(super) fn deal(&mut self) {
        let now = Instant::now();
        let owner = self.link.as_ref().map(|link| Arc::clone(&link.owner_name)).unwrap_or_default();
        while !self.ready.is_empty()
            && let Some(caller) = self.callers.pop_front()
        {
            if caller.answer.is_closed() {
                continue;
            }
            let count = caller.max.min(self.ready.len());
            let messages: Vec<_> = self.ready.drain(..count).collect();
            let leased = messages.into_iter().map(|ready| {
                let serial = self.shared.next_number();
                let delivery = Arc::clone(&ready.kept.delivery);
                let expires =
                    self.leases.add(serial, (ready.tag, ready.arrived), ready.kept, caller.lease, now);
                let expires_at = super::settling::wall_clock(expires, now);
                Leased { id: self.shared.lease_id(&owner, serial, &self.queue), expires_at, delivery }
            });
            let pulled = Pulled::new(leased.collect(), self.returned.0.clone());
            // When the caller has just left, dropping the messages gives them back.
            let _gone = caller.answer.send(Ok(pulled));
        }
        if !self.round.is_running() {
            for ready in std::mem::take(&mut self.ready) {
                self.write(|out, channel| push_nack(out, channel, ready.tag));
            }
        }
    }

    /// When the standing consumer has to be cancelled: the first wait ends, or the round begins anew.
    pub(super) fn round_wake_at(&self) -> Option<Instant> {
        if self.round.phase != Phase::Standing {
            return None;
        }
        let waits = self.callers.iter().map(|caller| caller.wait_end);
        waits.chain([self.round.renew_at]).min()
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
            || self.callers.iter().any(|caller| caller.wait_end <= now)
        {
            self.end_round();
        }
    }
}
