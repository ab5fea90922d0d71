//! Publishes a message and reports its outcome: confirmed, accepted, unroutable, rejected, not sent, unknown.
//!
//! The gateway never reports `confirmed` for a message that RabbitMQ does not hold. It resends a message only if it
//! certainly did not send it, or if a lost connection or channel left its outcome unknown. In the second case it keeps
//! the message id, and the answer says that a duplicate is possible. It never resends a message that waits for its answer
//! on a live connection.

mod attempt;
mod destinations;
mod lane;
mod lane_slot;
mod lanes;
mod nacks;
mod request;
mod sequence;
mod slow;
mod unanswered;
mod watch;
mod write_gate;

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::destinations::Destinations;
use self::lane::LaneKind;
use self::lanes::Lanes;
pub use self::request::{Publish, PublishFailure, Receipt};
pub use self::sequence::{Place, PublishSequence};
use self::slow::SlowConnections;
use self::watch::Watch;
pub(super) use self::write_gate::WriteGate;
use super::connection::{Connections, Connector, Role};
use super::error::{Cause, Error};
use super::{PublishSettings, Publishing, RoleState, SettingsError};
use crate::domain::outcome::Outcome;
use crate::metrics::Metrics;

/// Pause before the gateway resends a message. It gives the other connections time to notice the same loss.
const RESEND_PAUSE: Duration = Duration::from_millis(20);

/// The gateway is not ready when no connection for isolated publishes has been up for this time.
const ISOLATED_ABSENCE: Duration = Duration::from_mins(1);

/// Publishes messages: on a shared lane if the message cannot close the channel of others, else on an isolated lane.
pub(super) struct Publisher {
    shared: Arc<Lanes>,
    isolated: Arc<Lanes>,
    destinations: Arc<Destinations>,
    /// Counts the publishes that are handed in and wait for their answers.
    in_flight: TaskTracker,
    overdue: Arc<AtomicUsize>,
    closing: CancellationToken,
    metrics: Metrics,
}

impl Publisher {
    /// Dials the connections, and keeps the lanes open.
    ///
    /// # Errors
    /// Settings that can never work.
    pub(super) fn start(
        connector: &Connector,
        sizes: &PublishSettings,
        metrics: Metrics,
    ) -> Result<Self, SettingsError> {
        let bytes = sizes.channel_window_bytes;
        let start = |role, connections, lanes, messages| {
            let is_isolated = role == Role::Isolated;
            let kind = LaneKind { messages, bytes, is_isolated, is_for_slow_destination: false };
            Lanes::start(Arc::new(connector.start(role, 0, connections)), lanes, kind).map(Arc::new)
        };
        let shared = start(Role::Publish, sizes.connections, sizes.pool_size, sizes.channel_window)?;
        // At least one lane on each connection.
        let isolated = sizes.isolated_channels.max(sizes.isolated_connections);
        let isolated = start(Role::Isolated, sizes.isolated_connections, isolated, 1)?;
        let slow = SlowConnections::new(connector.clone(), sizes);
        let destinations = Arc::new(Destinations::new(slow, sizes.slow_after));
        let (overdue, closing) = (Arc::<AtomicUsize>::default(), CancellationToken::new());
        let watch = Watch {
            shared: Arc::clone(&shared),
            isolated: Arc::clone(&isolated),
            destinations: Arc::clone(&destinations),
            slow_after: sizes.slow_after,
            overdue: Arc::clone(&overdue),
            last_alarm: None,
        };
        tokio::spawn(watch.run(closing.clone()));
        let in_flight = TaskTracker::new();
        Ok(Self { shared, isolated, destinations, in_flight, overdue, closing, metrics })
    }

    /// Publishes until RabbitMQ answers, in the order of its place if it has one; see [`super::Broker::publish`].
    pub(super) async fn publish(
        &self,
        publish: &Publish,
        place: Option<&Place>,
    ) -> Result<Receipt, PublishFailure> {
        let mut is_resent = false;
        loop {
            let answer = self.attempt(publish, place, is_resent).await;
            let attempts = publish.attempts();
            let duplicate_possible = is_resent || publish.earlier_copy_possible;
            let error = match answer {
                Ok(()) => {
                    let mandatory = publish.destination.mandatory;
                    let outcome = if mandatory { Outcome::Confirmed } else { Outcome::Accepted };
                    return Ok(Receipt { outcome, attempts, duplicate_possible });
                }
                Err(error) => error,
            };
            if may_resend(&error, publish) {
                is_resent = true;
                place.into_iter().for_each(Place::take_again);
                self.metrics.resends.inc();
                sleep(RESEND_PAUSE).await;
                continue;
            }
            let outcome = overall_outcome(&error, duplicate_possible);
            return Err(PublishFailure { error, attempts, outcome });
        }
    }

    /// The states of destinations.
    pub(super) fn destinations(&self) -> &Arc<Destinations> {
        &self.destinations
    }

    /// RabbitMQ's reason, while it blocks publishers.
    pub(super) fn blocked(&self) -> Option<String> {
        self.shared.connections().blocked().or_else(|| self.isolated.connections().blocked())
    }

    /// The connections of the shared and of the isolated lanes.
    pub(super) fn connections(&self) -> [&Connections; 2] {
        [self.shared.connections(), self.isolated.connections()]
    }

    /// Whether a shared lane is open, and a connection for isolated lanes is up or was up within the last minute.
    pub(super) fn can_publish(&self) -> bool {
        self.shared.has_open() && !self.isolated.connections().are_absent_for(ISOLATED_ABSENCE)
    }

    /// Whether a shared lane is open and no alarm blocks publishers.
    pub(super) fn takes_messages(&self) -> bool {
        self.shared.has_open() && self.blocked().is_none()
    }

    /// Resolves when [`Self::takes_messages`] is true.
    pub(super) async fn until_takes_messages(&self) {
        let mut lanes = self.shared.changes();
        let [mut shared, mut isolated] = self.connections().map(Connections::changes);
        while !self.takes_messages() {
            tokio::select! {
                Ok(()) = lanes.changed() => {}
                Ok(()) = shared.changed() => {}
                Ok(()) = isolated.changed() => {}
                // The gateway is stopping.
                else => pending().await,
            }
        }
    }

    /// The connections of slow destinations.
    pub(super) fn slow_connections(&self) -> RoleState {
        let slow = self.destinations.slow_lanes();
        Role::Slow.state(slow.iter().map(|lanes| lanes.connections()))
    }

    /// The state of publishing, without asking RabbitMQ.
    pub(super) fn state(&self) -> Publishing {
        Publishing {
            blocked: self.blocked(),
            lanes: self.shared.slots().len(),
            channels: self.shared.open_channels() + self.isolated.open_channels(),
            in_flight: self.in_flight.len(),
            waiting: self.shared.waiting(),
            overdue: self.overdue.load(Ordering::Relaxed),
        }
    }

    /// Opens no more channels, and closes the connections of slow destinations.
    pub(super) fn close(&self) {
        self.closing.cancel();
        self.shared.close();
        self.isolated.close();
        self.destinations.close();
    }

    /// Tells every caller the outcome of its message at once, without RabbitMQ's answer.
    pub(super) fn give_up(&self) {
        let slow = self.destinations.slow_lanes();
        self.close();
        let lanes = slow.iter().flat_map(|slow| slow.groups()).chain([&*self.shared, &*self.isolated]);
        for channel in lanes.flat_map(Lanes::channels) {
            channel.owner().give_up();
        }
    }
}

fn may_resend(error: &Error, publish: &Publish) -> bool {
    let is_repeatable = matches!(error, Error::Unknown(Cause::Lost { repeatable: true, .. }));
    is_repeatable && publish.resend && Instant::now() + RESEND_PAUSE < publish.deadline
}

/// If an earlier attempt may have left a copy, the end of the last attempt does not remove that copy.
fn overall_outcome(last: &Error, earlier_copy_possible: bool) -> Outcome {
    match last.outcome() {
        Outcome::NotSent | Outcome::Unroutable if earlier_copy_possible => Outcome::Unknown,
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::error::Unavailable;

    #[test]
    fn an_unknown_first_attempt_stays_unknown_after_a_later_failure() {
        let unroutable = Error::Unroutable { reason: "NO_ROUTE".to_owned() };
        assert_eq!(overall_outcome(&unroutable, true), Outcome::Unknown);
        assert_eq!(overall_outcome(&unroutable, false), Outcome::Unroutable);
        assert_eq!(overall_outcome(&Error::NotSent(Unavailable::NoConnection), true), Outcome::Unknown);
        assert_eq!(overall_outcome(&Error::Rejected, true), Outcome::Rejected);
    }
}
