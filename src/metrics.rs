//! The one list of metrics: name, help, labels.
//!
//! Labels are bounded: the matched route, method, status, outcome and role; never a queue name or a path of a caller. The
//! code that does a thing counts it; gauges are set when Prometheus reads them.

mod consume;
mod process;
mod registered;

use std::ops::Deref;
use std::sync::Arc;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

pub use self::consume::ConsumeMetrics;
use self::registered::Registered;

/// All metrics. Cheap to clone; clones share the metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<List>);

impl Deref for Metrics {
    type Target = List;

    fn deref(&self) -> &List {
        &self.0
    }
}

/// The list.
#[derive(Debug)]
pub struct List {
    registry: Registry,
    /// HTTP requests by route, method and status.
    pub requests: IntCounterVec,
    /// Time from the header to the answer, by route and method.
    pub request_seconds: HistogramVec,
    /// HTTP requests without an answer yet.
    pub requests_in_flight: IntGauge,
    /// Bytes of request bodies in memory.
    pub bytes_in_flight: IntGauge,
    /// Publishes by outcome, as `domain::outcome::Outcome` spells it.
    pub publishes: IntCounterVec,
    /// Batches and publish streams.
    pub bulk: BulkMetrics,
    /// Leases.
    pub consume: ConsumeMetrics,
    /// Idempotency keys.
    pub idempotency: IdempotencyMetrics,
    /// Time from writing a message to RabbitMQ's answer.
    pub confirm_seconds: Histogram,
    /// Resent messages.
    pub resends: IntCounter,
    /// Publishes that were written and wait for RabbitMQ's answer.
    pub publishes_in_flight: IntGauge,
    /// Publishes that wait for a permit on a lane.
    pub publishes_waiting: IntGauge,
    /// Overdue confirms: the gateway answered `unknown`, and RabbitMQ may still confirm.
    pub overdue: IntGauge,
    /// By result.
    pub calls: IntCounterVec,
    /// RPC calls that wait for their replies.
    pub pending_replies: IntGauge,
    /// Whether the gateway could not apply the topology file.
    pub topology_file_failed: IntGauge,
    /// Whether there is a reply queue.
    pub reply_queue: IntGauge,
    /// Replies without a pending call.
    pub unmatched_replies: IntCounter,
    /// Confirm channels by state: `wanted` for concurrent publishes, `open` in total.
    pub channels: IntGaugeVec,
    /// Connections that are up, by role.
    pub connections: IntGaugeVec,
    /// Dials by role and result: `connected`, `refused`, `failed`.
    pub dials: IntCounterVec,
    /// 1 while RabbitMQ blocks publishers.
    pub blocked: IntGauge,
    /// Of the process itself.
    pub process: ProcessMetrics,
}

/// The metrics of batches and publish streams.
#[derive(Debug)]
pub struct BulkMetrics {
    /// Messages of batches and streams by operation and outcome, wrong items included.
    pub messages: IntCounterVec,
    /// Messages of batches and streams that are published now.
    pub in_flight: IntGauge,
    /// Open publish streams.
    pub streams: IntGauge,
}

impl BulkMetrics {
    fn registered(list: &Registered) -> Self {
        Self {
            messages: list.counters(
                "gateway_bulk_messages_total",
                "Messages of batches and publish streams that have a result, wrong items included.",
                &["operation", "outcome"],
            ),
            in_flight: list.gauge(
                "gateway_bulk_messages_in_flight",
                "Messages of batches and publish streams that the gateway publishes now.",
            ),
            streams: list.gauge("gateway_publish_streams", "Publish streams that are open."),
        }
    }
}

/// The metrics of idempotency keys.
#[derive(Debug)]
pub struct IdempotencyMetrics {
    /// Idempotency keys in memory.
    pub keys: IntGauge,
    /// Idempotency keys that were forgotten before their time, because the memory for keys was full.
    pub evicted: IntCounter,
    /// Retries that were answered with the receipt of an earlier request.
    pub replays: IntCounter,
}

impl IdempotencyMetrics {
    fn registered(list: &Registered) -> Self {
        Self {
            keys: list.gauge(
                "gateway_idempotency_keys",
                "Idempotency keys that the gateway remembers, those in flight included.",
            ),
            evicted: list.counter(
                "gateway_idempotency_evicted_total",
                "Idempotency keys that the gateway forgot before their time, because GATEWAY_IDEMPOTENCY_MAX was reached.",
            ),
            replays: list.counter(
                "gateway_idempotency_replays_total",
                "Retries that the gateway answered with the receipt of an earlier request.",
            ),
        }
    }
}

/// The metrics of the process itself.
#[derive(Debug)]
pub struct ProcessMetrics {
    /// Changes of the file of principals, by result: `done`, `failed`.
    pub principals_reloads: IntCounterVec,
    /// Whether the file of principals is wrong, so that the gateway uses earlier principals.
    pub principals_file_failed: IntGauge,
    /// Log lines that were dropped.
    pub dropped_log_lines: IntCounter,
}

impl ProcessMetrics {
    fn registered(list: &Registered) -> Self {
        let principals_reloads = list.counters(
            "gateway_principals_reloads_total",
            "Changes of the file of principals, by result: done, failed.",
            &["result"],
        );
        // Prometheus sees the first change only if it has seen a zero before.
        for result in ["done", "failed"] {
            principals_reloads.with_label_values(&[result]);
        }
        Self {
            principals_reloads,
            principals_file_failed: list.gauge(
                "gateway_principals_file_failed",
                "1 while the file of principals is wrong, so that the gateway uses earlier principals, else 0.",
            ),
            dropped_log_lines: list.counter(
                "gateway_log_lines_dropped_total",
                "Log lines dropped because the reader of standard error was too slow.",
            ),
        }
    }
}

impl Default for List {
    fn default() -> Self {
        let list = Registered::with_process_metrics();
        Self {
            requests: list.counters(
                "gateway_http_requests_total",
                "HTTP requests that the gateway has answered.",
                &["route", "method", "status"],
            ),
            request_seconds: list.histograms(
                "gateway_http_request_duration_seconds",
                "Time from a request's header to its answer.",
                &["route", "method"],
            ),
            requests_in_flight: list.gauge(
                "gateway_http_requests_in_flight",
                "HTTP requests that the gateway has admitted and not answered yet.",
            ),
            bytes_in_flight: list
                .gauge("gateway_http_body_bytes_in_flight", "Bytes of request bodies in memory."),
            publishes: list.counters(
                "gateway_publishes_total",
                "Publishes that have ended, without the requests of RPC calls.",
                &["outcome"],
            ),
            bulk: BulkMetrics::registered(&list),
            consume: ConsumeMetrics::registered(&list),
            idempotency: IdempotencyMetrics::registered(&list),
            confirm_seconds: list.histogram(
                "gateway_publish_confirm_seconds",
                "Time from writing a message, or a call's request, to RabbitMQ's answer.",
            ),
            resends: list.counter(
                "gateway_publish_resends_total",
                "Messages that the gateway resent after a lost connection or channel.",
            ),
            publishes_in_flight: list.gauge(
                "gateway_publishes_in_flight",
                "Publishes that were written and wait for RabbitMQ's answer.",
            ),
            publishes_waiting: list
                .gauge("gateway_publishes_waiting", "Publishes that wait for a permit on a lane."),
            overdue: list.gauge(
                "gateway_publishes_overdue",
                "Overdue confirms: the gateway answered unknown, and RabbitMQ may still confirm.",
            ),
            calls: list.counters("gateway_rpc_calls_total", "RPC calls that have ended.", &["result"]),
            pending_replies: list
                .gauge("gateway_rpc_pending_replies", "RPC calls that wait for their replies."),
            topology_file_failed: list.gauge(
                "gateway_topology_file_failed",
                "1 while the gateway cannot apply the topology file, else 0.",
            ),
            reply_queue: list
                .gauge("gateway_rpc_reply_queue", "1 while the gateway has a reply queue for calls, else 0."),
            unmatched_replies: list.counter(
                "gateway_rpc_unmatched_replies_total",
                "Replies without a waiting RPC call: after the deadline, repeated or from another client.",
            ),
            channels: list.gauges(
                "gateway_confirm_channels",
                "Confirm channels: wanted for concurrent publishes, open in total.",
                &["state"],
            ),
            connections: list.gauges(
                "gateway_broker_connections",
                "Connections to RabbitMQ that are up.",
                &["role"],
            ),
            dials: list.counters(
                "gateway_broker_dials_total",
                "Attempts to connect to RabbitMQ.",
                &["role", "result"],
            ),
            blocked: list.gauge("gateway_broker_blocked", "1 while RabbitMQ blocks publishers, else 0."),
            process: ProcessMetrics::registered(&list),
            registry: list.into_registry(),
        }
    }
}

impl Metrics {
    /// All metrics in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}
