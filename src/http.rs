//! The HTTP side: the route table, and the settings of the HTTP layer.
//!
//! Parses each request into valid values before it calls the broker side. Only `error.rs` decides which problem an error of the
//! broker side becomes. Each line of the route table also writes the contract.

mod docs;
mod endpoints;
mod error;
pub mod extract;
mod message;
pub mod middleware;
mod nearest;
pub mod openapi;
pub mod problem;
mod quote;
pub mod routes;
pub mod serve;
mod state;

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use futures_util::future::BoxFuture;
use ipnet::IpNet;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::docs::PAGE as SWAGGER_UI;
use self::endpoints::{health, metrics, publish, queues, rpc};
use self::middleware::{Gate, Layered, Rules};
use self::routes::{Direct, RouteTable, Traits};
use self::state::{AppState, Telling};
use crate::broker::Broker;
use crate::domain::field::HeaderLimits;
use crate::domain::names::QueueName;
use crate::domain::path_prefix::PathPrefix;
use crate::metrics::Metrics;
use crate::telemetry::DroppedLines;

/// A handler of POST requests that the gateway calls without axum's router.
type Post = fn(State<AppState>, Request) -> BoxFuture<'static, Response>;

const SERVED_WHEN_FULL: Traits = Traits {
    is_admitted: false,
    carries_message: false,
    outlives_its_caller: false,
    answers_any_host: false,
    is_page: false,
};
const PAGE: Traits = Traits { is_page: true, ..SERVED_WHEN_FULL };
const PROBE: Traits = Traits { answers_any_host: true, ..SERVED_WHEN_FULL };
const ADMITTED: Traits = Traits { is_admitted: true, ..SERVED_WHEN_FULL };
const CALL: Traits = Traits { carries_message: true, ..ADMITTED };
const PUBLISHING: Traits = Traits { outlives_its_caller: true, ..CALL };

/// Groups of routes with the same traits. The busiest routes also have their handlers here.
fn groups() -> [(OpenApiRouter<AppState>, Traits, Option<Post>); 5] {
    let publishing = OpenApiRouter::new().routes(routes!(publish::publish_message));
    let calls = OpenApiRouter::new().routes(routes!(rpc::call_queue));
    let topology = OpenApiRouter::new()
        .routes(routes!(queues::inspect_queue, queues::declare_queue, queues::delete_queue))
        .routes(routes!(queues::purge_queue));
    let probes = OpenApiRouter::new()
        .routes(routes!(health::check_liveness))
        .routes(routes!(health::check_readiness))
        .routes(routes!(health::check_rabbitmq));
    let operations = OpenApiRouter::new().routes(routes!(metrics::read_metrics));
    [
        (publishing, PUBLISHING, Some(publish::publish_message)),
        (topology, ADMITTED, None),
        (calls, CALL, Some(rpc::call_queue)),
        (probes, PROBE, None),
        (operations, SERVED_WHEN_FULL, None),
    ]
}

/// The router and the middleware of the gateway. `listen` is the bound address.
pub fn layered(
    broker: Broker,
    settings: &Settings,
    listen: SocketAddr,
    metrics: &Metrics,
    gate: Gate,
    dropped_log_lines: Option<DroppedLines>,
) -> Layered {
    let telling = Telling { metrics: metrics.clone(), gate: gate.clone(), dropped_log_lines };
    let state = AppState::new(broker, settings, telling);
    let rules = Rules::new(listen, &settings.access, &settings.limits);
    let mut table = RouteTable::default();
    for page in docs::PATHS.iter().chain(&problem::page::PATHS).chain(&["/openapi.json"]) {
        table.add(page, PAGE, None);
    }
    let mut router =
        docs::router().merge(problem::page::router()).route("/openapi.json", get(openapi::serve));
    for (group, traits, post) in groups() {
        let (group, contract) = group.split_for_parts();
        for path in contract.paths.paths.keys() {
            let state = state.clone();
            let direct = post.map(|post| Direct::new(move |request| post(State(state.clone()), request)));
            table.add(path, traits, direct);
        }
        router = router.merge(group.with_state(state.clone()));
    }
    Layered::new(router, table, &rules, metrics, gate)
}

/// The paths of all groups, for the contract.
fn paths() -> OpenApi {
    let contracts = groups().map(|(group, ..)| group.into_openapi());
    contracts.into_iter().reduce(OpenApi::merge_from).unwrap_or_default()
}

/// Settings of the HTTP side. [`crate::config`] fills them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on; port 0 means a free port.
    pub listen: SocketAddr,
    /// Bounds of connections, and their deadlines.
    pub connections: ConnectionLimits,
    /// Bounds of requests.
    pub limits: Limits,
    /// Pages, hosts and proxies that may use the gateway.
    pub access: Access,
    /// Queues that `/health/rabbitmq` always counts.
    pub health_queues: Vec<QueueName>,
    /// Whether a reply's `x-http-status` header sets the HTTP status.
    pub rpc_status_header: bool,
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

/// Bounds of the accept loop.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Open connections; the gateway answers further ones with 503 and closes them.
    pub max_connections: usize,
    /// From accept to the first byte of the first request.
    pub first_byte_timeout: Duration,
    /// From the first byte of a request to the end of its header.
    pub header_timeout: Duration,
    /// Idle time between two requests on one connection.
    pub keep_alive_timeout: Duration,
    /// How long a client may take no bytes of an answer.
    pub write_timeout: Duration,
    /// Bytes of one body; the gateway refuses a larger chunk before its bytes arrive.
    pub max_body_bytes: usize,
}

/// Bounds of one request and of all requests together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one body.
    pub max_body_bytes: usize,
    /// From the end of the header to the last byte of the body.
    pub body_timeout: Duration,
    /// Bytes of one request's header.
    pub max_header_bytes: usize,
    /// Bytes of bodies in memory, all requests together.
    pub max_bytes_in_flight: usize,
    /// Requests between their header and their answer.
    pub max_requests_in_flight: usize,
    /// Bounds of a message's AMQP header table.
    pub amqp_headers: HeaderLimits,
    /// Deadline of a publish.
    pub publish: Deadline,
    /// Deadline of an RPC call.
    pub rpc: Deadline,
    /// Deadline of a topology operation.
    pub topology: Deadline,
}

/// The default deadline of a request, and the longest that it may ask for by `?timeout=`.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// Deadline without `?timeout=`.
    pub default: Duration,
    /// Largest accepted `?timeout=`.
    pub max: Duration,
}
