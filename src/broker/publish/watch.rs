//! The publish watch: checks the channels of all lanes every 100 ms for missing answers.
//!
//! - A lane is silent when publishes are in flight on it and RabbitMQ has answered none for some time. It gets no new
//!   publishes while another lane is not silent.
//! - A lane gets a fresh channel in three cases: RabbitMQ only nacks a destination on it, its newest publish is too far
//!   ahead of its oldest unanswered one, or it is isolated and silent.
//! - A connection is silent when RabbitMQ has answered none of its publishes for twice that time: its supervisor replaces
//!   it. This watch retires a connection when its confirms are overdue for too long. It retires the connection of a slow
//!   destination after ten times that time, and only if no caller waits on it.
//! - A destination is slow when its publishes stay unanswered while RabbitMQ answers others, or when nearly all publishes
//!   on a connection that the gateway is about to replace go to it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::destinations::Destinations;
use super::lane::Lane;
use super::lane_slot::LaneSlot;
use super::lanes::Lanes;
use super::nacks::NACKING;
use super::slow::SlowLanes;
use super::unanswered::Unanswered;
use crate::broker::channels::ConfirmChannel;
use crate::broker::connection::Connection;
use crate::broker::destination::KnownDestination;

/// The interval of the checks.
const LOOK: Duration = Duration::from_millis(100);
/// How many times [`Watch::slow_after`] the connection of a slow destination may be silent, once no caller waits on it.
const SLOW_PATIENCE: u32 = 10;
/// How long a confirm may be overdue before the gateway replaces its connection.
const MAX_OVERDUE: Duration = Duration::from_mins(1);
/// The number of overdue confirms on one connection before the gateway replaces it: the waiting messages cost memory.
const MAX_OVERDUE_CONFIRMS: usize = 500;

/// The watch over all lanes.
pub(super) struct Watch {
    /// The shared lanes.
    pub(super) shared: Arc<Lanes>,
    /// The isolated lanes.
    pub(super) isolated: Arc<Lanes>,
    /// The states of the destinations, with the lanes of the slow ones.
    pub(super) destinations: Arc<Destinations>,
    /// After this time without an answer a lane is silent, and a destination is slow.
    pub(super) slow_after: Duration,
    /// The number of overdue confirms, which may still come.
    pub(super) overdue: Arc<AtomicUsize>,
    /// When RabbitMQ was last seen to block publishers. No answer is due for a while after that.
    pub(super) last_alarm: Option<Instant>,
}

/// One connection, and the publishes that wait for their answers on it.
struct WatchedConnection {
    connection: Arc<Connection>,
    unanswered: Unanswered,
    is_for_slow_destination: bool,
}

impl Watch {
    /// Checks until it is cancelled.
    pub(super) async fn run(mut self, closing: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while closing.run_until_cancelled(looks.tick()).await.is_some() {
            self.look(Instant::now());
        }
    }

    fn look(&mut self, now: Instant) {
        if self.is_blocked() {
            self.last_alarm = Some(now);
        }
        let slow = self.destinations.slow_lanes();
        self.look_at_lanes(&self.shared, now);
        self.look_at_lanes(&self.isolated, now);
        for lanes in slow.iter().flat_map(|slow| slow.groups()) {
            self.look_at_lanes(lanes, now);
        }
        self.look_at_connections(&slow, now);
        self.destinations.forget_idle();
    }

    /// Whether RabbitMQ blocks publishers, as far as any connection knows. The other connections learn of an alarm only
    /// by publishing.
    fn is_blocked(&self) -> bool {
        [&self.shared, &self.isolated].into_iter().any(|lanes| lanes.connections().blocked().is_some())
    }

    fn look_at_lanes(&self, lanes: &Lanes, now: Instant) {
        let mut silent = 0;
        for slot in lanes.slots() {
            let Some(lane) = slot.lane() else { continue };
            let is_silent = self.is_silent(lane.channel(), now);
            lane.channel().owner().set_silent(is_silent);
            silent += usize::from(is_silent);
            let is_stuck = is_silent && lanes.replaces_silent_lanes();
            if is_stuck || lane.is_stretched() || is_only_nacked(slot, &lane, now) {
                lane.retire();
            }
        }
        lanes.note_silent(silent);
    }

    fn is_silent(&self, channel: &ConfirmChannel, now: Instant) -> bool {
        channel.owner().silent_since().is_some_and(|since| now >= since + self.slow_after)
    }

    fn look_at_connections(&self, slow: &[Arc<SlowLanes>], now: Instant) {
        let mut overdue = 0;
        for watched in self.watched(slow, now) {
            let WatchedConnection { connection, unanswered, .. } = &watched;
            overdue += unanswered.overdue;
            let why_replace = self.why_replace(&watched, now);
            if !watched.is_for_slow_destination {
                let is_silent = self.is_connection_silent(&watched, now);
                let is_to_be_replaced = is_silent || why_replace.is_some();
                self.mark_slow(unanswered, is_to_be_replaced, now);
                connection.set_silent(is_silent);
            }
            if let Some(why) = why_replace {
                connection.retire(why);
            }
        }
        self.overdue.store(overdue, Ordering::Relaxed);
    }

    fn mark_slow(&self, unanswered: &Unanswered, is_to_be_replaced: bool, now: Instant) {
        let was_another_confirmed = |destination: &KnownDestination, since| {
            self.destinations.was_another_confirmed(destination, since)
        };
        for slow in unanswered.slow(self.slow_after, is_to_be_replaced, now, was_another_confirmed) {
            self.destinations.mark_slow(slow);
        }
    }

    /// The connections with the publishes on all of their channels, including closed and replaced ones.
    fn watched(&self, slow: &[Arc<SlowLanes>], now: Instant) -> Vec<WatchedConnection> {
        let main = [&*self.shared, &*self.isolated].into_iter().map(|lanes| (lanes, false));
        let slow = slow.iter().flat_map(|slow| slow.groups()).map(|lanes| (lanes, true));
        let mut all: HashMap<*const Connection, WatchedConnection> = HashMap::new();
        for (lanes, is_for_slow_destination) in main.chain(slow) {
            for channel in lanes.channels() {
                let connection = Arc::clone(channel.connection());
                let unanswered = Unanswered::default();
                all.entry(Arc::as_ptr(&connection))
                    .or_insert(WatchedConnection { connection, unanswered, is_for_slow_destination })
                    .add(&channel, now);
            }
        }
        all.into_values().collect()
    }

    fn why_replace(&self, watched: &WatchedConnection, now: Instant) -> Option<&'static str> {
        let WatchedConnection { connection, unanswered, .. } = watched;
        if !connection.is_usable() || connection.is_blocked() || self.is_blocked() {
            return None;
        }
        if self.is_slow_connection_stuck(watched, now) {
            return Some("RabbitMQ does not answer the publishes to the slow destination on it");
        }
        if unanswered.overdue > MAX_OVERDUE_CONFIRMS {
            return Some("too many confirms are overdue");
        }
        let is_long_overdue =
            unanswered.earliest_deadline.is_some_and(|deadline| now >= deadline + MAX_OVERDUE);
        is_long_overdue.then_some("a confirm is long overdue")
    }

    /// Whether the gateway should dial a replacement because RabbitMQ has answered no publish on the connection for too
    /// long. The limit is shorter if a slow destination has stopped the connection.
    fn is_connection_silent(&self, watched: &WatchedConnection, now: Instant) -> bool {
        let WatchedConnection { connection, unanswered, .. } = watched;
        let is_slow = unanswered.most().is_some_and(|destination| self.destinations.is_slow(destination));
        let patience = if is_slow { self.slow_after } else { connection.patience() };
        self.is_silent_for(patience, unanswered, now)
    }

    fn is_silent_for(&self, patience: Duration, unanswered: &Unanswered, now: Instant) -> bool {
        let is_answer_due = self.last_alarm.is_none_or(|at| now >= at + patience);
        unanswered.is_silent_for(patience, now) && is_answer_due
    }

    /// Whether the connection of a slow destination has been silent for so long that the gateway should try a fresh one.
    /// RabbitMQ's channel to a quorum queue that has lost its leader may wait for half a minute, while a fresh channel
    /// works as soon as the queue has a leader again. No caller may still wait on the connection.
    fn is_slow_connection_stuck(&self, watched: &WatchedConnection, now: Instant) -> bool {
        watched.is_for_slow_destination
            && watched.unanswered.are_all_overdue()
            && self.is_silent_for(self.slow_after * SLOW_PATIENCE, &watched.unanswered, now)
    }
}

impl WatchedConnection {
    /// Adds the publishes on a channel.
    fn add(&mut self, channel: &ConfirmChannel, now: Instant) {
        let owner = channel.owner();
        let progress = owner.progress();
        if progress.last_answer.is_some() {
            self.connection.note_answer();
        }
        self.unanswered.note_progress(progress);
        owner.look_at_waiting(|pending| {
            self.unanswered.add(&pending.destination, pending.since, pending.deadline, now);
        });
    }
}

/// Whether the lane should get a fresh channel because RabbitMQ only nacks a destination on it.
fn is_only_nacked(slot: &LaneSlot, lane: &Lane, now: Instant) -> bool {
    let nacked = now.checked_sub(NACKING).map(|since| lane.channel().owner().nacked_since(since));
    let mut pauses = slot.nack_pauses.lock().unwrap_or_else(PoisonError::into_inner);
    nacked.is_some_and(|nacked| !nacked.is_empty() && pauses.wants_fresh_channel(&nacked, now))
}
