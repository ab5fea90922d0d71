//! The HTTP side: it parses each request into valid values, calls the broker side, and writes the answer.
//!
//! `routes.rs` has the table of operations, `layers.rs` the layers that every request passes. Only `error.rs` decides which
//! problem an error of the broker side becomes.

pub mod admission;
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
pub use self::docs::PAGE as SWAGGER_UI;
pub use self::endpoints::topology::topology_document;
use self::layers::{LayerSettings, LayeredRouter};
use self::routes::RouteTable;
pub use self::server::ConnectionLimits;
pub use self::settings::{Access, Deadline, IdempotencyLimits, Limits, PullLimits, Settings};
use self::state::{AppState, MetricSources};
use crate::broker::Broker;
use crate::metrics::Metrics;
use crate::telemetry::DroppedLines;

/// The router of the gateway and the layers in front of it. `listen` is the bound address.
#[must_use]
pub fn layered(
    broker: Broker,
    settings: &Settings,
    listen: SocketAddr,
    metrics: &Metrics,
    admission: AdmissionControl,
    dropped_log_lines: Option<DroppedLines>,
) -> LayeredRouter {
    let metric_sources =
        MetricSources { metrics: metrics.clone(), admission: admission.clone(), dropped_log_lines };
    let state = AppState::new(broker, settings, metric_sources);
    let layer_settings = LayerSettings::new(listen, &settings.access, &settings.limits);
    let mut table = RouteTable::default();
    routes::pages().for_each(|(path, traits)| table.add(path, traits));
    let operations = routes::operations().into_iter().fold(OpenApiRouter::new(), |router, operation| {
        operation.add_to(&mut table, &state);
        router.routes(operation.handler)
    });
    let (operations, _) = operations.with_state(state).split_for_parts();
    LayeredRouter::new(pages().merge(operations), table, &layer_settings, metrics, admission)
}

fn pages() -> Router {
    docs::router().merge(problem::page::router()).route("/openapi.json", get(openapi::serve))
}
