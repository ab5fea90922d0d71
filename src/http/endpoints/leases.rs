//! `/queues/{name}/leases/{lease_id}`: settles one lease by its path, for callers without JSON. `messages::settle` settles many.

pub(in crate::http) mod copies;
mod not_done;
pub(in crate::http) mod reply;
mod request;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;

use self::not_done::NotDone;
use self::request::{Lease, LeaseRequest};
use crate::broker::{Action, NotSettled, Settled};
use crate::http::endpoints::messages::time::rfc3339;
use crate::http::header_names::X_LEASE_EXPIRES_AT;
use crate::http::problem::Problem;
use crate::http::request::{SettleDeadline, TimedQuery};
use crate::http::reserved_name;
use crate::http::state::PermittedBroker;

const X_RETRY_AT: HeaderName = HeaderName::from_static("x-retry-at");
const X_REPLY_DELIVERED: HeaderName = HeaderName::from_static("x-reply-delivered");

/// The place of the parameters of an action that has only a deadline.
const ONLY_TIMEOUT: &str = "the path names the lease and the action, and timeout is a parameter of the query";

/// The parameters in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only describes the path in the contract; `PathNames` reads it")]
struct LeasePath {
    /// Name of the queue
    #[param(example = "hello")]
    name: String,
    /// The lease: the last part of `Location` of a message that you took, or the `lease_id` of a pull
    #[param(example = "1.JzTY20BRgKO-HjmUJj0wLg.1.0000000000000000")]
    lease_id: String,
}

/// Ack a message, by DELETE
///
/// RabbitMQ removes the message. The answer comes after RabbitMQ has read the ack. The same request again gets the same answer. The
/// gateway finishes it also when you close the connection.
#[utoipa::path(
    delete,
    path = "/queues/{name}/leases/{lease_id}",
    operation_id = "ack_lease",
    tag = "messages",
    params(
        LeasePath,
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    responses(
        (status = 204, description = "RabbitMQ has read the ack"),
        NotDone,
    )
)]
pub(in crate::http) async fn ack_lease(
    broker: PermittedBroker,
    request: LeaseRequest,
) -> Result<Response, Problem> {
    let (lease, query) = request.without_body(ONLY_TIMEOUT)?;
    settle(&broker, lease, Action::Ack, query).await
}

/// Ack a message
///
/// The same as `DELETE` on the lease, for programs that can only post.
#[utoipa::path(
    post,
    path = "/queues/{name}/leases/{lease_id}/ack",
    operation_id = "ack_lease_by_post",
    tag = "messages",
    params(
        LeasePath,
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    responses(
        (status = 204, description = "RabbitMQ has read the ack"),
        NotDone,
    )
)]
pub(in crate::http) async fn ack_lease_by_post(
    broker: PermittedBroker,
    request: LeaseRequest,
) -> Result<Response, Problem> {
    let (lease, query) = request.without_body(ONLY_TIMEOUT)?;
    settle(&broker, lease, Action::Ack, query).await
}

/// Put a message back
///
/// The message goes back to its queue, for this caller or another one. The same request again gets the same answer.
#[utoipa::path(
    post,
    path = "/queues/{name}/leases/{lease_id}/release",
    operation_id = "release_lease",
    tag = "messages",
    params(
        LeasePath,
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    responses(
        (status = 204, description = "The message is back in its queue"),
        NotDone,
    )
)]
pub(in crate::http) async fn release_lease(
    broker: PermittedBroker,
    request: LeaseRequest,
) -> Result<Response, Problem> {
    let (lease, query) = request.without_body(ONLY_TIMEOUT)?;
    settle(&broker, lease, Action::Release, query).await
}

/// Reject a message
///
/// RabbitMQ drops the message, or sends it to the dead-letter exchange of its queue. The same request again gets the same answer.
#[utoipa::path(
    post,
    path = "/queues/{name}/leases/{lease_id}/reject",
    operation_id = "reject_lease",
    tag = "messages",
    params(
        LeasePath,
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    responses(
        (status = 204, description = "RabbitMQ has dropped or dead-lettered the message"),
        NotDone,
    )
)]
pub(in crate::http) async fn reject_lease(
    broker: PermittedBroker,
    request: LeaseRequest,
) -> Result<Response, Problem> {
    let (lease, query) = request.without_body(ONLY_TIMEOUT)?;
    settle(&broker, lease, Action::Reject, query).await
}

/// Extend a lease
///
/// You get this time from now on, at most 25 minutes after the delivery of the message unless the gateway is configured otherwise.
#[utoipa::path(
    post,
    path = "/queues/{name}/leases/{lease_id}/extend",
    operation_id = "extend_lease",
    tag = "messages",
    params(
        LeasePath,
        ("lease" = String, Query, description = "The time that the lease gets, such as `5s` or `2m`, above 0", example = "60s"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    responses(
        (status = 204, description = "The lease expires later", headers(
            ("X-Lease-Expires-At" = String, description = "When the lease expires, in UTC (RFC 3339)"),
        )),
        NotDone,
    )
)]
pub(in crate::http) async fn extend_lease(
    broker: PermittedBroker,
    request: LeaseRequest,
) -> Result<Response, Problem> {
    let (lease, mut query) = request.without_body("lease and timeout are parameters of the query")?;
    let time = query.parameters.duration("lease")?;
    let time =
        time.ok_or_else(|| Problem::malformed("lease", "is missing: say how long, such as lease=2m"))?;
    if time.is_zero() {
        return Err(Problem::malformed("lease", "must be a duration above 0"));
    }
    settle(&broker, lease, Action::Extend(time), query).await
}

/// Does the action with the lease, at the replica that has it.
async fn settle(
    broker: &PermittedBroker,
    lease: Lease,
    action: Action,
    query: TimedQuery<SettleDeadline>,
) -> Result<Response, Problem> {
    settle_naming("reply_to", broker, lease, action, query).await
}

/// The same, with the name under which the request gives the queue for replies to its reply.
async fn settle_naming(
    reply_to: &str,
    broker: &PermittedBroker,
    (queue, id): Lease,
    action: Action,
    query: TimedQuery<SettleDeadline>,
) -> Result<Response, Problem> {
    reserved_name::refuse_consuming_from(&queue)?;
    let deadline = query.finish()?;
    let settled = broker.settle(&queue, vec![(id, action)], deadline, |_| reply_to.to_owned()).await?;
    answer(&settled.into_iter().next().unwrap_or(Err(NotSettled::Expired))?)
}

/// The answer: no content, and a header where the action has a further result.
fn answer(settled: &Settled) -> Result<Response, Problem> {
    let header = match settled {
        Settled::Extended { expires_at } => Some((X_LEASE_EXPIRES_AT, rfc3339(*expires_at))),
        Settled::Retried(retried) => Some((X_RETRY_AT, rfc3339(retried.retry_at))),
        Settled::Replied { delivered } => {
            let word = delivered.map_or("unknown", |it| if it { "true" } else { "false" });
            Some((X_REPLY_DELIVERED, word.to_owned()))
        }
        _ => None,
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let Some((name, text)) = header {
        let value = HeaderValue::from_str(&text).map_err(|error| {
            Problem::internal("cannot write the result of a settle as a header").caused_by(&error)
        })?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
