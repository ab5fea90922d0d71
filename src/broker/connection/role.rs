//! The roles of connections: each has connections of its own, and a frame size that fits.

use super::Connections;
use crate::broker::{PublishSettings, RoleState};

/// Room in a frame for the properties of a message beside its headers: nine texts of 255 bytes, and more.
const OTHER_PROPERTIES: usize = 4 * 1024;
/// Smallest frame for publishing, in bytes: a larger body is cut in several, which costs little.
const PUBLISH_FRAME: usize = 32 * 1024;

/// What a role's connections are used for. Each role has connections of its own, so an alarm that blocks publishing
/// does not affect declarations, for example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Role {
    /// Publishing with confirms, many in flight. An alarm blocks these.
    Publish,
    /// Publishing messages that travel alone, one in flight on each channel.
    Isolated,
    /// Publishing to one destination whose publishes stay unanswered; dialled on need.
    Slow,
    /// Declare, inspect, delete.
    Topology,
    /// Purge, and delete under conditions, one at a time: these may take long, and some make RabbitMQ close the connection.
    /// Dialled on need.
    Removal,
    /// Declare with arguments that the gateway does not know, and operations that RabbitMQ 4.0 may refuse in too many bytes, one at
    /// a time: some make RabbitMQ close the connection. Dialled on need.
    Declaration,
    /// Replies to RPC calls.
    Reply,
    /// Health checks.
    Probe,
}

impl Role {
    /// The role's word in connection names and logs.
    pub(in crate::broker) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Isolated => "isolated",
            Self::Slow => "slow",
            Self::Topology => "topology",
            Self::Removal => "removal",
            Self::Declaration => "declaration",
            Self::Reply => "reply",
            Self::Probe => "probe",
        }
    }

    /// Whether its connections are dialled when they are needed.
    pub(super) fn is_on_need(self) -> bool {
        matches!(self, Self::Slow | Self::Removal | Self::Declaration)
    }

    /// The state of its connections, in as many groups as there are.
    pub(in crate::broker) fn state<'a>(self, groups: impl IntoIterator<Item = &'a Connections>) -> RoleState {
        let (name, is_on_need) = (self.name(), self.is_on_need());
        let none = RoleState { name, is_on_need, wanted: 0, connected: 0, denial: None };
        groups.into_iter().fold(none, |all, group| RoleState {
            wanted: all.wanted + group.len(),
            connected: all.connected + group.up().count(),
            denial: all.denial.or_else(|| group.any_denial()),
            ..all
        })
    }

    /// Largest frame that is agreed to, in bytes; lapin's buffers are 64 times as large. The properties of a
    /// message and the arguments of a declare must fit one.
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
            // What others send has RabbitMQ's own limit.
            Self::Reply => 128 * 1024,
            Self::Probe => 8 * 1024,
        }
    }
}
