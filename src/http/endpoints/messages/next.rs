//! `POST /queues/{name}/messages/next`: takes one message for a caller without JSON. Its bytes are the answer.

use std::future::ready;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use utoipa::ToSchema;

use super::pull::{PullRequest, delivery_attempt, given_back};
use super::taken_body::TakenBody;
use super::time::rfc3339;
use crate::broker::{Leased, Pull, Pulled};
use crate::domain::guarded::guarded;
use crate::domain::names::QueueName;
use crate::domain::path_prefix::PathPrefix;
use crate::http::admission::RequestPermit;
use crate::http::codec::{self, KeyAdvice};
use crate::http::header_names::X_LEASE_EXPIRES_AT;
use crate::http::problem::Problem;
use crate::http::request::{PathNames, Query, ReadBody, with_body};
use crate::http::reserved_name;
use crate::http::state::{AppState, PermittedBroker};

const X_DELIVERY_ATTEMPT: HeaderName = HeaderName::from_static("x-delivery-attempt");
const X_REDELIVERED: HeaderName = HeaderName::from_static("x-redelivered");
/// The characters that a segment of a path has without an escape (RFC 3986, 2.3).
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The message's bytes as its publisher sent them, under its content type.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only describes the answer in the contract")]
struct MessageBody(Vec<u8>);

/// Take one message as it is
///
/// Waits for a message like a pull, and answers with its bytes, its content type, and its properties and headers as `X-Amqp-*`
/// headers; 204 when none came within `wait`. `Location` is the path of its lease: `DELETE` it to ack the message, or post to it
/// with `/release`, `/reject`, `/retry`, `/dead-letter`, `/reply` or `/extend` behind.
///
/// For shells and curl. A pull gives more messages at a time, and every header with its AMQP type. A caller that closes its
/// connection ends the wait, and a message that its connection has not taken goes back to the queue at once.
#[utoipa::path(
    post,
    path = "/queues/{name}/messages/next",
    operation_id = "take_next_message",
    tag = "messages",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("wait" = Option<String>, Query, description = "How long to wait for a message, such as `500ms` or `5s`; 20 s by default, at most 60 s unless the gateway is configured otherwise", example = "1s"),
        ("lease" = Option<String>, Query, description = "The time to settle the message, such as `5s` or `2m`; 60 s by default, at most 25 minutes unless the gateway is configured otherwise", example = "60s"),
    ),
    responses(
        (status = 200, description = "A message", content(
            (MessageBody = "*/*"),
            (MessageBody = "application/octet-stream"),
        ), headers(
            ("Location" = String, description = "Path of the lease"),
            ("X-Lease-Expires-At" = String, description = "When the lease expires, in UTC (RFC 3339). The message goes back to its queue then"),
            ("X-Delivery-Attempt" = u64, description = "1 for the first delivery; see `delivery_attempt` of a pull"),
            ("X-Redelivered" = bool, description = "Whether RabbitMQ delivered the message before"),
            ("X-Amqp-Exchange" = String, description = "The exchange that the message was published to; `amq.default` is the default exchange"),
            ("X-Amqp-Routing-Key" = String, description = "The routing key that the message was published with"),
            ("X-Amqp-Headers-Omitted" = u32, description = "Properties and headers that HTTP cannot carry, and those beyond 80 or 12 KiB; a pull gives them"),
        )),
        (status = 204, description = "No message came in time"),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 403, description = "`reserved-name`: the queue belongs to RabbitMQ or to the gateway; `forbidden`, `cross-origin`"),
        (status = 404, description = "`queue-not-found`"),
        (status = 408, description = "`request-timeout`: the request announced a body, which it must not have, and the body did not come"),
        (status = 409, description = "`not-supported`: messages of this type of queue cannot be taken with a lease; `resource-in-use`: another consumer has the queue for itself; `resource-locked`"),
        (status = 413, description = "`payload-too-large`: the request has a body, which it must not have"),
        (status = 503, description = "`broker-unavailable`, `broker-refused`, `overloaded`, `shutting-down`"),
    )
)]
pub(in crate::http) fn take_next_message(
    State(state): State<AppState>,
    request: Request,
) -> BoxFuture<'static, Response> {
    let check = |state: &AppState, parts: &Parts| {
        let PathNames(queue) = PathNames::<QueueName>::of(parts)?;
        reserved_name::refuse_consuming_from(&queue)?;
        let mut query = Query::of(&parts.uri)?;
        let request = PullRequest::for_one(query.duration("wait")?, query.duration("lease")?);
        query.finish()?;
        codec::refuse_message_headers(&parts.headers, KeyAdvice::Pull)?;
        Ok((request.into_pull(queue, &state.limits().pull)?, state.permitted(&parts.extensions)?))
    };
    with_body(state, request, check, |_, parts, (pull, broker), body| match body.and_then(without_content) {
        Ok(permit) => {
            let prefix = parts.extensions.get().cloned().unwrap_or_default();
            next(broker, pull, prefix, permit).map(IntoResponse::into_response).boxed()
        }
        Err(problem) => ready(problem.into_response()).boxed(),
    })
}

/// The permit of a request. Refuses a body, since a caller may mean it as parameters.
fn without_content(body: ReadBody) -> Result<RequestPermit, Problem> {
    body.expect_empty("wait and lease are parameters of the query")?;
    Ok(body.into_permit())
}

/// Takes the message. The answer gives it back if the connection does not take it.
async fn next(
    broker: PermittedBroker,
    pull: Pull,
    prefix: PathPrefix,
    permit: RequestPermit,
) -> Result<Response, Problem> {
    let queue = pull.queue.clone();
    let pulled = broker.pull(pull).await?;
    let Some(leased) = pulled.messages.first() else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let mut response = codec::answer_delivery(&leased.delivery);
    let headers = response.headers_mut();
    headers.insert(LOCATION, value(&location(&queue, leased, &prefix))?);
    headers.insert(X_LEASE_EXPIRES_AT, value(&rfc3339(leased.expires_at))?);
    headers.insert(X_DELIVERY_ATTEMPT, delivery_attempt(&leased.delivery.message.headers).into());
    headers.insert(X_REDELIVERED, value(&leased.delivery.redelivered.to_string())?);
    let (parts, bytes) = response.into_parts();
    let room = permit.reserve(bytes.len()).map_err(given_back)?;
    let body = TakenBody::new(guarded(bytes, room), pulled, Pulled::taken);
    Ok(Response::from_parts(parts, Body::new(body)))
}

/// The path of the lease, as the caller has to request it.
fn location(queue: &QueueName, leased: &Leased, prefix: &PathPrefix) -> String {
    let queue = utf8_percent_encode(queue.as_str(), &SEGMENT);
    prefix.before(&format!("/queues/{queue}/leases/{}", leased.id))
}

fn value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text)
        .map_err(|error| Problem::internal("cannot write a header of a message").caused_by(&error))
}
