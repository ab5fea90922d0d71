//! The audit log: who changed queues, exchanges and bindings, who removed messages, and who was refused.
//!
//! Its lines have a target of their own, so that an operator can send them elsewhere. The log escapes names, so that no name can look like
//! a line. Refusals can be many, so the first one of a principal and a kind of problem has a line, and the others of the same
//! second are counted in the next line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use tracing::info;

use crate::domain::permission::Permission;
use crate::http::caller::Caller;
use crate::http::problem::{Problem, ProblemType};
use crate::http::routes::Traits;
use crate::http::settings::AuditLevel;

/// The target of the lines.
const TARGET: &str = concat!("rabbitmq_gateway", "::audit");
/// The time that one line about refusals stands for.
const WINDOW: Duration = Duration::from_secs(1);
/// The most principals and kinds of problems whose refusals are counted apart.
const MOST: usize = 1024;

/// The audit log.
#[derive(Debug)]
pub struct AuditLog {
    level: AuditLevel,
    refusals: Mutex<Refusals>,
}

impl AuditLog {
    /// A log of this level.
    pub fn new(level: AuditLevel) -> Arc<Self> {
        Arc::new(Self { level, refusals: Mutex::default() })
    }

    /// The part of a request that the log needs at its end; `None` if the log never tells of it.
    pub fn of(self: &Arc<Self>, traits: Traits, request: &Request) -> Option<Audited> {
        let is_change = self.level != AuditLevel::Off && traits.changes && !is_dry_run(traits, request);
        if !is_change && self.level != AuditLevel::All {
            return None;
        }
        let path =
            is_change.then(|| percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned());
        let (method, principal) = (request.method().clone(), Arc::from(""));
        Some(Audited { log: Arc::clone(self), method, path, principal })
    }

    /// Whether a refusal has a line, and how many before it had none.
    fn note_refusal(&self, principal: &str, kind: ProblemType) -> Option<u64> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.note((principal.into(), kind), Instant::now())
    }
}

/// Whether a document is only looked at. Another operation has no such parameter.
fn is_dry_run(traits: Traits, request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    traits.permission == Permission::Document && query.split('&').any(|part| part == "dry_run=true")
}

/// A request that the log may tell of.
#[derive(Debug)]
pub struct Audited {
    log: Arc<AuditLog>,
    method: Method,
    /// Its path, percent-decoded, if it changes something. `None` after its end.
    path: Option<String>,
    /// The name of its principal, once it is known.
    principal: Arc<str>,
}

impl Audited {
    /// Notes the caller. Its key may be removed before the end of the request.
    pub fn set_caller(&mut self, caller: Option<&Caller>) {
        if let Some(principal) = caller.and_then(|caller| caller.principal().ok()) {
            self.principal = Arc::clone(&principal.name);
        }
    }

    /// Writes the line of a request with this id, if it has one.
    pub fn end(mut self, id: &str, route: &str, status: StatusCode, problem: Option<&Problem>) {
        let path = self.path.take();
        let (principal, method) = (&*self.principal, self.method.as_str());
        if let (Some(path), Some(outcome)) = (path, outcome(status, problem)) {
            info!(target: TARGET, principal, id, method, path, outcome, "changed");
        }
        let Some(problem) = problem.filter(|_| self.log.level == AuditLevel::All) else { return };
        if !matches!(problem.kind(), ProblemType::Unauthorized | ProblemType::Forbidden) {
            return;
        }
        if let Some(untold) = self.log.note_refusal(principal, problem.kind()) {
            let (kind, detail) = (problem.kind().name(), problem.detail());
            info!(target: TARGET, principal, id, method, route, problem = kind, detail, untold, "refused");
        }
    }
}

impl Drop for Audited {
    /// The client has left before its answer, and RabbitMQ may have done what it asked for.
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let (principal, method) = (&*self.principal, self.method.as_str());
            info!(target: TARGET, principal, method, path, outcome = "unknown", "changed");
        }
    }
}

/// How much of a change is done; `None` if nothing is.
fn outcome(status: StatusCode, problem: Option<&Problem>) -> Option<&'static str> {
    match problem {
        None => status.is_success().then_some("done"),
        Some(problem) if problem.kind() == ProblemType::OutcomeUnknown => Some("unknown"),
        Some(problem) if problem.leaves_something() => Some("partial"),
        Some(_) => None,
    }
}

/// The refusals of the last second, by principal and kind of problem.
#[derive(Debug, Default)]
struct Refusals(HashMap<(Box<str>, ProblemType), Window>);

#[derive(Debug)]
struct Window {
    begun: Instant,
    untold: u64,
}

impl Refusals {
    /// The number of refusals without a line before this one, if this one has a line.
    fn note(&mut self, of: (Box<str>, ProblemType), now: Instant) -> Option<u64> {
        if self.0.len() >= MOST && !self.0.contains_key(&of) {
            self.0.retain(|_, window| now < window.begun + WINDOW);
            // A second with more principals than that is told of as far as the table goes.
            if self.0.len() >= MOST {
                return None;
            }
        }
        match self.0.get_mut(&of) {
            Some(window) if now < window.begun + WINDOW => {
                window.untold += 1;
                None
            }
            Some(window) => {
                let untold = window.untold;
                *window = Window { begun: now, untold: 0 };
                Some(untold)
            }
            None => {
                self.0.insert(of, Window { begun: now, untold: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_of_a_second_has_a_line_and_the_next_line_counts_the_others() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let later = |milliseconds| now + Duration::from_millis(milliseconds);
        let shop = || (Box::from("shop"), ProblemType::Forbidden);
        assert_eq!(refusals.note(shop(), now), Some(0));
        assert_eq!(refusals.note(shop(), later(1)), None);
        assert_eq!(refusals.note(shop(), later(999)), None);
        assert_eq!(refusals.note((Box::from("acme"), ProblemType::Forbidden), later(999)), Some(0));
        assert_eq!(refusals.note((Box::from("shop"), ProblemType::Unauthorized), later(999)), Some(0));
        assert_eq!(refusals.note(shop(), later(1000)), Some(2));
        assert_eq!(refusals.note(shop(), later(2500)), Some(0));
    }

    #[test]
    fn the_table_of_refusals_has_a_bound() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let of = |n: usize| (n.to_string().into(), ProblemType::Forbidden);
        for n in 0..2 * MOST {
            assert_eq!(refusals.note(of(n), now).is_some(), n < MOST, "{n}");
        }
        assert_eq!(refusals.note(of(2 * MOST), now + WINDOW), Some(0));
        assert_eq!(refusals.0.len(), 1);
    }
}
