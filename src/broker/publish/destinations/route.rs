//! The lanes that a message uses.

use std::sync::Arc;

use crate::broker::publish::slow::SlowLanes;

/// The lanes that a message uses.
pub(in crate::broker::publish) enum Route {
    /// A channel that it shares with other messages.
    Shared,
    /// Alone on a channel.
    Isolated,
    /// The connection of a slow destination.
    Slow {
        lanes: Arc<SlowLanes>,
        /// Whether the message travels alone on a channel there.
        is_isolated: bool,
    },
    /// Alone on a channel of the connection for hazardous messages.
    Hazardous(Arc<SlowLanes>),
}
