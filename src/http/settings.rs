//! The settings of the HTTP side.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::server::ConnectionLimits;
use crate::domain::field::HeaderLimits;
use crate::domain::names::{QueueName, ShortText};
use crate::domain::path_prefix::PathPrefix;

/// Settings of the HTTP side. [`crate::config`] fills them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on; port 0 means a free port.
    pub listen: SocketAddr,
    /// Address for administration: health checks and metrics without credentials, which the other address then does not serve.
    pub admin_listen: Option<SocketAddr>,
    /// Bounds of connections, and their deadlines.
    pub connections: ConnectionLimits,
    /// Bounds of requests.
    pub limits: Limits,
    /// Bounds of the idempotency keys that the gateway remembers.
    pub idempotency: IdempotencyLimits,
    /// Pages, hosts and proxies that may use the gateway.
    pub access: Access,
    /// The events that the audit log has.
    pub audit: AuditLevel,
    /// Whether published messages have the name of their principal in the header `x-gateway-principal`.
    pub stamp_principal: bool,
    /// Queues that `/health/rabbitmq` always counts.
    pub health_queues: Vec<QueueName>,
    /// Whether a reply's `x-http-status` header sets the HTTP status.
    pub rpc_status_header: bool,
    /// The beginning of the name of each header that is an attribute of a CloudEvent.
    pub cloudevents_prefix: ShortText,
}

/// The events that the audit log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditLevel {
    /// None.
    Off,
    /// Changes of queues, exchanges and bindings, and purges.
    Changes,
    /// Refusals too.
    All,
}

/// Pages, hosts and proxies that may use the gateway. The default allows none.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Origins, other than the gateway's own, whose pages may call it.
    pub allowed_origins: Vec<String>,
    /// Hosts, other than loopback, that requests may name while the gateway listens on loopback only.
    pub allowed_hosts: Vec<String>,
    /// Path below which a proxy serves the gateway.
    pub path_prefix: PathPrefix,
    /// Proxies whose `X-Forwarded-Prefix` the gateway believes.
    pub trusted_proxies: Vec<IpNet>,
}

/// Bounds of one request and of all requests together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one body.
    pub max_body_bytes: usize,
    /// From the end of the header to the last byte of the body; for a publish stream, the longest pause without a byte.
    pub body_timeout: Duration,
    /// Bytes of one request's header.
    pub max_header_bytes: usize,
    /// Bytes of bodies in memory, all requests together.
    pub max_bytes_in_flight: usize,
    /// Requests between their header and their answer.
    pub max_requests_in_flight: usize,
    /// Publish streams at one time.
    pub max_publish_streams: usize,
    /// Messages of one batch or stream that the gateway publishes at one time.
    pub publish_window: usize,
    /// Messages of one batch.
    pub max_batch_items: usize,
    /// Items of one topology document.
    pub max_topology_items: usize,
    /// Topology documents that the gateway applies at one time.
    pub max_topology_documents: usize,
    /// Bounds of a message's AMQP header table.
    pub amqp_headers: HeaderLimits,
    /// Deadline of a publish.
    pub publish: Deadline,
    /// Deadline of an RPC call.
    pub rpc: Deadline,
    /// Deadline of a topology operation.
    pub topology: Deadline,
    /// Bounds of pulls.
    pub pull: PullLimits,
    /// Longest delay of a retry.
    pub max_retry_delay: Duration,
    /// Deadline of a settle.
    pub settle: Deadline,
}

/// Bounds of pulls, and the values of a pull that does not give them.
#[derive(Debug, Clone)]
pub struct PullLimits {
    /// Messages of a pull that does not say how many.
    pub default_max: usize,
    /// Messages of one pull.
    pub max: usize,
    /// How long a pull waits for its first message if it does not say so.
    pub default_wait: Duration,
    /// The longest wait for the first message.
    pub max_wait: Duration,
    /// Time to settle the messages of a pull that does not say how long.
    pub default_lease: Duration,
    /// The longest time to settle a message, from its delivery on.
    pub max_lease: Duration,
    /// Pulls at one time.
    pub max_waiting: usize,
}

/// Bounds of the idempotency keys that the gateway remembers.
#[derive(Debug, Clone, Copy)]
pub struct IdempotencyLimits {
    /// How long the gateway remembers a key after the end of its publish.
    pub ttl: Duration,
    /// Keys at one time, those in flight included.
    pub max: usize,
}

/// The default deadline of a request, and the longest that it may ask for by `?timeout=`.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// Deadline without `?timeout=`.
    pub default: Duration,
    /// Largest accepted `?timeout=`.
    pub max: Duration,
}
