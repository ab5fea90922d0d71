//! The one log line of a request, at its end: also when the client left before it.
//!
//! Names the method, the matched route and the status; never a path, a query or a body. So a refusal is named by
//! its kind only: its detail quotes what the caller sent, and the caller has it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use prometheus::{Histogram, IntCounter};
use tracing::{Span, debug, error};

use crate::http::problem::Problem;
use crate::metrics::Metrics;

/// The metrics of the commonest answer of a route, found once.
#[derive(Debug, Default)]
pub struct RouteCounts(OnceLock<Commonest>);

#[derive(Debug)]
struct Commonest {
    route: String,
    method: &'static str,
    ok: OnceLock<IntCounter>,
    seconds: Histogram,
}

/// A line that is still to be written.
#[derive(Debug)]
pub struct LogLine {
    method: Method,
    route: Option<MatchedPath>,
    /// Of the lines within the request, where the log has those for debugging.
    span: Span,
    begun: Instant,
    written: bool,
    metrics: Metrics,
    counts: Arc<RouteCounts>,
}

impl LogLine {
    /// Begins the clock of a request.
    pub fn new(metrics: Metrics, counts: Arc<RouteCounts>, request: &Request, span: Span) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let method = request.method().clone();
        Self { method, route, span, begun: Instant::now(), written: false, metrics, counts }
    }

    /// The span of the lines within the request.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The route that was matched.
    pub fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }

    /// Writes the line: a 5xx that is a problem as an error with its cause, everything else for those who debug. A health
    /// check that says no is an answer, and its caller is told. `with_id` makes a span with the request's id.
    pub fn end(mut self, status: StatusCode, problem: Option<&Problem>, with_id: impl FnOnce() -> Span) {
        self.written = true;
        self.count(status);
        let failed = problem.filter(|_| status.is_server_error());
        if failed.is_some() && self.span.is_none() {
            self.span = with_id();
        }
        let _entered = self.span.enter();
        let (method, route, status) = (self.method.as_str(), self.route(), status.as_u16());
        let elapsed_ms = self.elapsed_ms();
        let kind = problem.map(|problem| problem.kind().name());
        if let Some(problem) = failed {
            let (detail, cause) = (problem.detail(), problem.cause());
            error!(method, route, status, elapsed_ms, problem = kind, detail, cause, "request failed");
        } else if let Some(kind) = kind {
            debug!(method, route, status, elapsed_ms, problem = kind, "request refused");
        } else {
            debug!(method, route, status, elapsed_ms, "request answered");
        }
    }

    fn count(&self, status: StatusCode) {
        let (route, method) = (self.route(), known(&self.method));
        let seconds = self.begun.elapsed().as_secs_f64();
        let counter = || self.metrics.requests.with_label_values(&[route, method, status.as_str()]);
        let commonest = self.counts.0.get_or_init(|| Commonest::of(&self.metrics, route, method));
        if commonest.route == route && commonest.method == method {
            commonest.seconds.observe(seconds);
            if status == StatusCode::OK {
                return commonest.ok.get_or_init(counter).inc();
            }
        } else {
            self.metrics.request_seconds.with_label_values(&[route, method]).observe(seconds);
        }
        counter().inc();
    }

    fn elapsed_ms(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1000.0
    }
}

impl Commonest {
    fn of(metrics: &Metrics, route: &str, method: &'static str) -> Self {
        let seconds = metrics.request_seconds.with_label_values(&[route, method]);
        Self { route: route.to_owned(), method, ok: OnceLock::new(), seconds }
    }
}

/// A client may invent methods; a label may not.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.written {
            let _entered = self.span.enter();
            let (method, route, elapsed_ms) = (self.method.as_str(), self.route(), self.elapsed_ms());
            debug!(method, route, elapsed_ms, "client left before its answer");
        }
    }
}
