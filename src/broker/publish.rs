//! Publish, and tell what became of the message: confirmed, unroutable, rejected, not sent, unknown.
//!
//! Never says confirmed for a message that the broker does not hold. Resends only what was certainly
//! not sent, or what a lost connection or channel left unknown; then with the same message id, and
//! the answer says that a duplicate is possible. Silence on a live connection is never resent.

mod attempts;
mod count;
mod flight;
mod lane;
mod lanes;
mod letter;
mod proven;
mod quarantine;
mod refused;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

pub use self::attempts::Attempts;
use self::count::Counted;
use self::flight::Ending;
use self::lanes::Lanes;
use self::letter::Letter;
use self::proven::Proven;
use self::quarantine::Quarantine;
use self::refused::Refused;
use super::connections::Connections;
use super::error::{Cause, Error, Refusal, Unavailable};
use super::{PublishSettings, Publishing, SettingsError};
use crate::domain::message::{Destination, Message};
use crate::domain::outcome::Outcome;
use crate::metrics::Metrics;

/// Pause before a message is written again: what took one connection is noticed on the others too.
const RESEND_PAUSE: Duration = Duration::from_millis(20);

/// A message, where it goes, and how long it may take.
#[derive(Debug)]
pub struct Publish {
    /// What is published.
    pub message: Message,
    /// Where it goes.
    pub destination: Destination,
    /// When the caller wants an answer at the latest.
    pub deadline: Instant,
    /// Whether what a lost connection left unknown is sent again.
    pub resend: bool,
    /// Whether the message expires at the deadline, so that nobody works on it later.
    pub expires: bool,
    /// How often it has been written so far; starts at none.
    pub attempts: Attempts,
}

/// The broker holds the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// [`Outcome::Confirmed`], or [`Outcome::Accepted`] where `mandatory` was off.
    pub outcome: Outcome,
    /// How often the message was written.
    pub attempts: u32,
    /// Whether an earlier attempt may have left a copy.
    pub duplicate_possible: bool,
}

/// The broker does not hold the message, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct PublishFailure {
    /// What happened last.
    #[source]
    pub error: Error,
    /// How often the message was written; not at all where the answer to another one was its answer too.
    pub attempts: u32,
    /// What is true of the message, over all attempts.
    pub outcome: Outcome,
}

/// Publishes: with others on a lane what has been proven harmless, alone what has not.
pub(super) struct Publisher {
    lanes: Lanes,
    quarantine: Quarantine,
    proven: Proven,
    refused: Refused,
    in_flight: AtomicUsize,
    metrics: Metrics,
}

impl Publisher {
    /// Publishes over these connections; the tasks keep the lanes open.
    ///
    /// # Errors
    /// Settings that can never work.
    pub(super) fn start(
        [lanes, quarantine]: [Arc<Connections>; 2],
        sizes: &PublishSettings,
        metrics: Metrics,
        tasks: &TaskTracker,
    ) -> Result<Self, SettingsError> {
        Ok(Self {
            lanes: Lanes::start(lanes, sizes, tasks)?,
            quarantine: Quarantine::new(quarantine, sizes.quarantine_size)?,
            proven: Proven::default(),
            refused: Refused::default(),
            in_flight: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Publishes until there is an answer; see [`super::Broker::publish`].
    pub(super) async fn publish(&self, publish: &Publish) -> Result<Receipt, PublishFailure> {
        let mut duplicate_possible = false;
        loop {
            // What a lost channel carried may be what ended it.
            let alone = duplicate_possible || !self.proven.vouches_for(publish);
            let verdict = self.attempt(publish, alone).await;
            let attempts = publish.attempts.count();
            let error = match verdict {
                Ok(()) => {
                    let mandatory = publish.destination.mandatory;
                    let outcome = if mandatory { Outcome::Confirmed } else { Outcome::Accepted };
                    return Ok(Receipt { outcome, attempts, duplicate_possible });
                }
                Err(error) => error,
            };
            if may_resend(&error, publish) {
                duplicate_possible = true;
                self.metrics.resends.inc();
                sleep(RESEND_PAUSE).await;
                continue;
            }
            let outcome = overall_outcome(&error, duplicate_possible);
            return Err(PublishFailure { error, attempts, outcome });
        }
    }

    async fn attempt(&self, publish: &Publish, alone: bool) -> Result<(), Error> {
        if self.blocked().is_some() {
            return Err(Error::NotSent(Unavailable::Blocked));
        }
        let verdict = if alone { None } else { self.on_a_lane(publish).await };
        match verdict {
            Some(verdict) => verdict,
            // In a box: rare, and large.
            None => Box::pin(self.alone(publish)).await,
        }
    }

    /// `None` when another message with the same id is in flight there.
    async fn on_a_lane(&self, publish: &Publish) -> Option<Result<(), Error>> {
        loop {
            let place = self.lanes.place(publish.message.body.len(), publish.deadline).await;
            let (lane, place) = match place {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            let (begun, _in_flight) = (Instant::now(), Counted::on(&self.in_flight));
            publish.attempts.begin();
            match lane.publish(Letter::new(publish), place).await {
                Ending::Closed => publish.attempts.take_back(),
                Ending::SameId => {
                    publish.attempts.take_back();
                    return None;
                }
                Ending::Written(verdict) => return Some(self.observed(publish, begun, verdict)),
            }
        }
    }

    async fn alone(&self, publish: &Publish) -> Result<(), Error> {
        let exchange = &publish.destination.exchange;
        let turn = self.refused.turn(exchange, publish.deadline);
        let waiting = self.quarantine.connections().unwritten(publish.deadline, turn).await?;
        let verdict = self.in_quarantine(publish).await;
        self.refused.learn(exchange, waiting, &verdict);
        verdict
    }

    async fn in_quarantine(&self, publish: &Publish) -> Result<(), Error> {
        let channel = self.quarantine.channel(publish.deadline).await?;
        let (begun, _in_flight) = (Instant::now(), Counted::on(&self.in_flight));
        publish.attempts.begin();
        let verdict = self.quarantine.publish(channel, Letter::new(publish)).await;
        self.observed(publish, begun, verdict)
    }

    /// Learns from the verdict on a message that was written.
    fn observed(&self, publish: &Publish, begun: Instant, verdict: Result<(), Error>) -> Result<(), Error> {
        if !matches!(verdict, Err(Error::Unknown(Cause::Lost { .. } | Cause::Silence))) {
            self.metrics.confirm_seconds.observe(begun.elapsed().as_secs_f64());
        }
        match &verdict {
            Ok(()) | Err(Error::Unroutable { .. } | Error::Rejected) => self.proven.learn(publish),
            Err(Error::Refused(Refusal::TooLarge { .. })) => self.proven.forget_size(publish),
            Err(Error::Refused(Refusal::AccessRefused { .. })) => self.proven.distrust(publish),
            Err(Error::Unknown(Cause::Silence)) => {}
            Err(_) => self.proven.forget_exchange(publish),
        }
        verdict
    }

    /// Why the broker blocks publishers, while it does.
    pub(super) fn blocked(&self) -> Option<String> {
        self.lanes.connections().blocked().or_else(|| self.quarantine.connections().blocked())
    }

    /// Both roles' connections.
    pub(super) fn connections(&self) -> [&Connections; 2] {
        [self.lanes.connections(), self.quarantine.connections()]
    }

    /// Its state, without asking the broker.
    pub(super) fn state(&self) -> Publishing {
        let connections = self.lanes.connections();
        let (lanes, open) = self.lanes.channels();
        Publishing {
            wanted: connections.len(),
            connected: connections.up().count(),
            blocked: self.blocked(),
            lanes,
            channels: open + self.quarantine.open(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            waiting: self.lanes.waiting(),
            late_confirms: self
                .connections()
                .into_iter()
                .flat_map(Connections::up)
                .map(|link| link.late())
                .sum(),
        }
    }

    /// Opens no more channels.
    pub(super) fn close(&self) {
        self.lanes.close();
        self.quarantine.close();
    }
}

fn may_resend(error: &Error, publish: &Publish) -> bool {
    let repeatable = matches!(error, Error::Unknown(Cause::Lost { repeatable: true, .. }));
    repeatable && publish.resend && Instant::now() < publish.deadline
}

/// A copy that an earlier attempt may have left is not unmade by how the last attempt ended.
fn overall_outcome(last: &Error, earlier_copy_possible: bool) -> Outcome {
    match last.outcome() {
        Outcome::NotSent | Outcome::Unroutable if earlier_copy_possible => Outcome::Unknown,
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_first_attempt_is_not_made_certain_by_a_later_failure() {
        let unroutable = Error::Unroutable { reason: "NO_ROUTE".to_owned() };
        assert_eq!(overall_outcome(&unroutable, true), Outcome::Unknown);
        assert_eq!(overall_outcome(&unroutable, false), Outcome::Unroutable);
        assert_eq!(overall_outcome(&Error::NotSent(Unavailable::NoConnection), true), Outcome::Unknown);
        assert_eq!(overall_outcome(&Error::Rejected, true), Outcome::Rejected);
    }
}
