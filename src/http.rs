//! The HTTP side: it parses each request into valid values, calls the broker side, and writes the answer.
//!
//! `routes.rs` has the table of operations, `layers.rs` the layers that every request passes. Only `error.rs` decides which
//! problem an error of the broker side becomes.

pub mod admission;
mod audit;
mod caller;
mod codec;
mod docs;
mod endpoints;
mod error;
mod header_names;
mod idempotency;
pub mod layers;
mod media_type;
mod nearest;
pub mod openapi;
pub mod problem;
mod quote;
pub mod request;
mod reserved_name;
pub mod routes;
pub mod server;
mod settings;
mod state;

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use self::admission::AdmissionControl;
pub use self::audit::note_reload;
pub use self::caller::Authentication;
pub use self::docs::PAGE as SWAGGER_UI;
pub use self::endpoints::topology::topology_document;
use self::layers::{LayerSettings, LayeredRouter};
use self::routes::{RouteTable, Traits};
pub use self::server::ConnectionLimits;
pub use self::settings::{Access, AuditLevel, Deadline, IdempotencyLimits, Limits, PullLimits, Settings};
use self::state::{AppState, MetricSources};
use crate::broker::Broker;
use crate::domain::permission::Permission;
use crate::metrics::Metrics;
use crate::telemetry::DroppedLines;

/// The routers of the listeners of one process, which share their state and their limits.
pub struct Routers {
    state: AppState,
    authentication: Authentication,
    access: Access,
    audit: AuditLevel,
    metrics: Metrics,
    admission: AdmissionControl,
}

impl Routers {
    /// Routers with these settings.
    #[must_use]
    pub fn new(
        broker: Broker,
        authentication: Authentication,
        settings: &Settings,
        metrics: &Metrics,
        admission: AdmissionControl,
        dropped_log_lines: Option<DroppedLines>,
    ) -> Self {
        let metric_sources =
            MetricSources { metrics: metrics.clone(), admission: admission.clone(), dropped_log_lines };
        let state = AppState::new(broker, authentication.clone(), settings, metric_sources);
        Self {
            state,
            authentication,
            access: settings.access.clone(),
            audit: settings.audit,
            metrics: metrics.clone(),
            admission,
        }
    }

    /// The router of the callers, at this bound address. With `has_admin`, the state of the gateway is only at the address for
    /// administration.
    #[must_use]
    pub fn for_callers(&self, listen: SocketAddr, has_admin: bool) -> LayeredRouter {
        let is_served = |traits: Traits| !(has_admin && traits.permission == Permission::Monitoring);
        let mut table = RouteTable::default();
        routes::pages().for_each(|(path, traits)| table.add(path, traits));
        self.layered((pages(), table), is_served, listen, self.authentication.clone())
    }

    /// The router of the address for administration: health checks and metrics, without credentials.
    #[must_use]
    pub fn for_admin(&self, listen: SocketAddr) -> LayeredRouter {
        let is_served =
            |traits: Traits| matches!(traits.permission, Permission::Open | Permission::Monitoring);
        let open = Authentication::new(None, "");
        self.layered((Router::new(), RouteTable::default()), is_served, listen, open)
    }

    fn layered(
        &self,
        (pages, mut table): (Router, RouteTable),
        is_served: impl Fn(Traits) -> bool,
        listen: SocketAddr,
        authentication: Authentication,
    ) -> LayeredRouter {
        let served = routes::operations().into_iter().filter(|operation| is_served(operation.traits()));
        let operations = served.fold(OpenApiRouter::new(), |router, operation| {
            operation.add_to(&mut table, &self.state);
            router.routes(operation.handler)
        });
        let (operations, _) = operations.with_state(self.state.clone()).split_for_parts();
        let settings = LayerSettings::new(listen, &self.access, self.state.limits(), self.audit);
        let limits = (authentication, self.admission.clone());
        LayeredRouter::new(pages.merge(operations), table, &settings, &self.metrics, limits)
    }
}

fn pages() -> Router {
    docs::router().merge(problem::page::router()).route("/openapi.json", get(openapi::serve))
}
