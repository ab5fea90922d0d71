//! The metrics of leases: messages that callers hold, and how they are settled.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::registered::Registered;

/// The metrics of leases.
#[derive(Debug)]
pub struct ConsumeMetrics {
    /// Pulls that wait for messages.
    pub waiting: IntGauge,
    /// Messages that callers hold and have not settled.
    pub leases: IntGauge,
    /// The most of them at one time.
    pub leases_limit: IntGauge,
    /// Bytes of these messages.
    pub bytes: IntGauge,
    /// The most of these bytes at one time.
    pub bytes_limit: IntGauge,
    /// Settles by outcome, at the replica that the caller asked.
    pub settles: IntCounterVec,
    /// Leases that expired before their caller settled them.
    pub expired: IntCounter,
    /// Leases whose messages no connection took: the caller left, or its answer had no room.
    pub returned: IntCounter,
    /// Requests at the control queue by result.
    pub control_requests: IntCounterVec,
}

impl ConsumeMetrics {
    pub(super) fn registered(list: &Registered) -> Self {
        Self {
            waiting: list.gauge("gateway_waiting_pulls", "Pulls that wait for messages."),
            leases: list.gauge("gateway_leases", "Messages that callers hold and have not settled."),
            leases_limit: list
                .gauge("gateway_leases_limit", "The most leases at one time, as GATEWAY_MAX_LEASES sets it."),
            bytes: list.gauge("gateway_lease_bytes", "Bytes of the messages that callers hold."),
            bytes_limit: list.gauge(
                "gateway_lease_bytes_limit",
                "The most bytes of leased messages at one time, as GATEWAY_MAX_LEASE_BYTES sets it.",
            ),
            settles: list.counters(
                "gateway_settles_total",
                "Leases that callers asked this replica to settle, by outcome.",
                &["outcome"],
            ),
            expired: list.counter(
                "gateway_leases_expired_total",
                "Leases that expired, so that their messages went back to their queues.",
            ),
            returned: list.counter(
                "gateway_leases_returned_total",
                "Leases whose messages no connection took: the caller left, or its answer had no room.",
            ),
            control_requests: list.counters(
                "gateway_control_requests_total",
                "Requests of other replicas at the control queue, by result.",
                &["result"],
            ),
        }
    }
}
