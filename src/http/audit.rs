//! The audit log: who changed queues, exchanges and bindings, who removed messages, who was refused, and how the principals changed.
//!
//! Its lines have a target of their own, so that an operator can send them elsewhere. The log escapes names, so that no name can look like
//! a line. Refusals can be many, so the first one of a principal and a kind of problem has a line, and the others of the same
//! second are counted in the next line.

mod refusals;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use axum::http::Method;
use tracing::info;

use self::refusals::Refusals;
use super::problem::{Problem, ProblemType};
use super::quote::{and_more, quoted};
use super::routes::Route;
use super::settings::AuditLevel;
use crate::domain::access::Difference;

/// The target of the lines.
pub(super) const TARGET: &str = concat!("rabbitmq_gateway", "::audit");

/// The most principals of a kind that the line about a reload names.
const MOST_NAMES: usize = 20;

/// The audit log.
#[derive(Debug)]
pub(super) struct AuditLog {
    level: AuditLevel,
    refusals: Mutex<Refusals>,
}

/// The request of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfRequest<'a> {
    /// The name of its principal; empty if the gateway knows none.
    pub(super) principal: &'a str,
    pub(super) id: &'a str,
    pub(super) method: &'a Method,
    /// The path of its route.
    pub(super) route: &'a str,
}

impl AuditLog {
    /// A log of this level.
    pub(super) fn new(level: AuditLevel) -> Arc<Self> {
        Arc::new(Self { level, refusals: Mutex::default() })
    }

    /// Whether it tells of changes.
    pub(super) fn has_changes(&self) -> bool {
        self.level != AuditLevel::Off
    }

    /// Whether it tells of refusals.
    pub(super) fn has_refusals(&self) -> bool {
        self.level == AuditLevel::All
    }

    /// Writes a line about a request, or an item of it, that was refused for want of credentials or of a permission. Writes none about
    /// other problems, and none where an earlier line of the same second stands for it.
    pub(super) fn note(&self, problem: &Problem, of: OfRequest<'_>) {
        let kind = problem.kind();
        if !self.has_refusals() || !matches!(kind, ProblemType::Unauthorized | ProblemType::Forbidden) {
            return;
        }
        let OfRequest { principal, id, method, route } = of;
        let told = {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            refusals.note((principal.into(), kind), Instant::now())
        };
        if let Some(untold) = told {
            let (kind, method, detail) = (kind.name(), method.as_str(), problem.detail());
            info!(target: TARGET, principal, id, method, route, problem = kind, detail, untold, "refused");
        }
    }
}

/// Writes the line about a new content of the file of principals: how it differs from the one before it, or nothing if it has mistakes.
pub fn note_reload(level: AuditLevel, difference: Option<&Difference<'_>>) {
    if level == AuditLevel::Off {
        return;
    }
    let Some(Difference { added, removed, changed }) = difference else {
        info!(target: TARGET, outcome = "failed", "reloaded");
        return;
    };
    let [added, removed, changed] = [added, removed, changed].map(|names| listed(names));
    info!(target: TARGET, added, removed, changed, outcome = "done", "reloaded");
}

/// The first names, quoted, and the number of the others.
fn listed(names: &[&str]) -> String {
    let shown: Vec<_> = names.iter().take(MOST_NAMES).map(|name| quoted(name)).collect();
    shown.join(", ") + &and_more(names.len(), MOST_NAMES)
}

/// The things that the handler of a request tells the log: which items of the request are refused, and the routing key of a binding.
#[derive(Debug, Clone)]
pub(super) struct AuditNotes(Arc<Noted>);

#[derive(Debug)]
struct Noted {
    log: Arc<AuditLog>,
    principal: Arc<str>,
    id: String,
    method: Method,
    route: Arc<Route>,
    routing_key: OnceLock<Box<str>>,
}

impl AuditNotes {
    /// No notes so far, of a request to this route.
    pub(super) fn new(log: &Arc<AuditLog>, principal: &str, of: (&str, &Method), route: &Arc<Route>) -> Self {
        let (id, method) = (of.0.to_owned(), of.1.clone());
        let (log, principal, route) = (Arc::clone(log), Arc::from(principal), Arc::clone(route));
        Self(Arc::new(Noted { log, principal, id, method, route, routing_key: OnceLock::new() }))
    }

    /// Notes that an item of the request is refused.
    pub(super) fn refused(&self, problem: &Problem) {
        let Noted { log, principal, id, method, route, .. } = &*self.0;
        log.note(problem, OfRequest { principal, id, method, route: route.path() });
    }

    /// Notes the routing key of the binding that the request makes or removes.
    pub(super) fn set_routing_key(&self, key: &str) {
        // A request has one binding.
        let _first = self.0.routing_key.set(key.into());
    }

    /// The routing key of the binding, if it is known.
    pub(super) fn routing_key(&self) -> Option<&str> {
        self.0.routing_key.get().map(|key| &**key)
    }
}
