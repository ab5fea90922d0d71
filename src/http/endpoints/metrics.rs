//! `GET /metrics`, for Prometheus.

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::broker::{LeaseState, Observed, Publishing};
use crate::http::state::{AppState, MetricSources};
use crate::metrics::{ConsumeMetrics, Metrics};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Metrics in Prometheus' text format
///
/// Never asks RabbitMQ.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "read_metrics",
    tag = "health",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub(in crate::http) async fn read_metrics(State(state): State<AppState>) -> Response {
    let MetricSources { metrics, admission, dropped_log_lines } = &state.metric_sources;
    set(&metrics.requests_in_flight, admission.requests_in_flight());
    set(&metrics.bulk.streams, admission.open_streams());
    set(&metrics.consume.waiting, admission.waiting_pulls());
    set(&metrics.bytes_in_flight, admission.bytes_in_flight());
    set(&metrics.idempotency.keys, state.idempotency.count());
    read_broker(metrics, state.observed());
    if let Some(dropped) = dropped_log_lines {
        let new = (dropped.count() as u64).saturating_sub(metrics.process.dropped_log_lines.get());
        metrics.process.dropped_log_lines.inc_by(new);
    }
    ([(CONTENT_TYPE, TEXT)], metrics.text()).into_response()
}

fn read_broker(metrics: &Metrics, broker: Observed<'_>) {
    let Publishing { blocked, lanes, channels, in_flight, waiting, overdue, .. } = broker.publishing();
    set(&metrics.blocked, usize::from(blocked.is_some()));
    set(&metrics.publishes_in_flight, in_flight);
    set(&metrics.publishes_waiting, waiting);
    set(&metrics.overdue, overdue);
    for (state, count) in [("wanted", lanes), ("open", channels)] {
        set(&metrics.channels.with_label_values(&[state]), count);
    }
    for role in broker.roles() {
        set(&metrics.connections.with_label_values(&[role.name]), role.connected);
    }
    let replies = broker.replies();
    set(&metrics.pending_replies, replies.waiting);
    set(&metrics.reply_queue, usize::from(replies.ready));
    read_leases(&metrics.consume, &broker.leases());
    let has_failed = broker.topology_file().is_some_and(|file| file.failure.is_some());
    set(&metrics.topology_file_failed, usize::from(has_failed));
}

fn read_leases(metrics: &ConsumeMetrics, leases: &LeaseState) {
    set(&metrics.leases, leases.held);
    set(&metrics.leases_limit, leases.limit);
    set(&metrics.bytes, leases.bytes);
    set(&metrics.bytes_limit, leases.bytes_limit);
}

fn set(gauge: &prometheus::IntGauge, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
