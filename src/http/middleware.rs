//! What every request passes, as one list.
//!
//! Owns the rules that need no knowledge of an endpoint: request ids, log lines, well-formedness, browsers,
//! admission. Promises that every error leaves as a problem. Never reads a body.

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
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
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
use super::problem::Problem;
use crate::domain::path_prefix::PathPrefix;
use crate::http::routes::{Route, RouteTable, Traits};
use crate::http::{Access, Limits};
use crate::metrics::Metrics;
use crate::telemetry::panics::{self, Caught};

/// What the list is built from.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where the gateway really listens: on loopback the `Host` must be loopback too.
    pub listen: SocketAddr,
    /// Which pages, hosts and proxies may be in front of it.
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

/// The list that every request passes, from the top:
///
/// 1. It gets its id first, so that every answer has the id and one log line, is counted, and has its problem written
///    out.
/// 2. Panics are caught right below it: they become problems like any other.
/// 3. Foreign pages are turned away before anything else looks at what they sent.
/// 4. CORS stands outside of what may refuse, so that an allowed page can read the refusal.
/// 5. The door refuses what is not well-formed HTTP before a handler sees it.
/// 6. Admission limits the requests and bytes in flight; health, metrics and pages stay outside of it.
/// 7. The router finds the handler, or the answer says which path or method was meant.
///
/// It is one function in front of the router, because axum puts each layer into boxes of its own and clones those for each
/// request.
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
    /// Puts the list in front of a router, whose routes these are. It answers `not-found` for every other path.
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

    /// The route of a path.
    #[must_use]
    pub fn route(&self, path: &str) -> &Arc<Route> {
        self.0.table.of(path)
    }

    /// The path prefix of an answer that is given without a look at the request.
    #[must_use]
    pub fn path_prefix(&self) -> &PathPrefix {
        self.0.prefixes.configured()
    }

    /// Answers a request of this route, which came from `peer`; every error is a problem.
    pub fn answer(
        &self,
        mut request: Request,
        route: &Arc<Route>,
        peer: IpAddr,
    ) -> impl Future<Output = Response> + Send + use<> {
        let list = &self.0;
        let prefix = list.prefixes.of(request.headers(), peer);
        if !prefix.is_none() {
            request.extensions_mut().insert(prefix.clone());
        }
        let identified = Identified::new(&list.metrics, route, &request, prefix);
        let outlives = route.outlives_its_caller(request.method());
        let begun = identified.span().in_scope(|| panics::catch(|| list.check_origin(request, route)));
        // An async block would have room for the handler twice.
        match begun.unwrap_or_else(|panic| Either::Right(on_panic(&panic))) {
            Either::Left((handler, admission)) => {
                Either::Left(Entered::new(handler, identified, admission, outlives))
            }
            Either::Right(refusal) => Either::Right(ready(identified.end(refusal))),
        }
    }
}

/// A handler that has begun and the request's place among those in flight, or the refusal.
type Begun = Either<(BoxFuture<'static, Response>, Option<Admission>), Response>;

impl List {
    fn check_origin(&self, request: Request, route: &Arc<Route>) -> Begun {
        match self.origins.check(&request, route.traits()) {
            Ok(()) => self.with_cors(request, route),
            Err(problem) => Either::Right(browser::refusal(problem)),
        }
    }

    fn with_cors(&self, request: Request, route: &Arc<Route>) -> Begun {
        let Some(cors) = self.cors.as_ref().filter(|_| is_for_cors(&request)) else {
            return self.enter(request, route);
        };
        let rest = service_fn(|request| {
            let answer = match self.enter(request, route) {
                Either::Left((handler, admission)) => Either::Left(handler.inspect(|_| drop(admission))),
                Either::Right(refusal) => Either::Right(ready(refusal)),
            };
            answer.map(Ok)
        });
        Either::Left((cors.layer(rest).call(request).map(infallible).boxed(), None))
    }

    fn enter(&self, mut request: Request, route: &Arc<Route>) -> Begun {
        let admission = match self.admit(&mut request, route.traits()) {
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

    /// axum's router is always ready, and its clones are one.
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
