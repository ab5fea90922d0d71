//! What every request passes, as one list.
//!
//! Owns the rules that need no knowledge of an endpoint: request ids, log lines, well-formedness, browsers,
//! admission. Promises that every error leaves as a problem. Never reads a body.

mod admission;
mod browser;
mod door;
mod identify;
mod log_line;

use std::any::Any;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::validate_request::ValidateRequestHeaderLayer;

pub use self::admission::{Admission, Gate};
use self::browser::Origins;
use self::door::Door;
pub(super) use self::door::too_large;
pub use self::identify::{IsReply, RequestId};
use super::problem::{Problem, ProblemType};
use crate::http::Limits;
use crate::metrics::Metrics;

/// What the list is built from.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where the gateway really listens: on loopback the `Host` must be loopback too.
    pub listen: SocketAddr,
    /// Origins, other than the gateway's own, whose pages may call it.
    pub allowed_origins: Vec<String>,
    /// Bytes of one request's header.
    pub max_header_bytes: usize,
    /// Bytes of one body.
    pub max_body_bytes: usize,
}

impl Rules {
    /// The rules for a gateway that listens on `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr, allowed_origins: &[String], limits: &Limits) -> Self {
        Self {
            listen,
            allowed_origins: allowed_origins.to_vec(),
            max_header_bytes: limits.max_header_bytes,
            max_body_bytes: limits.max_body_bytes,
        }
    }
}

/// Puts the list around a whole router. The first layer is the outermost.
///
/// 1. `identify` comes first, so that every answer has the id, one log line, is counted, and has its problem
///    written out.
/// 2. Panics are caught right below it: they become problems like any other.
/// 3. Foreign pages are turned away before anything else looks at what they sent.
/// 4. CORS stands outside of what may refuse, so that an allowed page can read the refusal.
/// 5. The door refuses what is not well-formed HTTP before a handler sees it.
///
/// Admission comes after all of these, on the routes that [`admit`] was given.
pub fn apply(router: Router, rules: &Rules, metrics: Metrics) -> Router {
    let cors = browser::cors_layer(&rules.allowed_origins);
    let door = Door { max_header_bytes: rules.max_header_bytes, max_body_bytes: rules.max_body_bytes };
    let stack = ServiceBuilder::new()
        .layer(from_fn_with_state(metrics, identify::identify))
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(ValidateRequestHeaderLayer::custom(Origins::new(rules)))
        .option_layer(cors.map(|cors| from_fn_with_state(cors, browser::cors)))
        .layer(ValidateRequestHeaderLayer::custom(door));
    router.fallback(not_found).method_not_allowed_fallback(method_not_allowed).layer(stack)
}

/// Puts the limits on requests and bytes in flight around `router`; health and metrics stay outside of them.
pub fn admit(router: Router, gate: Gate) -> Router {
    router.route_layer(from_fn_with_state(gate, admission::admit))
}

async fn not_found() -> Problem {
    Problem::new(ProblemType::NotFound, "nothing is served under this path")
}

/// axum adds the `Allow` header to whatever this answers.
async fn method_not_allowed(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let detail = format!("this path does not know the method {}", request.method());
    Problem::new(ProblemType::MethodNotAllowed, detail).into_response()
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is tower-http's")]
fn on_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    Problem::internal(format!("a handler panicked: {}", text.unwrap_or("no text"))).into_response()
}
