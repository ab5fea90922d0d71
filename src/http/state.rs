//! What handlers share: cheap handles, and the limits they apply.

use std::ops::Deref;
use std::sync::Arc;

use super::middleware::Gate;
use super::{Limits, Settings};
use crate::broker::Broker;
use crate::domain::names::QueueName;
use crate::metrics::Metrics;
use crate::telemetry::DroppedLines;

/// State of the router: one handle, for it is cloned with every request.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What the handle holds.
pub struct Shared {
    /// The broker.
    pub broker: Broker,
    limits: Limits,
    health_queues: Vec<QueueName>,
    rpc_status_header: bool,
    /// What `/metrics` tells.
    pub telling: Telling,
}

/// Where `/metrics` reads what is counted, and what is now.
pub struct Telling {
    /// The counters, and the gauges to set.
    pub metrics: Metrics,
    /// Requests and bytes in flight.
    pub gate: Gate,
    /// Lines that the log dropped.
    pub dropped_log_lines: Option<DroppedLines>,
}

impl AppState {
    /// State for these settings.
    #[must_use]
    pub fn new(broker: Broker, settings: &Settings, telling: Telling) -> Self {
        Self(Arc::new(Shared {
            broker,
            limits: settings.limits.clone(),
            health_queues: settings.health_queues.clone(),
            rpc_status_header: settings.rpc_status_header,
            telling,
        }))
    }
}

impl Shared {
    /// Whether a reply's `x-http-status` header sets the HTTP status.
    #[must_use]
    pub fn rpc_status_header(&self) -> bool {
        self.rpc_status_header
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
