//! What every request passes, as one list.
//!
//! Owns the rules that need no knowledge of an endpoint: request ids, log lines, well-formedness, browsers,
//! admission. Promises that every error leaves as a problem. Never reads a body.

mod admission;
mod browser;
mod door;
mod identify;
mod log_line;

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use futures_util::future::Either;
use tower::layer::layer_fn;
use tower::{Service, service_fn};
use tower_http::cors::CorsLayer;
use tracing::Instrument;

pub use self::admission::{Admission, Gate};
use self::browser::{Origins, is_for_cors};
use self::door::Door;
pub(super) use self::door::too_large;
use self::identify::Identified;
pub use self::identify::{IsReply, RequestId};
use self::log_line::RouteCounts;
use super::problem::{Problem, ProblemType};
use crate::http::Limits;
use crate::metrics::Metrics;
use crate::telemetry::panics::{self, Caught};

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

/// The list that every request passes, from the top:
///
/// 1. It gets its id first, so that every answer has the id and one log line, is counted, and has its problem written
///    out.
/// 2. Panics are caught right below it: they become problems like any other.
/// 3. Foreign pages are turned away before anything else looks at what they sent.
/// 4. CORS stands outside of what may refuse, so that an allowed page can read the refusal.
/// 5. The door refuses what is not well-formed HTTP before a handler sees it.
/// 6. Admission limits the requests and bytes in flight; health, metrics and pages stay outside of it.
///
/// It is one layer, because axum puts each one into boxes of its own and clones those for each request.
struct List {
    metrics: Metrics,
    origins: Origins,
    cors: Option<CorsLayer>,
    door: Door,
    gate: Option<Gate>,
}

/// The answer of a service.
type Answer = Result<Response, Infallible>;

/// Puts the list around both routers and makes them one. The requests of the first need admission; the second
/// answers `not-found` for every path that neither serves.
pub fn apply(admitted: Router, others: Router, rules: &Rules, metrics: &Metrics, gate: Gate) -> Router {
    let list = |gate| List {
        metrics: metrics.clone(),
        origins: Origins::new(rules),
        cors: browser::cors_layer(&rules.allowed_origins),
        door: Door { max_header_bytes: rules.max_header_bytes, max_body_bytes: rules.max_body_bytes },
        gate,
    };
    let others = list(None).around(others.fallback(not_found));
    list(Some(gate)).around(admitted).merge(others)
}

impl List {
    fn around(self, router: Router) -> Router {
        let list = Arc::new(self);
        let layer = layer_fn(move |mut route: Route| {
            let (list, counts) = (Arc::clone(&list), Arc::<RouteCounts>::default());
            service_fn(move |request| list.pass(request, &mut route, &counts))
        });
        router.method_not_allowed_fallback(method_not_allowed).layer(layer)
    }

    fn pass(
        &self,
        mut request: Request,
        route: &mut Route,
        counts: &Arc<RouteCounts>,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let identified = Identified::new(&self.metrics, counts, &mut request);
        let span = identified.span().clone();
        let begin = || match self.origins.check(&request) {
            Ok(()) => Either::Left(self.with_cors(request, route)),
            Err(problem) => Either::Right(ready(Ok(browser::refusal(problem)))),
        };
        let rest = span
            .in_scope(|| panics::catch(begin))
            .unwrap_or_else(|panic| Either::Right(ready(Ok(on_panic(&panic)))));
        async move {
            let caught = panics::catch_in(rest).instrument(span).await;
            let response = caught.unwrap_or_else(|panic| Ok(on_panic(&panic)));
            response.map(|response| identified.end(response))
        }
    }

    fn with_cors(&self, request: Request, route: &mut Route) -> impl Future<Output = Answer> + Send + use<> {
        match self.cors.as_ref().filter(|_| is_for_cors(&request)) {
            Some(cors) => {
                let rest = service_fn(|request| self.enter(request, route));
                Either::Left(tower::Layer::layer(cors, rest).call(request))
            }
            None => Either::Right(self.enter(request, route)),
        }
    }

    fn enter(&self, mut request: Request, route: &mut Route) -> impl Future<Output = Answer> + Send + use<> {
        match self.admit(&mut request) {
            Ok(admission) => {
                // A route is always ready.
                let answer = route.call(request);
                Either::Left(async move {
                    let answer = answer.await;
                    drop(admission);
                    answer
                })
            }
            Err(problem) => Either::Right(ready(Ok(problem.into_response()))),
        }
    }

    fn admit(&self, request: &mut Request) -> Result<Option<Admission>, Problem> {
        self.door.check(request)?;
        self.gate.as_ref().map(|gate| gate.admit(request)).transpose()
    }
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

fn on_panic(panic: &Caught) -> Response {
    let place = panic.place.as_deref().unwrap_or("an unknown place");
    Problem::internal(format!("a handler panicked: {}, at {place}", panic.message)).into_response()
}
