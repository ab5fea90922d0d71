//! The layers that every request passes, in one list.
//!
//! Owns the rules that do not depend on an endpoint: request ids, log lines, validation of the header, browsers, admission.
//! Guarantees that every error becomes a problem. Never reads a body.

mod admission;
mod browser;
mod door;
mod entered;
mod forwarded;
mod identify;
mod log_line;
mod lost;

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use tower::{Layer, Service, service_fn};
use tower_http::cors::CorsLayer;

pub use self::admission::{Admission, Gate};
use self::browser::{Origins, is_for_cors};
use self::door::Door;
pub(super) use self::door::too_large;
use self::entered::Entered;
use self::forwarded::Prefixes;
use self::identify::Identified;
pub use self::identify::IsReply;
use super::problem::{Problem, ProblemType};
use crate::http::routes::{Route, RouteTable, Traits};
use crate::http::server::{Answering, Application};
use crate::http::{Access, Limits};
use crate::metrics::Metrics;
use crate::telemetry::panics::{self, Caught};

/// The settings of the layers.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The address that the gateway is bound to. When it is a loopback address, the `Host` must be loopback too.
    pub listen: SocketAddr,
    /// Pages, hosts and proxies that may use the gateway.
    pub access: Access,
    /// Bytes of one request's header.
    pub max_header_bytes: usize,
    /// Bytes of one body.
    pub max_body_bytes: usize,
}

impl Rules {
    /// The rules for a gateway that listens on `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr, access: &Access, limits: &Limits) -> Self {
        Self {
            listen,
            access: access.clone(),
            max_header_bytes: limits.max_header_bytes,
            max_body_bytes: limits.max_body_bytes,
        }
    }
}

/// The layers that every request passes, the outermost first:
///
/// 1. Identification gives the request its id. It is first, so that every answer has the id, is counted and has one log line.
///    It also writes the body of a problem.
/// 2. The panic handler turns a panic into a problem.
/// 3. The browser rules refuse foreign pages before another layer reads their request.
/// 4. CORS is outside of the layers below, which may refuse a request, so that an allowed page can read the refusal.
/// 5. `door` refuses malformed HTTP before a handler sees it.
/// 6. Admission limits the requests and bytes in flight. Health checks, metrics and pages need no admission.
/// 7. The router finds the handler. Without one, the answer names the nearest path or the allowed methods.
///
/// The layers are one function in front of the router, because axum puts each layer into boxes of its own and clones them for
/// each request.
#[derive(Debug)]
pub struct Layered(Arc<List>);

#[derive(Debug)]
struct List {
    table: RouteTable,
    metrics: Metrics,
    origins: Origins,
    prefixes: Prefixes,
    cors: Option<CorsLayer>,
    door: Door,
    gate: Gate,
    router: Router,
}

impl Layered {
    /// Puts the layers in front of a router with these routes. The answer for every other path is `not-found`.
    #[must_use]
    pub fn new(router: Router, table: RouteTable, rules: &Rules, metrics: &Metrics, gate: Gate) -> Self {
        let router = router.method_not_allowed_fallback(lost::method_not_allowed);
        Self(Arc::new(List {
            table,
            metrics: metrics.clone(),
            origins: Origins::new(rules),
            prefixes: Prefixes::new(&rules.access),
            cors: browser::cors_layer(&rules.access.allowed_origins),
            door: Door { max_header_bytes: rules.max_header_bytes, max_body_bytes: rules.max_body_bytes },
            gate,
            router,
        }))
    }
}

impl Application for Layered {
    /// Answers a request. Every error is a problem.
    fn answer(
        &self,
        mut request: Request,
        peer: SocketAddr,
    ) -> Answering<impl Future<Output = Response> + Send + use<>> {
        let list = &self.0;
        let route = list.table.of(request.uri().path());
        let prefix = list.prefixes.of(request.headers(), peer.ip());
        if !prefix.is_none() {
            request.extensions_mut().insert(prefix.clone());
        }
        let traits = route.traits(request.method());
        let identified = Identified::new(&list.metrics, route, traits, &request, prefix);
        let outlives = traits.finishes_without_caller;
        let begun =
            identified.span().in_scope(|| panics::catch(|| list.check_origin(request, route, traits)));
        // An async block would hold memory for the handler twice.
        let response = match begun.unwrap_or_else(|panic| Either::Right(on_panic(&panic))) {
            Either::Left((handler, admission)) => {
                Either::Left(Entered::new(handler, identified, admission, outlives))
            }
            Either::Right(refusal) => Either::Right(ready(identified.end(refusal))),
        };
        Answering { response, finishes_without_client: outlives }
    }

    fn too_many_connections(&self) -> Response<Bytes> {
        let problem = Problem::new(
            ProblemType::Overloaded,
            "the gateway has as many connections as GATEWAY_MAX_CONNECTIONS allows",
        );
        identify::answer_unread(problem.below(self.0.prefixes.configured()))
    }
}

/// A handler that has begun, with the admission of its request; or the refusal.
type Begun = Either<(BoxFuture<'static, Response>, Option<Admission>), Response>;

impl List {
    fn check_origin(&self, request: Request, route: &Arc<Route>, traits: Traits) -> Begun {
        match self.origins.check(&request, traits) {
            Ok(()) => self.with_cors(request, route, traits),
            Err(problem) => Either::Right(browser::refusal(problem)),
        }
    }

    fn with_cors(&self, request: Request, route: &Arc<Route>, traits: Traits) -> Begun {
        let Some(cors) = self.cors.as_ref().filter(|_| is_for_cors(&request)) else {
            return self.enter(request, route, traits);
        };
        let rest = service_fn(|request| {
            let answer = match self.enter(request, route, traits) {
                Either::Left((handler, admission)) => Either::Left(handler.inspect(|_| drop(admission))),
                Either::Right(refusal) => Either::Right(ready(refusal)),
            };
            answer.map(Ok)
        });
        Either::Left((cors.layer(rest).call(request).map(infallible).boxed(), None))
    }

    fn enter(&self, mut request: Request, route: &Arc<Route>, traits: Traits) -> Begun {
        let admission = match self.admit(&mut request, traits) {
            Ok(admission) => admission,
            Err(problem) => return Either::Right(problem.into_response()),
        };
        if !self.table.is_served(route) {
            return Either::Right(lost::not_found(&request, &self.table).into_response());
        }
        let handler = match route.direct(request.method()) {
            Some(direct) => direct.call(request),
            None => self.call_router(request, route).boxed(),
        };
        Either::Left((handler, admission))
    }

    /// Calls a clone of axum's router, which is always ready and shares its state with all clones.
    fn call_router(&self, request: Request, route: &Arc<Route>) -> impl Future<Output = Response> + use<> {
        let (route, method) = (Arc::clone(route), request.method().clone());
        let answer = self.router.clone().call(request);
        answer.map(move |answer| lost::name_methods(infallible(answer), &route, &method))
    }

    fn admit(&self, request: &mut Request, traits: Traits) -> Result<Option<Admission>, Problem> {
        self.door.check(request)?;
        traits.is_admitted.then(|| self.gate.admit(request)).transpose()
    }
}

fn infallible(answer: Result<Response, Infallible>) -> Response {
    let Ok(response) = answer;
    response
}

fn on_panic(panic: &Caught) -> Response {
    let place = panic.place.as_deref().unwrap_or("an unknown place");
    Problem::internal(format!("a handler panicked: {}, at {place}", panic.message)).into_response()
}
