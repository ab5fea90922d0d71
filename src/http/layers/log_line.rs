//! Writes the one log line of a request, at its end, also when the client has left before.
//!
//! Names the method, the matched route and the status; never a path, a query or a body. So it names a refusal by its kind only:
//! the detail, which the caller gets, quotes the request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use tracing::{Span, debug, error};

use crate::http::problem::Problem;
use crate::http::routes::Route;
use crate::metrics::Metrics;

/// The line of a request that has not ended.
#[derive(Debug)]
pub struct LogLine {
    method: Method,
    route: Arc<Route>,
    /// The span of the lines within the request, if the log shows DEBUG lines.
    span: Span,
    begun: Instant,
    written: bool,
    metrics: Metrics,
}

impl LogLine {
    /// Starts to measure the time of a request.
    pub fn new(metrics: Metrics, route: Arc<Route>, request: &Request, span: Span) -> Self {
        let method = request.method().clone();
        Self { method, route, span, begun: Instant::now(), written: false, metrics }
    }

    /// The span of the lines within the request.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The path of its route.
    pub fn route(&self) -> &str {
        self.route.path()
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Writes the line: a 5xx problem at ERROR with its cause, all other answers at DEBUG. A failed health check is not a
    /// problem, so its line is at DEBUG too. `with_id` makes a span with the request's id.
    pub fn end(mut self, status: StatusCode, problem: Option<&Problem>, with_id: impl FnOnce() -> Span) {
        self.written = true;
        self.count(status);
        let failed = problem.filter(|_| status.is_server_error());
        if failed.is_some() && self.span.is_none() {
            self.span = with_id();
        }
        let _entered = self.span.enter();
        let (method, route, status) = (self.method.as_str(), self.route.path(), status.as_u16());
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
        self.route.count(&self.metrics, &self.method, status, self.begun.elapsed());
    }

    fn elapsed_ms(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1000.0
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.written {
            let _entered = self.span.enter();
            let (method, route, elapsed_ms) = (self.method.as_str(), self.route.path(), self.elapsed_ms());
            debug!(method, route, elapsed_ms, "the client left before its answer");
        }
    }
}
