//! The roles of connections: each role has its own connections, and a frame size that fits its work.

use std::time::Duration;

use super::Connections;
use crate::broker::{PublishSettings, RoleState};

/// Bytes of a frame for the properties of a message without its headers: nine texts of 255 bytes, and some spare.
const OTHER_PROPERTIES: usize = 4 * 1024;
/// Smallest frame for publishing, in bytes. The gateway cuts a larger body into several frames, which costs little.
const PUBLISH_FRAME: usize = 32 * 1024;

/// A connection that the gateway dials again within this time does not count as absent.
const ABSENCE: Duration = Duration::from_secs(1);

/// The purpose of a connection. Each role has its own connections, so for example an alarm that blocks publishing does
/// not affect declarations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Role {
    /// Publishing with confirms, many in flight. An alarm blocks these.
    Publish,
    /// Publishing isolated messages, one in flight on each channel.
    Isolated,
    /// Publishing to one slow destination; dialled on demand.
    Slow,
    /// Declare, inspect, delete.
    Topology,
    /// Purge, and delete under conditions, one at a time: these can take long, and some make RabbitMQ close the
    /// connection. Dialled on demand.
    Removal,
    /// Declare with arguments that the gateway does not know, and operations whose error text can be too long for
    /// RabbitMQ 4.0, one at a time: some make RabbitMQ close the connection. Dialled on demand.
    Declaration,
    /// Replies to RPC calls.
    Reply,
    /// Messages that are leased to callers. Dialled on demand.
    Lease,
    /// Health checks.
    Probe,
}

impl Role {
    /// The name of the role in connection names and logs.
    pub(in crate::broker) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Isolated => "isolated",
            Self::Slow => "slow",
            Self::Topology => "topology",
            Self::Removal => "removal",
            Self::Declaration => "declaration",
            Self::Reply => "reply",
            Self::Lease => "lease",
            Self::Probe => "probe",
        }
    }

    /// Whether the gateway dials these connections only when it needs them.
    pub(super) fn is_on_need(self) -> bool {
        matches!(self, Self::Slow | Self::Removal | Self::Declaration | Self::Lease)
    }

    /// The state of the role's connections, over all groups of them.
    pub(in crate::broker) fn state<'a>(self, groups: impl IntoIterator<Item = &'a Connections>) -> RoleState {
        let (name, is_on_need) = (self.name(), self.is_on_need());
        let none = RoleState { name, is_on_need, wanted: 0, connected: 0, denial: None, is_absent: false };
        groups.into_iter().fold(none, |all, group| RoleState {
            wanted: all.wanted + group.len(),
            connected: all.connected + group.up().count(),
            denial: all.denial.or_else(|| group.any_denial()),
            is_absent: all.is_absent || !is_on_need && group.are_absent_for(ABSENCE),
            ..all
        })
    }

    /// The largest frame that the gateway agrees to, in bytes; lapin's buffers are 64 times as large. The properties of a
    /// message and the arguments of a declare must fit one frame.
    pub(in crate::broker) fn frame_max(self, publish: &PublishSettings) -> usize {
        match self {
            Self::Publish
            | Self::Isolated
            | Self::Slow
            | Self::Topology
            | Self::Removal
            | Self::Declaration => {
                (publish.max_header_bytes + OTHER_PROPERTIES).next_power_of_two().max(PUBLISH_FRAME)
            }
            // Other clients choose the size of these messages, so RabbitMQ's own limit applies.
            Self::Reply | Self::Lease => 128 * 1024,
            Self::Probe => 8 * 1024,
        }
    }
}
