//! The layers that every request passes, in one list.
//!
//! Owns the rules that do not depend on an endpoint: request ids, log lines, validation of the header, browsers, admission.
//! Guarantees that every error becomes a problem. Never reads a body.

mod audit;
mod authorization;
mod browser;
mod forwarded;
mod identify;
mod log_line;
mod running_handler;
mod settings;
mod unmatched;
mod validation;

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

use self::audit::Audited;
use self::authorization::authorize;
use self::browser::{Origins, is_for_cors};
use self::forwarded::Prefixes;
use self::identify::Identified;
pub use self::identify::IsReply;
use self::running_handler::{RunningHandler, on_panic};
pub use self::settings::LayerSettings;
use self::validation::Validation;
use super::admission::{AdmissionControl, RequestPermit};
use super::audit::AuditLog;
use super::caller::{Authentication, Caller};
use super::problem::{Problem, ProblemType};
use crate::fairness::Holder;
use crate::http::routes::{Admission, Route, RouteTable, Traits};
use crate::http::server::{Answering, Application};
use crate::metrics::Metrics;
use crate::telemetry::panics;

/// The layers that every request passes, the outermost first:
///
/// 1. Identification gives the request its id. It is first, so that every answer has the id, is counted and has one log line.
///    It also writes the body of a problem.
/// 2. The panic handler turns a panic into a problem.
/// 3. The browser rules refuse foreign pages before another layer reads their request.
/// 4. CORS is outside of the layers below, which may refuse a request, so that an allowed page can read the refusal.
/// 5. Validation refuses malformed HTTP before a handler sees it.
/// 6. Authorization finds the caller of a request, and refuses one without permission before a body is read or a limit is touched.
/// 7. Admission limits the requests and bytes in flight, and gives each principal its fair share of them. Health checks, metrics and pages need no admission.
/// 8. The handler is called, directly or by axum's router. Without one, the answer names the nearest path or the allowed methods.
///
/// The layers are one function in front of the router, because axum puts each layer into boxes of its own and clones them for
/// each request.
#[derive(Debug)]
pub struct LayeredRouter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    table: RouteTable,
    metrics: Metrics,
    origins: Origins,
    prefixes: Prefixes,
    cors: Option<CorsLayer>,
    validation: Validation,
    authentication: Authentication,
    audit: Arc<AuditLog>,
    admission: AdmissionControl,
    router: Router,
}

impl LayeredRouter {
    /// Puts the layers in front of a router with these routes. The answer for every other path is `not-found`.
    #[must_use]
    pub fn new(
        router: Router,
        table: RouteTable,
        settings: &LayerSettings,
        metrics: &Metrics,
        (authentication, admission): (Authentication, AdmissionControl),
    ) -> Self {
        let router = router.method_not_allowed_fallback(unmatched::method_not_allowed);
        Self(Arc::new(Inner {
            table,
            metrics: metrics.clone(),
            origins: Origins::new(settings),
            prefixes: Prefixes::new(&settings.access),
            cors: browser::cors_layer(&settings.access.allowed_origins),
            validation: Validation {
                max_header_bytes: settings.max_header_bytes,
                max_body_bytes: settings.max_body_bytes,
            },
            authentication,
            audit: AuditLog::new(settings.audit),
            admission,
            router,
        }))
    }
}

impl Application for LayeredRouter {
    /// Answers a request. Every error is a problem.
    fn answer(
        &self,
        mut request: Request,
        peer: SocketAddr,
    ) -> Answering<impl Future<Output = Response> + Send + use<>> {
        let layers = &self.0;
        let route = layers.table.of(request.uri().path());
        let prefix = layers.prefixes.of(request.headers(), peer.ip());
        if !prefix.is_none() {
            request.extensions_mut().insert(prefix.clone());
        }
        let traits = route.traits(request.method());
        let mut audited = Audited::of(&layers.audit, traits, &request);
        let mut identified = Identified::new(&layers.metrics, route, traits, &request, prefix);
        let finishes_without_caller = traits.finishes_without_caller;
        let mut caller = None;
        let id = identified.id();
        let entry = Entry { route, traits, id, caller: &mut caller, audited: &mut audited };
        let begun = identified.span().in_scope(|| panics::catch(|| layers.begin(request, entry)));
        identified.audit(audited);
        // An async block would hold memory for the handler twice.
        let response = match begun.unwrap_or_else(|panic| Either::Right(on_panic(&panic))) {
            Either::Left((handler, permit)) => {
                Either::Left(RunningHandler::new(handler, identified, permit, finishes_without_caller))
            }
            Either::Right(refusal) => Either::Right(ready(identified.end(refusal))),
        };
        let has_endless_body = traits.admission == Admission::Stream;
        Answering { response, finishes_without_client: finishes_without_caller, has_endless_body }
    }

    fn too_many_connections(&self) -> Response<Bytes> {
        let problem = Problem::new(
            ProblemType::Overloaded,
            "the gateway has as many connections as GATEWAY_MAX_CONNECTIONS allows",
        );
        identify::answer_unread(problem.with_path_prefix(self.0.prefixes.configured()))
    }
}

/// A request on its way through the layers.
struct Entry<'a> {
    route: &'a Arc<Route>,
    traits: Traits,
    id: &'a str,
    /// Its caller, once it is known.
    caller: &'a mut Option<Caller>,
    /// The part of it that the audit log may tell.
    audited: &'a mut Option<Audited>,
}

impl Entry<'_> {
    /// Tells the audit log the principal, and gives the handler a place for its notes.
    fn audit(&mut self, request: &mut Request, authorized: Result<&Holder, &Problem>) {
        let Some(audited) = self.audited else { return };
        audited.set_principal(match authorized {
            Ok(holder) => holder.name().cloned(),
            // Also the owner of a key that the gateway no longer accepts.
            Err(_) => self.caller.as_ref().and_then(Caller::name),
        });
        audited.follow(request, self.traits, self.id, self.route);
    }
}

/// A handler that has begun, with the permit of its request; or the answer to a refused request.
type HandlerOrRefusal = Either<(BoxFuture<'static, Response>, Option<RequestPermit>), Response>;

impl Inner {
    /// Passes the request through the layers and begins its handler.
    fn begin(&self, request: Request, mut entry: Entry<'_>) -> HandlerOrRefusal {
        match self.origins.check(&request, entry.traits) {
            Ok(()) => self.begin_with_cors(request, &mut entry),
            Err(problem) => Either::Right(browser::refusal(problem)),
        }
    }

    fn begin_with_cors(&self, request: Request, entry: &mut Entry<'_>) -> HandlerOrRefusal {
        let Some(cors) = self.cors.as_ref().filter(|_| is_for_cors(&request)) else {
            return self.begin_handler(request, entry);
        };
        let rest = service_fn(|request| {
            let answer = match self.begin_handler(request, entry) {
                Either::Left((handler, permit)) => Either::Left(handler.inspect(|_| drop(permit))),
                Either::Right(refusal) => Either::Right(ready(refusal)),
            };
            answer.map(Ok)
        });
        Either::Left((cors.layer(rest).call(request).map(infallible).boxed(), None))
    }

    fn begin_handler(&self, mut request: Request, entry: &mut Entry<'_>) -> HandlerOrRefusal {
        let permit = match self.check_and_admit(&mut request, entry) {
            Ok(permit) => permit,
            Err(problem) => return Either::Right(problem.into_response()),
        };
        let route = entry.route;
        if !self.table.is_served(route) {
            return Either::Right(unmatched::not_found(&request, &self.table).into_response());
        }
        let handler = match route.direct(request.method()) {
            Some(direct) => direct.call(request),
            None => self.call_router(request, route).boxed(),
        };
        Either::Left((handler, permit))
    }

    /// Calls a clone of axum's router, which is always ready and shares its state with all clones.
    fn call_router(&self, request: Request, route: &Arc<Route>) -> impl Future<Output = Response> + use<> {
        let (route, method) = (Arc::clone(route), request.method().clone());
        let answer = self.router.clone().call(request);
        answer.map(move |answer| unmatched::name_methods(infallible(answer), &route, &method))
    }

    fn check_and_admit(
        &self,
        request: &mut Request,
        entry: &mut Entry<'_>,
    ) -> Result<Option<RequestPermit>, Problem> {
        let traits = entry.traits;
        self.validation.check(request, traits.admission == Admission::Stream)?;
        let authorized = authorize(&self.authentication, request, traits.permission, entry.caller);
        entry.audit(request, authorized.as_ref());
        let holder = authorized?;
        match traits.admission {
            Admission::None => Ok(None),
            Admission::Request => self.admission.admit(request, holder).map(Some),
            Admission::Stream => self.admission.admit_stream(request, holder).map(Some),
            Admission::Pull => self.admission.admit_pull(request, holder).map(Some),
        }
    }
}

fn infallible(answer: Result<Response, Infallible>) -> Response {
    let Ok(response) = answer;
    response
}
