//! `POST /queues/{name}/messages/pull`: takes messages for a caller, who settles each before its lease expires.

mod answer;
mod message;
mod request;

use std::future::ready;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use utoipa::ToSchema;

pub(super) use self::answer::given_back;
use self::message::PulledMessage;
pub(super) use self::message::delivery_attempt;
pub(super) use self::request::PullRequest;
use super::taken_body::TakenBody;
use crate::broker::{Pull, Pulled};
use crate::domain::guarded::guarded;
use crate::domain::names::QueueName;
use crate::http::admission::RequestPermit;
use crate::http::codec::{self, KeyAdvice};
use crate::http::problem::Problem;
use crate::http::request::{PathNames, Query, ReadBody, with_body};
use crate::http::reserved_name;
use crate::http::state::{AppState, PermittedBroker};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The messages of a pull.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the answer in the contract")]
struct PulledMessages<'a> {
    /// The messages, oldest first; none when no message came in time.
    messages: Vec<PulledMessage<'a>>,
}

/// Take messages from a queue
///
/// Waits for messages, and answers as soon as there are any: with at most `max`, or with none when none came within `wait`.
/// RabbitMQ keeps each message until you settle its lease (`POST /queues/{name}/messages/settle`). A message whose lease expires
/// goes back to the queue.
///
/// `properties`, `headers` and the body of a message can be published as they are. `broker` has the fields that a publish refuses.
/// A caller that closes its connection ends the wait, and the messages that its connection has not taken go back to the queue at
/// once.
#[utoipa::path(
    post,
    path = "/queues/{name}/messages/pull",
    operation_id = "pull_messages",
    tag = "messages",
    params(("name" = String, Path, description = "Name of the queue", example = "hello")),
    request_body(
        content = Option<PullRequest>,
        description = "How many messages, how long to wait, and the time to settle them; no body means `{}`",
        example = json!({"max": 10, "wait": "1s", "lease": "60s"})
    ),
    responses(
        (status = 200, description = "The messages; none when the queue had none in time", body = PulledMessages),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 403, description = "`reserved-name`: the queue belongs to RabbitMQ or to the gateway; `forbidden`, `cross-origin`"),
        (status = 404, description = "`queue-not-found`"),
        (status = 409, description = "`not-supported`: messages of this type of queue cannot be taken with a lease; `resource-in-use`: another consumer has the queue for itself; `resource-locked`"),
        (status = 503, description = "`broker-unavailable`, `broker-refused`, `overloaded`, `shutting-down`"),
    )
)]
pub(in crate::http) fn pull_messages(
    State(state): State<AppState>,
    request: Request,
) -> BoxFuture<'static, Response> {
    let check = |state: &AppState, parts: &Parts| {
        let PathNames(queue) = PathNames::<QueueName>::of(parts)?;
        reserved_name::refuse_consuming_from(&queue)?;
        Query::of(&parts.uri)?.finish()?;
        codec::refuse_message_headers(&parts.headers, KeyAdvice::Pull)?;
        Ok((queue, state.permitted(&parts.extensions)?))
    };
    with_body(state, request, check, |state, parts, (queue, broker), body| {
        let asked = body.and_then(|body| read(&state, queue, parts, body));
        match asked {
            Ok((pull, permit)) => {
                messages(state, broker, pull, permit).map(IntoResponse::into_response).boxed()
            }
            Err(problem) => ready(problem.into_response()).boxed(),
        }
    })
}

fn read(
    state: &AppState,
    queue: QueueName,
    parts: &Parts,
    body: ReadBody,
) -> Result<(Pull, RequestPermit), Problem> {
    let request = PullRequest::read(&parts.headers, &body.bytes)?;
    Ok((request.into_pull(queue, &state.limits().pull)?, body.into_permit()))
}

/// Takes the messages. The answer gives back those that the connection does not take.
async fn messages(
    state: AppState,
    broker: PermittedBroker,
    pull: Pull,
    permit: RequestPermit,
) -> Result<Response, Problem> {
    let pulled = broker.pull(pull).await?;
    let (json, room) = answer::write(&pulled.messages, state.user_id(), &permit)?;
    let body = TakenBody::new(guarded(json, room), pulled, Pulled::taken);
    Ok(([(CONTENT_TYPE, JSON)], Body::new(body)).into_response())
}
