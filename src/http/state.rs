//! What handlers share: cheap handles, and the limits they apply.

use std::sync::Arc;

use super::{Limits, Settings};
use crate::broker::Broker;
use crate::domain::names::QueueName;

/// State of the router.
#[derive(Clone)]
pub struct AppState {
    /// The broker.
    pub broker: Broker,
    limits: Arc<Limits>,
    health_queues: Arc<[QueueName]>,
}

impl AppState {
    /// State for these settings.
    #[must_use]
    pub fn new(broker: Broker, settings: &Settings) -> Self {
        let limits = Arc::new(settings.limits.clone());
        Self { broker, limits, health_queues: settings.health_queues.clone().into() }
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
