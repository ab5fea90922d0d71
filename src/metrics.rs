//! The one list of metrics: name, help, labels.
//!
//! Labels are bounded: the matched route, method, status, outcome, role; never a name or a path of a
//! caller's. Counters are counted where things happen; gauges are set when somebody asks.

mod process;

use std::ops::Deref;
use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// From 100 µs to 100 s: a confirm in memory to a call over a slow server.
const SECONDS: [f64; 19] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    25.0, 50.0, 100.0,
];

/// Everything that is measured. Cheap to clone; clones count together.
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
    /// By route, method and status.
    pub requests: IntCounterVec,
    /// From the header to the answer; by route and method.
    pub request_seconds: HistogramVec,
    /// Now.
    pub requests_in_flight: IntGauge,
    /// Bodies in memory.
    pub bytes_in_flight: IntGauge,
    /// By outcome, as `domain::outcome::Outcome` spells it.
    pub publishes: IntCounterVec,
    /// From writing to the broker's verdict.
    pub confirm_seconds: Histogram,
    /// Messages written again after a loss.
    pub resends: IntCounter,
    /// Written, and waiting for the broker's verdict.
    pub publishes_in_flight: IntGauge,
    /// Publishes waiting for a place on a channel.
    pub publishes_waiting: IntGauge,
    /// Answered `unknown`, and the confirm may still come.
    pub overdue: IntGauge,
    /// By result.
    pub calls: IntCounterVec,
    /// Waiting for their replies.
    pub pending_replies: IntGauge,
    /// Replies that nobody waited for.
    pub unmatched_replies: IntCounter,
    /// Confirm channels by state: `wanted` for many publishes at a time, `open` altogether.
    pub channels: IntGaugeVec,
    /// Up, by role.
    pub connections: IntGaugeVec,
    /// By role and result: `connected`, `refused`, `failed`.
    pub dials: IntCounterVec,
    /// 1 while the broker blocks publishers.
    pub blocked: IntGauge,
    /// Lines of the log that were dropped.
    pub dropped_log_lines: IntCounter,
}

impl Default for List {
    fn default() -> Self {
        let list = Registered(Registry::new());
        list.gauges("gateway_build_info", "The gateway's version; always 1.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        list.add(process::Process);
        Self {
            requests: list.counters(
                "gateway_http_requests_total",
                "Answered requests.",
                &["route", "method", "status"],
            ),
            request_seconds: list.histograms(
                "gateway_http_request_duration_seconds",
                "Time from a request's header to its answer.",
                &["route", "method"],
            ),
            requests_in_flight: list
                .gauge("gateway_http_requests_in_flight", "Admitted requests without an answer yet."),
            bytes_in_flight: list.gauge("gateway_http_body_bytes_in_flight", "Bytes of bodies in memory."),
            publishes: list.counters(
                "gateway_publishes_total",
                "Publishes that ended, without calls.",
                &["outcome"],
            ),
            confirm_seconds: list.histogram(
                "gateway_publish_confirm_seconds",
                "Time from writing a message, or a call's request, to the broker's verdict on it.",
            ),
            resends: list.counter("gateway_publish_resends_total", "Messages written again after a loss."),
            publishes_in_flight: list.gauge(
                "gateway_publishes_in_flight",
                "Publishes that were written and wait for the broker's verdict.",
            ),
            publishes_waiting: list
                .gauge("gateway_publishes_waiting", "Publishes that wait for a place on a channel."),
            overdue: list.gauge(
                "gateway_publishes_overdue",
                "Publishes answered unknown whose confirm may still come.",
            ),
            calls: list.counters("gateway_rpc_calls_total", "RPC calls that ended.", &["result"]),
            pending_replies: list
                .gauge("gateway_rpc_pending_replies", "RPC calls that wait for their replies."),
            unmatched_replies: list.counter(
                "gateway_rpc_unmatched_replies_total",
                "Replies that nobody waited for: late, repeated or foreign.",
            ),
            channels: list.gauges(
                "gateway_confirm_channels",
                "Confirm channels: wanted for many publishes at a time, open altogether.",
                &["state"],
            ),
            connections: list.gauges("gateway_broker_connections", "Connections that are up.", &["role"]),
            dials: list.counters("gateway_broker_dials_total", "Dials of the broker.", &["role", "result"]),
            blocked: list.gauge("gateway_broker_blocked", "1 while the broker blocks publishers, else 0."),
            dropped_log_lines: list.counter(
                "gateway_log_lines_dropped_total",
                "Lines of the log dropped because nobody read them fast enough.",
            ),
            registry: list.0,
        }
    }
}

impl Metrics {
    /// All of it in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

/// What has been registered so far. Names and labels are constants, so nothing here fails but by a
/// defect, which the first test that starts a gateway would show.
struct Registered(Registry);

impl Registered {
    fn add<C: Collector + 'static>(&self, collector: C) {
        if let Err(error) = self.0.register(Box::new(collector)) {
            panic!("the list of metrics is wrong: {error}");
        }
    }

    fn keep<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let metric = made.unwrap_or_else(|error| panic!("the list of metrics is wrong: {error}"));
        self.add(metric.clone());
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.keep(Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.keep(HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels))
    }
}
