//! `POST /queues/{name}/messages/settle`: settles leases, and answers with the result of each.

mod document;
mod items;
mod member;
mod results;
mod target;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use self::items::Reading;
pub(in crate::http) use self::items::check_delay;
use self::member::SettleRequest;
use self::results::{SettleResults, log_failures};
pub(in crate::http) use self::target::Target;
use crate::domain::guarded::guarded;
use crate::domain::names::QueueName;
use crate::domain::path_prefix::PathPrefix;
use crate::http::codec::{self, KeyAdvice, TraceContext};
use crate::http::problem::Problem;
use crate::http::request::{self, Headers, PathNames, ReadBody, SettleDeadline, TimedQuery};
use crate::http::reserved_name;
use crate::http::state::{AppState, PermittedBroker};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The room that the result of an item reserves in the budget of all bodies, in bytes: more than most results have.
const RESULT: usize = 512;

/// Settle messages
///
/// Says what happens to messages that a pull gave out, each named by its `lease_id`. Paste a `lease_id` of a pull's answer into
/// the example; the queue has to be the one of the pull. `ack`: RabbitMQ removes the message. `release`: it goes back to its queue.
/// `reject`: RabbitMQ drops it, or sends it to the dead-letter exchange of its queue. `extend`: you get more time, counted from now.
/// `retry`: a copy comes again after a delay. `dead_letter`: a copy with your reason goes to an exchange for dead letters. `reply`: your
/// reply goes to the queue that the message names in `reply_to`. RabbitMQ has confirmed a copy or a reply before the gateway acks the
/// message.
///
/// 200 says that every item is done, 207 that at least one is not. `acked` means that RabbitMQ has read the ack. The same settle
/// again gets the same answer; a contradicting one gets `lease-settled` and changes nothing. The gateway finishes a settle also
/// when you close the connection.
#[utoipa::path(
    post,
    path = "/queues/{name}/messages/settle",
    operation_id = "settle_messages",
    tag = "messages",
    params(
        ("name" = String, Path, description = "Name of the queue", example = "hello"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `5s`; 10 s by default, 60 s at most", example = "5s"),
    ),
    request_body(
        content = SettleRequest,
        description = "1 to 1,000 items, each lease once",
        example = json!({"ack": ["1.JzTY20BRgKO-HjmUJj0wLg.1.0000000000000000"]})
    ),
    responses(
        (status = 200, description = "Every item is done", body = SettleResults),
        (status = 207, description = "At least one item is not done: its problem is `lease-expired`, `lease-settled`, `malformed-request`, `forbidden`, `outcome-unknown`, `broker-unavailable`, `broker-blocked`, `broker-refused`, `overloaded` or `shutting-down`; for a copy or a reply also `rejected`, `unroutable`, `exchange-not-found`, `precondition-failed`, `payload-too-large` or `headers-too-large`; for a reply also `no-reply-to`. `retryable` says whether the same item may be sent again", body = SettleResults),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 403, description = "`reserved-name`: the queue belongs to RabbitMQ or to the gateway; `forbidden`: the caller may not do one of the actions, and none is done; `cross-origin`"),
        (status = 413, description = "`payload-too-large`: too many items, or too many bytes"),
        (status = 431, description = "`headers-too-large`: the headers of a reply do not fit a frame of AMQP"),
    )
)]
pub(in crate::http) async fn settle_messages(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames(queue): PathNames<QueueName>,
    query: TimedQuery<SettleDeadline>,
    prefix: PathPrefix,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<Response, Problem> {
    reserved_name::refuse_consuming_from(&queue)?;
    let deadline = query.finish()?;
    request::expect_json(&headers)?;
    codec::refuse_idempotency_key(&headers, KeyAdvice::Settle)?;
    codec::refuse_property_headers(&headers)?;
    let trace = TraceContext::of(&headers);
    let read_reply = |json: &Bytes| codec::read_reply_item(json, &trace, &state);
    let reading = Reading { queue: &queue, max_delay: state.limits().max_retry_delay, read_reply };
    let items = reading.items(&body.bytes)?;
    let room = body.reserve_answer(items.len() * RESULT)?;
    drop(body);
    let reply_to = |n| items.place(n) + ".properties.reply_to";
    let settled = broker.settle(&queue, items.actions(), deadline, reply_to).await?;
    log_failures(&settled);
    settled
        .iter()
        .filter_map(|one| one.as_ref().err())
        .for_each(|why| broker.note_refusal(&why.clone().into()));
    answer(&SettleResults::of(items, settled, &prefix), room)
}

/// The answer, whose bytes hold their permit until the client has taken them.
fn answer(results: &SettleResults, room: OwnedSemaphorePermit) -> Result<Response, Problem> {
    let status = if results.are_all_done() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    let json = serde_json::to_vec(results).map_err(|error| {
        Problem::internal("cannot write the results of a settle as JSON").caused_by(&error)
    })?;
    let body = Body::from(guarded(json, room));
    Ok((status, [(CONTENT_TYPE, JSON)], body).into_response())
}
