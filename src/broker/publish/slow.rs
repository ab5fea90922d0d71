//! Separate connections for destinations whose publishes stay unanswered, and for hazardous messages.
//!
//! When one queue does not accept messages, RabbitMQ's flow control stops the whole connection. So the gateway moves such
//! a destination to a connection of its own. It dials these connections on demand, and their number is bounded. One
//! more connection carries the hazardous messages of all destinations, over which RabbitMQ may close it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::lane::LaneKind;
use super::lanes::Lanes;
use crate::broker::PublishSettings;
use crate::broker::connection::{Connections, Connector, Role};

/// The connections for slow destinations, and the one for hazardous messages.
pub(super) struct SlowConnections {
    connector: Connector,
    sizes: PublishSettings,
    /// The numbers of the connections that are not in use.
    free: Mutex<BTreeSet<usize>>,
}

/// The connection of one slow destination: a shared lane with a small window, and an isolated lane. The connection for
/// hazardous messages has an isolated lane only.
pub(super) struct SlowLanes {
    /// For messages that share a channel with other messages to the same destination.
    shared: Option<Lanes>,
    /// For messages that travel alone.
    pub(super) isolated: Lanes,
    number: usize,
    from: Arc<SlowConnections>,
    is_closed: AtomicBool,
}

impl SlowConnections {
    /// The maximum number comes from the settings. No connection is dialled yet.
    pub(super) fn new(connector: Connector, sizes: &PublishSettings) -> Arc<Self> {
        let free = Mutex::new((0..sizes.slow_connections).collect());
        Arc::new(Self { connector, sizes: sizes.clone(), free })
    }

    /// Opens a connection; `None` if all are in use.
    pub(super) fn open(self: &Arc<Self>) -> Option<Arc<SlowLanes>> {
        let number = self.free().pop_first()?;
        let lanes = self.start(number, true);
        if lanes.is_none() {
            self.free().insert(number);
        }
        lanes
    }

    /// Opens the connection for hazardous messages, in addition to that number.
    pub(super) fn open_hazardous(self: &Arc<Self>) -> Option<Arc<SlowLanes>> {
        self.start(self.limit(), false)
    }

    /// `None` only with sizes below 1, see [`PublishSettings`].
    fn start(self: &Arc<Self>, number: usize, has_shared: bool) -> Option<Arc<SlowLanes>> {
        let sizes = &self.sizes;
        let connections = Arc::new(self.connector.start(Role::Slow, number, 1));
        let lanes = |messages: u32, is_isolated: bool| {
            let bytes = sizes.channel_window_bytes;
            let kind = LaneKind { messages, bytes, is_isolated, is_for_slow_destination: true };
            Lanes::start(Arc::clone(&connections), 1, kind)
        };
        let shared = has_shared.then(|| lanes(sizes.slow_window, false)).transpose();
        let isolated = lanes(1, true);
        let (Ok(shared), Ok(isolated)) = (shared, isolated) else {
            connections.stop();
            return None;
        };
        let (from, is_closed) = (Arc::clone(self), AtomicBool::new(false));
        Some(Arc::new(SlowLanes { shared, isolated, number, from, is_closed }))
    }

    /// The largest number of connections.
    pub(super) fn limit(&self) -> usize {
        self.sizes.slow_connections
    }

    fn free(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlowLanes {
    /// The lanes for messages that share a channel. On the connection for hazardous messages, which all travel alone,
    /// these are the isolated lanes.
    pub(super) fn shared(&self) -> &Lanes {
        self.shared.as_ref().unwrap_or(&self.isolated)
    }

    /// All groups of lanes.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Lanes> {
        self.shared.iter().chain([&self.isolated])
    }

    /// The connection.
    pub(super) fn connections(&self) -> &Connections {
        self.isolated.connections()
    }

    /// Whether a publish on the connection has waited for its answer for this time.
    pub(super) fn has_waited(&self, time: Duration) -> bool {
        let now = Instant::now();
        self.groups()
            .flat_map(Lanes::channels)
            .any(|channel| channel.owner().oldest_since().is_some_and(|since| now >= since + time))
    }

    /// Accepts no more publishes, and closes the connection when those in flight have their answers or are past their
    /// deadlines. Returns at once.
    pub(super) fn close(self: Arc<Self>) {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        tokio::spawn(async move {
            let connections = self.connections();
            connections.give_up_waiting();
            join_all(self.groups().map(Lanes::finish)).await;
            connections.stop();
            if self.number < self.from.limit() {
                self.from.free().insert(self.number);
            }
        });
    }
}
