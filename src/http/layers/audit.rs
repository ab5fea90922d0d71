//! The part of a request that the audit log tells at its end, or when its client has left.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use tracing::info;

use crate::domain::permission::Permission;
use crate::http::audit::{AuditLog, AuditNotes, OfRequest, TARGET};
use crate::http::problem::{Problem, ProblemType};
use crate::http::routes::{Route, Traits};

/// A request that the log may tell of.
#[derive(Debug)]
pub struct Audited {
    log: Arc<AuditLog>,
    method: Method,
    /// Its path as it was sent, if it changes something. `None` after its end.
    path: Option<String>,
    /// The name of its principal, once it is known.
    principal: Option<Arc<str>>,
    /// The notes of its handler.
    notes: Option<AuditNotes>,
}

impl Audited {
    /// The part of a request that the log needs at its end; `None` if the log never tells of it.
    pub fn of(log: &Arc<AuditLog>, traits: Traits, request: &Request) -> Option<Self> {
        let is_change = log.has_changes() && traits.changes && !is_dry_run(traits, request);
        if !is_change && !log.has_refusals() {
            return None;
        }
        // As it was sent: decoded, a name with a slash would look like another path.
        let path = is_change.then(|| request.uri().path().to_owned());
        let (log, method) = (Arc::clone(log), request.method().clone());
        Some(Self { log, method, path, principal: None, notes: None })
    }

    /// Notes the name of the principal. Its key may be removed before the end of the request.
    pub fn set_principal(&mut self, name: Option<Arc<str>>) {
        self.principal = name;
    }

    fn principal(&self) -> &str {
        self.principal.as_deref().unwrap_or_default()
    }

    /// Gives the handler of a request with this id a place for its notes, if it has something to note.
    pub fn follow(&mut self, request: &mut Request, traits: Traits, id: &str, route: &Arc<Route>) {
        let is_binding = self.path.is_some() && traits.permission == Permission::Bind;
        if is_binding || (traits.has_items && self.log.has_refusals()) {
            let notes = AuditNotes::new(&self.log, self.principal(), (id, &self.method), route);
            request.extensions_mut().insert(notes.clone());
            self.notes = Some(notes);
        }
    }

    /// Writes the line of a request with this id, if it has one.
    pub fn end(mut self, id: &str, route: &str, status: StatusCode, problem: Option<&Problem>) {
        let path = self.path.take();
        if let (Some(path), Some(outcome)) = (path, outcome(status, problem)) {
            self.changed(Some(id), &path, outcome);
        }
        if let Some(problem) = problem {
            let of = OfRequest { principal: self.principal(), id, method: &self.method, route };
            self.log.note(problem, of);
        }
    }

    fn changed(&self, id: Option<&str>, path: &str, outcome: &'static str) {
        let (principal, method) = (self.principal(), self.method.as_str());
        let routing_key = self.notes.as_ref().and_then(AuditNotes::routing_key);
        info!(target: TARGET, principal, id, method, path, routing_key, outcome, "changed");
    }
}

impl Drop for Audited {
    /// The client has left before its answer, and RabbitMQ may have done what it asked for.
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            self.changed(None, &path, "unknown");
        }
    }
}

/// Whether a document is only looked at. Another operation has no such parameter.
fn is_dry_run(traits: Traits, request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    traits.permission == Permission::Document
        && query.split('&').any(|part| percent_decode_str(part).eq(b"dry_run=true".iter().copied()))
}

/// How much of a change is done; `None` if nothing is.
fn outcome(status: StatusCode, problem: Option<&Problem>) -> Option<&'static str> {
    match problem {
        None => status.is_success().then_some("done"),
        // A handler that panics may have changed something.
        Some(problem) if matches!(problem.kind(), ProblemType::OutcomeUnknown | ProblemType::Internal) => {
            Some("unknown")
        }
        Some(problem) if problem.leaves_something() => Some("partial"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::http::settings::AuditLevel;

    #[test]
    fn a_change_that_may_be_half_done_is_never_left_out() {
        let problem = |kind| Problem::new(kind, "");
        for (status, problem, expected) in [
            (StatusCode::CREATED, None, Some("done")),
            (StatusCode::GATEWAY_TIMEOUT, Some(problem(ProblemType::OutcomeUnknown)), Some("unknown")),
            (StatusCode::INTERNAL_SERVER_ERROR, Some(problem(ProblemType::Internal)), Some("unknown")),
            (StatusCode::FORBIDDEN, Some(problem(ProblemType::Forbidden)), None),
            (StatusCode::PERMANENT_REDIRECT, None, None),
        ] {
            assert_eq!(outcome(status, problem.as_ref()), expected, "{status}");
        }
    }

    #[test]
    fn a_dry_run_of_a_document_changes_nothing_and_no_other_operation_has_dry_runs() {
        let log = AuditLog::new(AuditLevel::Changes);
        let document = Traits { changes: true, permission: Permission::Document, ..Traits::default() };
        let declaration = Traits { permission: Permission::Configure, ..document };
        for (traits, query, is_told) in [
            (document, "", true),
            (document, "?timeout=5s&dry_run=true", false),
            (document, "?dry_run=false", true),
            (declaration, "?dry_run=true", true),
            (Traits { changes: false, ..declaration }, "", false),
        ] {
            let request = Request::put(format!("/path{query}")).body(Body::empty()).expect("a request");
            let audited = Audited::of(&log, traits, &request);
            assert_eq!(audited.is_some(), is_told, "{traits:?} {query}");
        }
    }
}
