//! Reads the query of an operation that has a deadline.

use std::marker::PhantomData;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::query::Query;
use crate::domain::duration;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::http::{Deadline, Limits};

/// The query of an operation with a deadline of kind `K`: the deadline, and the parameters that the handler has not taken yet.
#[derive(Debug)]
pub(in crate::http) struct TimedQuery<K> {
    /// The other parameters.
    pub(in crate::http) parameters: Query,
    /// Time for the request after its last byte has arrived.
    timeout: Duration,
    kind: PhantomData<fn() -> K>,
}

/// A kind of deadline.
pub(in crate::http) trait DeadlineKind {
    /// The setting of its deadline.
    fn deadline(limits: &Limits) -> Deadline;
}

/// The deadline of a publish.
#[derive(Debug)]
pub(in crate::http) struct PublishDeadline;

/// The deadline of an RPC call.
#[derive(Debug)]
pub(in crate::http) struct CallDeadline;

/// The deadline of an operation on queues and exchanges.
#[derive(Debug)]
pub(in crate::http) struct TopologyDeadline;

/// The deadline of a settle.
#[derive(Debug)]
pub(in crate::http) struct SettleDeadline;

impl DeadlineKind for PublishDeadline {
    fn deadline(limits: &Limits) -> Deadline {
        limits.publish
    }
}

impl DeadlineKind for CallDeadline {
    fn deadline(limits: &Limits) -> Deadline {
        limits.rpc
    }
}

impl DeadlineKind for TopologyDeadline {
    fn deadline(limits: &Limits) -> Deadline {
        limits.topology
    }
}

impl DeadlineKind for SettleDeadline {
    fn deadline(limits: &Limits) -> Deadline {
        limits.settle
    }
}

impl<K: DeadlineKind> TimedQuery<K> {
    /// Reads the query of a URI and takes `timeout`.
    ///
    /// # Errors
    /// When the query is not UTF-8, or `timeout` is given twice, is not a duration, is 0, or is above the maximum.
    pub(in crate::http) fn of(uri: &Uri, limits: &Limits) -> Result<Self, Problem> {
        let mut query = Query::of(uri)?;
        let timeout = timeout(&mut query, K::deadline(limits))?;
        Ok(Self { parameters: query, timeout, kind: PhantomData })
    }

    /// Checks that the handler has taken every parameter. Returns the deadline of a request whose last byte has just arrived.
    ///
    /// # Errors
    /// When a parameter is left that the handler does not know.
    pub(in crate::http) fn finish(self) -> Result<Instant, Problem> {
        self.finish_later().map(|timeout| Instant::now() + timeout)
    }

    /// Checks that the handler has taken every parameter. Returns the time for each part of the request after its last byte.
    ///
    /// # Errors
    /// When a parameter is left that the handler does not know.
    pub(in crate::http) fn finish_later(self) -> Result<Duration, Problem> {
        self.parameters.finish()?;
        Ok(self.timeout)
    }
}

impl<K: DeadlineKind> FromRequestParts<AppState> for TimedQuery<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Self::of(&parts.uri, state.limits())
    }
}

fn timeout(query: &mut Query, deadline: Deadline) -> Result<Duration, Problem> {
    let Some(timeout) = query.duration("timeout")? else { return Ok(deadline.default) };
    if timeout.is_zero() || timeout > deadline.max {
        let max = duration::format(deadline.max);
        let why = format!("must be above 0 and at most {max}");
        return Err(Problem::malformed("timeout", why).with("limit", max));
    }
    Ok(timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_above_0_and_at_most_the_maximum() {
        let deadline = Deadline { default: Duration::from_secs(10), max: Duration::from_mins(1) };
        let read = |text: &str| {
            let uri = format!("/?timeout={text}").parse().expect("a URI");
            timeout(&mut Query::of(&uri).expect("a query"), deadline)
        };
        assert_eq!(read("1m").expect("the maximum"), Duration::from_mins(1));
        for wrong in ["0", "61", "1m1s", "soon", "-1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(
            read("61").is_err_and(|problem| problem.detail() == "timeout must be above 0 and at most 1m")
        );
    }
}
