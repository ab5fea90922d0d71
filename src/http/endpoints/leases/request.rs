//! The request of an action with one lease that needs no body.

use axum::extract::{FromRequest, Request};

use crate::domain::lease::LeaseId;
use crate::domain::names::QueueName;
use crate::http::codec::{self, KeyAdvice};
use crate::http::problem::Problem;
use crate::http::request::{PathNames, ReadBody, SettleDeadline, TimedQuery};
use crate::http::state::AppState;

/// The names in the path: the queue, and the lease.
pub(in crate::http) type Lease = (QueueName, LeaseId);

/// The lease and the query of a request, whose body must be empty.
pub(in crate::http) struct LeaseRequest {
    lease: Lease,
    query: TimedQuery<SettleDeadline>,
    body: ReadBody,
}

impl LeaseRequest {
    /// The lease and the query. Refuses a body, which a caller may mean as parameters; `why` says where these belong.
    ///
    /// # Errors
    /// 400.
    pub(super) fn without_body(self, why: &str) -> Result<(Lease, TimedQuery<SettleDeadline>), Problem> {
        self.body.expect_empty(why)?;
        Ok((self.lease, self.query))
    }
}

impl FromRequest<AppState> for LeaseRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let PathNames(lease) = PathNames::of(&parts)?;
        let query = TimedQuery::of(&parts.uri, state.limits())?;
        codec::refuse_message_headers(&parts.headers, KeyAdvice::Settle)?;
        let body = ReadBody::from_request(Request::from_parts(parts, body), state).await?;
        Ok(Self { lease, query, body })
    }
}
