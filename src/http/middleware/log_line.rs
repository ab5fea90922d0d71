//! The one log line of a request, at its end: also when the client left before it.
//!
//! Names the method, the matched route and the status; never a path, a query or a body. So a refusal is named by
//! its kind only: its detail quotes what the caller sent, and the caller has it.

use std::time::Instant;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use tracing::Span;

use crate::http::problem::Problem;
use crate::metrics::Metrics;

/// A line that is still to be written.
#[derive(Debug)]
pub struct LogLine {
    method: Method,
    route: Option<MatchedPath>,
    span: Span,
    begun: Instant,
    written: bool,
    metrics: Metrics,
}

impl LogLine {
    /// Begins the clock of a request.
    pub fn new(method: Method, route: Option<MatchedPath>, span: Span, metrics: Metrics) -> Self {
        Self { method, route, span, begun: Instant::now(), written: false, metrics }
    }

    /// The span of the request.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Writes the line: a 5xx that is a problem as an error with its cause, everything else for those who debug.
    /// A health check that says no is an answer, and its caller is told.
    pub fn end(mut self, status: StatusCode, problem: Option<&Problem>) {
        self.written = true;
        self.count(status);
        let _entered = self.span.enter();
        let (method, route, elapsed_ms) = (self.method.as_str(), self.route(), self.elapsed_ms());
        let status = status.as_u16();
        let kind = problem.map(|problem| problem.kind().name());
        if let Some(problem) = problem.filter(|_| status >= 500) {
            let (detail, cause) = (problem.detail(), problem.cause());
            tracing::error!(
                method,
                route,
                status,
                elapsed_ms,
                problem = kind,
                detail,
                cause,
                "request failed"
            );
        } else if let Some(kind) = kind {
            tracing::debug!(method, route, status, elapsed_ms, problem = kind, "request refused");
        } else {
            tracing::debug!(method, route, status, elapsed_ms, "request answered");
        }
    }

    fn count(&self, status: StatusCode) {
        let (route, method) = (self.route(), known(&self.method));
        self.metrics.requests.with_label_values(&[route, method, status.as_str()]).inc();
        let seconds = self.begun.elapsed().as_secs_f64();
        self.metrics.request_seconds.with_label_values(&[route, method]).observe(seconds);
    }

    fn route(&self) -> &str {
        self.route.as_ref().map_or("none", MatchedPath::as_str)
    }

    fn elapsed_ms(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1000.0
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
            tracing::debug!(method, route, elapsed_ms, "client left before its answer");
        }
    }
}
