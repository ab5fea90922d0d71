//! The state that all handlers share: cheap handles, and the limits that they apply.

mod permitted_broker;

use std::ops::Deref;
use std::sync::Arc;

pub(super) use self::permitted_broker::{PermittedBroker, PermittedPublish};
use super::admission::AdmissionControl;
use super::caller::Authentication;
use super::endpoints::topology::TopologyTurns;
use super::idempotency::IdempotencyKeys;
use super::{Limits, Settings};
use crate::broker::{Broker, Observed};
use crate::domain::names::{QueueName, ShortText};
use crate::metrics::Metrics;
use crate::telemetry::DroppedLines;

/// State of the router. It is one handle, because axum clones it for every request.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The content of the handle.
pub struct Shared {
    /// The handle of the broker side. Handlers get it for the caller of their request only, see [`PermittedBroker`].
    broker: Broker,
    authentication: Authentication,
    limits: Limits,
    /// Whether published messages have the name of their principal.
    stamps: bool,
    /// The idempotency keys of publishes.
    pub(super) idempotency: IdempotencyKeys,
    /// The turns of topology documents.
    pub(super) topology_turns: TopologyTurns,
    health_queues: Vec<QueueName>,
    rpc_status_header: bool,
    cloudevents_prefix: ShortText,
    /// The sources of `/metrics`.
    pub metric_sources: MetricSources,
}

/// The sources of `/metrics`: the counters and the present values.
pub struct MetricSources {
    /// The counters, and the gauges to set.
    pub metrics: Metrics,
    /// Requests and bytes in flight.
    pub admission: AdmissionControl,
    /// Lines that the log dropped.
    pub dropped_log_lines: Option<DroppedLines>,
}

impl AppState {
    /// State for these settings.
    #[must_use]
    pub fn new(
        broker: Broker,
        authentication: Authentication,
        settings: &Settings,
        metric_sources: MetricSources,
    ) -> Self {
        Self(Arc::new(Shared {
            broker,
            authentication,
            idempotency: IdempotencyKeys::new(settings.idempotency, metric_sources.metrics.clone()),
            topology_turns: TopologyTurns::new(settings.limits.max_topology_documents),
            limits: settings.limits.clone(),
            stamps: settings.stamp_principal,
            health_queues: settings.health_queues.clone(),
            rpc_status_header: settings.rpc_status_header,
            cloudevents_prefix: settings.cloudevents_prefix.clone(),
            metric_sources,
        }))
    }
}

impl Shared {
    /// The state of the broker side, which needs the permission of its operation only.
    #[must_use]
    pub fn observed(&self) -> Observed<'_> {
        self.broker.observed()
    }

    /// The `user_id` that callers may give to their messages: the gateway's own user, or none. With authentication none, because a
    /// replica of the gateway recognises the requests of the others by it.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.broker.user().filter(|_| self.authentication.common_caller().is_some())
    }

    /// Whether a reply's `x-http-status` header sets the HTTP status.
    #[must_use]
    pub fn rpc_status_header(&self) -> bool {
        self.rpc_status_header
    }

    /// The beginning of the name of each header that is an attribute of a CloudEvent.
    #[must_use]
    pub fn cloudevents_prefix(&self) -> &str {
        self.cloudevents_prefix.as_str()
    }

    /// Bounds of a request.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Queues that `/health/rabbitmq` always names.
    #[must_use]
    pub fn health_queues(&self) -> &[QueueName] {
        &self.health_queues
    }
}
