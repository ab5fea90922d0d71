//! A destination whose publishes stay unanswered, and its own connection if one was free.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::route::Route;
use crate::broker::destination::KnownDestination;
use crate::broker::publish::slow::SlowLanes;

/// After this time the gateway tries a slow destination without a connection again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// The slow state of a destination.
pub(super) struct SlowState {
    destination: KnownDestination,
    /// Its own connection, if one was free.
    lanes: Option<Arc<SlowLanes>>,
    last_publish: Instant,
    /// If it has no connection: when the gateway last let a message through.
    tried: Instant,
}

impl SlowState {
    /// A destination that is slow from now on.
    pub(super) fn new(destination: KnownDestination, lanes: Option<Arc<SlowLanes>>) -> Self {
        let now = Instant::now();
        Self { destination, lanes, last_publish: now, tried: now }
    }

    /// Merges several slow states into one; also returns the lanes that it does not need.
    pub(super) fn merge(all: Vec<Self>) -> (Option<Self>, Vec<Arc<SlowLanes>>) {
        let mut rest = all.into_iter();
        let Some(mut merged) = rest.next() else { return (None, Vec::new()) };
        let mut unneeded = Vec::new();
        for lanes in rest.filter_map(Self::into_lanes) {
            match &merged.lanes {
                Some(_) => unneeded.push(lanes),
                None => merged.lanes = Some(lanes),
            }
        }
        (Some(merged), unneeded)
    }

    /// The route of a message that comes now; `None` if the destination has no connection. Without one the gateway lets
    /// a message through at times, to find out whether RabbitMQ answers again. `open` opens a connection, if one is free.
    pub(super) fn route(
        &mut self,
        is_isolated: bool,
        open: impl FnOnce() -> Option<Arc<SlowLanes>>,
    ) -> Option<Route> {
        let now = Instant::now();
        self.last_publish = now;
        if self.lanes.is_none() {
            self.lanes = open();
        }
        if let Some(lanes) = &self.lanes {
            return Some(Route::Slow { lanes: Arc::clone(lanes), is_isolated });
        }
        let answers_again = self.destination.last_answer().is_some_and(|at| at > self.tried);
        if answers_again || now >= self.tried + TRY_AGAIN {
            self.tried = now;
            return Some(Route::Isolated);
        }
        None
    }

    /// Whether RabbitMQ answers in time again. The caller asks this after an answer in time. It is true if no other
    /// publish on the destination's connection has waited for `slow_after`.
    pub(super) fn is_over(&self, slow_after: Duration) -> bool {
        self.lanes.as_ref().is_none_or(|lanes| !lanes.has_waited(slow_after))
    }

    /// Whether it had no publish since then.
    pub(super) fn is_idle_since(&self, instant: Instant) -> bool {
        self.last_publish <= instant
    }

    /// Whether it has its own connection.
    pub(super) fn has_lanes(&self) -> bool {
        self.lanes.is_some()
    }

    /// Its lanes.
    pub(super) fn lanes(&self) -> Option<Arc<SlowLanes>> {
        self.lanes.clone()
    }

    /// Gives up its lanes and returns them.
    pub(super) fn into_lanes(self) -> Option<Arc<SlowLanes>> {
        self.lanes
    }
}
