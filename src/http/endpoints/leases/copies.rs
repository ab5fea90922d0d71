//! Settles one lease by a copy of its message: it comes again later, or goes to the dead letters.

use axum::extract::State;
use axum::response::Response;

use super::not_done::NotSent;
use super::request::LeaseRequest;
use super::{LeasePath, settle};
use crate::broker::Action;
use crate::domain::retry_step::RetryStep;
use crate::http::endpoints::messages::settle::{Target, check_delay};
use crate::http::problem::Problem;
use crate::http::state::{AppState, PermittedBroker};

/// Let a message come again later
///
/// A copy of the message, with `x-retry-count` one higher, comes again after `delay`. RabbitMQ has confirmed the copy before the gateway
/// acks the original. The same request again gets the same answer.
#[utoipa::path(
    post,
    path = "/queues/{name}/leases/{lease_id}/retry",
    operation_id = "retry_lease",
    tag = "messages",
    params(
        LeasePath,
        ("delay" = Option<String>, Query, description = "How long the copy waits, such as `5s` or `2m`, rounded up to one of 29 steps from 1s to 24h; without it the copy goes to the end of the queue", example = "5s"),
        ("reason" = Option<String>, Query, description = "Why the message could not be processed; the first 1,024 bytes go into the header `x-last-error`", example = "database is away"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    responses(
        (status = 204, description = "RabbitMQ holds the copy, and has read the ack of the original", headers(
            ("X-Retry-At" = String, description = "When the message comes again, in UTC (RFC 3339)"),
        )),
        (status = 409, description = "`lease-settled`: the lease was settled in another way; nothing was done. `precondition-failed`: the wait queue of the delay exists with other arguments; the lease goes on"),
        (status = 422, description = "`unroutable`: the queue, or the wait queue of the delay, is gone"),
        NotSent,
    )
)]
pub(in crate::http) async fn retry_lease(
    State(state): State<AppState>,
    broker: PermittedBroker,
    request: LeaseRequest,
) -> Result<Response, Problem> {
    let (lease, mut query) = request.without_body("delay, reason and timeout are parameters of the query")?;
    let delay = query.parameters.duration("delay")?.unwrap_or_default();
    check_delay("delay", delay, state.limits().max_retry_delay)?;
    let reason = query.parameters.take("reason")?;
    settle(&broker, lease, Action::Retry { step: RetryStep::for_delay(delay), reason }, query).await
}

/// Give a message to the dead letters
///
/// A copy of the message, with your reason, goes to an exchange for dead letters. RabbitMQ has confirmed the copy, and a queue has it,
/// before the gateway acks the original. The same request again gets the same answer.
#[utoipa::path(
    post,
    path = "/queues/{name}/leases/{lease_id}/dead-letter",
    operation_id = "dead_letter_lease",
    tag = "messages",
    params(
        LeasePath,
        ("exchange" = Option<String>, Query, description = "The exchange; `<queue>.dlx` by default", example = "hello.dlx"),
        ("routing_key" = Option<String>, Query, description = "The routing key; the name of the queue by default", example = "hello"),
        ("reason" = Option<String>, Query, description = "Why the message could not be processed; the first 1,024 bytes go into the header `x-last-error`", example = "no order_id"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    responses(
        (status = 204, description = "A queue has the copy, and RabbitMQ has read the ack of the original"),
        (status = 404, description = "`exchange-not-found`: the lease goes on"),
        (status = 409, description = "`lease-settled`: the lease was settled in another way; nothing was done"),
        (status = 422, description = "`unroutable`: no queue is bound to the exchange with this routing key; the lease goes on"),
        NotSent,
    )
)]
pub(in crate::http) async fn dead_letter_lease(
    broker: PermittedBroker,
    request: LeaseRequest,
) -> Result<Response, Problem> {
    let (lease, mut query) =
        request.without_body("exchange, routing_key, reason and timeout are parameters of the query")?;
    let target = Target::take(&mut query.parameters)?;
    let reason = query.parameters.take("reason")?;
    let action = target.action(&lease.0, reason)?;
    settle(&broker, lease, action, query).await
}
