//! The audit log: who changed queues, exchanges and bindings, who removed messages, and who was refused.
//!
//! Its lines have a target of their own, so that an operator can send them elsewhere. Names are written with escapes, so that no name can
//! look like a line. Refusals can be many, so the first one of a principal and a kind of problem has a line, and the others of the same
//! second are counted in the next line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use tracing::info;

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
        let is_dry_run = || request.uri().query().is_some_and(|query| query.contains("dry_run=true"));
        let is_change = self.level != AuditLevel::Off && traits.changes && !is_dry_run();
        if !is_change && self.level != AuditLevel::All {
            return None;
        }
        let path =
            is_change.then(|| percent_decode_str(request.uri().path()).decode_utf8_lossy().into_owned());
        Some(Audited { log: Arc::clone(self), path, caller: None })
    }

    /// Whether a refusal has a line, and how many before it had none.
    fn note_refusal(&self, principal: &str, kind: ProblemType) -> Option<u64> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.note((principal.into(), kind), Instant::now())
    }
}

/// A request that the log may tell of.
#[derive(Debug)]
pub struct Audited {
    log: Arc<AuditLog>,
    /// Its path, percent-decoded, if it changes something.
    path: Option<String>,
    /// Its caller, once it is known.
    caller: Option<Caller>,
}

impl Audited {
    /// The caller is known.
    pub fn set_caller(&mut self, caller: Option<Caller>) {
        self.caller = caller;
    }

    /// Writes the line of a request with this id, if it has one.
    pub fn end(self, id: &str, method: &Method, status: StatusCode, problem: Option<&Problem>) {
        let principal = self.caller.and_then(|caller| caller.principal().ok());
        let principal = principal.as_ref().map(|it| &*it.name).unwrap_or_default();
        let method = method.as_str();
        if let Some(path) = self.path.filter(|_| status.is_success()) {
            info!(target: TARGET, principal = ?principal, id, method, path = ?path, "changed");
        }
        let Some(problem) = problem.filter(|_| self.log.level == AuditLevel::All) else { return };
        if !matches!(problem.kind(), ProblemType::Unauthorized | ProblemType::Forbidden) {
            return;
        }
        if let Some(untold) = self.log.note_refusal(principal, problem.kind()) {
            let (kind, detail) = (problem.kind().name(), problem.detail());
            info!(target: TARGET, principal = ?principal, id, method, problem = kind, detail = ?detail, untold, "refused");
        }
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
