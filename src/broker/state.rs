//! The states of publishing, connections, leases and the reply queue, for health checks and metrics.

use super::error::Denial;

/// State of the publishing connections, as the gateway sees it without asking RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// RabbitMQ's reason while it blocks publishers.
    pub blocked: Option<String>,
    /// Number of lanes that the gateway wants for concurrent publishes.
    pub lanes: usize,
    /// Confirm channels that are open, those of isolated lanes included.
    pub channels: usize,
    /// Publishes that were handed in and wait for RabbitMQ's answer.
    pub in_flight: usize,
    /// Publishes that wait for a permit on a lane.
    pub waiting: usize,
    /// Overdue confirms: the gateway answered `unknown`, and RabbitMQ may still confirm.
    pub overdue: usize,
}

/// State of the connections of one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleState {
    /// The name of the role in connection names and metrics.
    pub name: &'static str,
    /// Whether the gateway dials these connections only when it needs them.
    pub is_on_need: bool,
    /// Number of connections that the gateway wants now.
    pub wanted: usize,
    /// Number of connections that are up.
    pub connected: usize,
    /// Why RabbitMQ refuses further connections, if it refused the last dials.
    pub denial: Option<Denial>,
    /// Whether it should have a connection, and none has been up for a second.
    pub is_absent: bool,
}

/// State of the reply queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyState {
    /// Whether the reply queue exists.
    pub ready: bool,
    /// Why RabbitMQ refuses the reply queue, if it refused the last declaration.
    pub denial: Option<Denial>,
    /// Calls that wait for their replies.
    pub waiting: usize,
}

/// The messages that callers hold, and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseState {
    /// Messages that callers hold and have not settled.
    pub held: usize,
    /// The most of them at one time.
    pub limit: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The most of these bytes at one time.
    pub bytes_limit: usize,
    /// Whether other replicas can ask this one to settle its leases; `None` before the first pull.
    pub control_queue: Option<bool>,
}
