//! The way from an owned channel to the router of its connection.

use std::sync::Arc;

use super::connection_state::ConnectionState;
use super::owner::Owner;

/// An owner's handle to the router of its connection.
pub(in crate::broker) struct Outlet {
    state: Arc<ConnectionState>,
    channel: u16,
}

impl Outlet {
    pub(super) fn new(state: Arc<ConnectionState>, channel: u16) -> Self {
        Self { state, channel }
    }

    /// The channel's number.
    pub(in crate::broker) fn channel(&self) -> u16 {
        self.channel
    }

    /// The largest frame size in bytes.
    pub(in crate::broker) fn frame_max(&self) -> usize {
        self.state.frame_max()
    }

    /// Whether RabbitMQ blocks the connection.
    pub(in crate::broker) fn is_blocked(&self) -> bool {
        self.state.is_blocked()
    }

    /// Asks the router to call [`Owner::write`]. Call it once after a `write` that returned
    /// [`Step::Done`](super::owner::Step::Done).
    pub(in crate::broker) fn has_work(&self, owner: Arc<dyn Owner>) {
        self.state.has_work(self.channel, owner);
    }
}
