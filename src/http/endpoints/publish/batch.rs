//! `POST /publish/{exchange}/batch`: publishes an array of messages, and answers with the result of each.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::bulk::{Bulk, Counts, Failure, ItemResult, Settled, Tally};
use super::preference::{PREFERENCE_APPLIED, RETURN_MINIMAL, prefers_minimal};
use crate::domain::guarded::guarded;
use crate::domain::names::ExchangeName;
use crate::domain::outcome::Outcome;
use crate::domain::path_prefix::PathPrefix;
use crate::http::codec::{self, CloudEvent, ContentMode, EventMapping, KeyAttribute};
use crate::http::problem::{Problem, ProblemType};
use crate::http::request::{self, Headers, PathNames, PublishDeadline, ReadBody, TimedQuery};
use crate::http::state::{AppState, PermittedBroker};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The room that the result of an item reserves in the budget of all bodies, in bytes: more than most results have.
const RESULT: usize = 512;

/// An envelope with an `id`. `openapi/named.rs` makes its schema.
#[derive(ToSchema)]
struct BatchItem {}

/// The results of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct BatchReceipt {
    /// The result of each item, in the order of the request. With `Prefer: return=minimal`, only those that are neither confirmed
    /// nor accepted.
    results: Vec<ItemResult>,
    /// The number of messages by outcome.
    counts: Counts,
}

/// Publish a batch of messages
///
/// The body is an array of envelopes, each with an optional `id`, which the result repeats. Each message has its own outcome: a
/// wrong item, or a message that no queue takes, does not affect the others. Messages with one routing key are published in the
/// order of the array. The deadline is that of the whole batch.
///
/// 200 says that every message is confirmed or accepted, 207 that at least one is not. Where the gateway sent no message at all,
/// because RabbitMQ is away or the gateway is full, the answer is that problem, and the batch may be sent again.
#[utoipa::path(
    post,
    path = "/publish/{exchange}/batch",
    operation_id = "publish_batch",
    tag = "publish",
    params(
        ("exchange" = String, Path, description = "Exchange of all messages; `amq.default` is the default exchange", example = "amq.default"),
        ("routing_key" = Option<String>, Query, description = "Routing key of the messages that name none"),
        ("mandatory" = Option<bool>, Query, description = "Whether a message that no queue takes is an error, for the messages that do not say it; true by default", example = true),
        ("cloudevents" = Option<ContentMode>, Query, description = "How the CloudEvents of a batch of events become messages; `binary` by default"),
        ("routing_key_from" = Option<KeyAttribute>, Query, description = "For events: the attribute that is the routing key of each message, instead of `routing_key`"),
        ("timeout" = Option<String>, Query, description = "Deadline of the whole batch, such as `500ms`, `5s` or `1m`; 10 s by default, 60 s at most", example = "5s"),
        ("retry" = Option<bool>, Query, description = "`false`: the outcome is `unknown` instead of a resend when a lost connection left it unknown", example = true),
        ("Prefer" = Option<String>, Header, description = "`return=minimal`: the answer has the counts, and only the results that are neither confirmed nor accepted"),
    ),
    request_body(
        description = "Envelopes or CloudEvents, at most 1,000 by default",
        content(
            (Vec<BatchItem> = "application/json", example = json!([
                {"id": "first", "routing_key": "hello", "body": {"hello": "world"}},
                {"id": "second", "routing_key": "hello", "body_text": "hello again"}
            ])),
            (Vec<CloudEvent> = "application/cloudevents-batch+json"),
        )
    ),
    responses(
        (status = 200, description = "Every message is confirmed or accepted", body = BatchReceipt),
        (status = 207, description = "At least one message is neither confirmed nor accepted", body = BatchReceipt),
        (status = 400, description = "`malformed-request`: the body is not an array"),
        (status = 413, description = "`payload-too-large`: too many messages, or too many bytes"),
        (status = 503, description = "`broker-unavailable`, `broker-blocked`, `broker-refused`, `overloaded`, `shutting-down`: the gateway sent no message of the batch"),
    )
)]
pub(in crate::http) async fn publish_batch(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames(exchange): PathNames<ExchangeName>,
    mut query: TimedQuery<PublishDeadline>,
    prefix: PathPrefix,
    Headers(headers): Headers,
    body: ReadBody,
) -> Result<Response, Problem> {
    let mut tally = Tally::new("batch", state.metric_sources.metrics.clone());
    let parameters = &mut query.parameters;
    let bulk = Bulk::of((state.clone(), broker), exchange, parameters, &headers)?;
    let events = EventMapping::take(parameters, state.cloudevents_prefix(), bulk.routing_key())?;
    let deadline = query.finish()?;
    let bulk = bulk.of_form(codec::batch_form(&headers, events)?);
    let is_minimal = prefers_minimal(&headers);
    let items = items(&body.bytes, state.limits().max_batch_items)?;
    let room = body.reserve_answer(items.len() * RESULT)?;
    drop(body);
    let publishes = (0..).zip(items).map(|(index, item)| bulk.publish(index, &item, deadline));
    let mut results: Vec<_> = iter(publishes).buffer_unordered(state.limits().publish_window).collect().await;
    for settled in &results {
        tally.add(settled);
    }
    tally.report();
    if let Some(problem) = common_problem(&results) {
        return Err(problem);
    }
    tally.log();
    results.sort_unstable_by_key(|settled| settled.index);
    let results = shown(results, is_minimal, &prefix);
    answer(&BatchReceipt { results, counts: tally.counts() }, is_minimal, room)
}

/// The items of a batch, each a slice of its body.
fn items(body: &Bytes, limit: usize) -> Result<Vec<Bytes>, Problem> {
    let (items, count) = request::array(body, limit)?;
    if count > limit {
        let detail =
            format!("the batch has {count} messages, and GATEWAY_MAX_BATCH_ITEMS allows {limit}: split it");
        return Err(Problem::new(ProblemType::PayloadTooLarge, detail).with("limit", limit));
    }
    Ok(items.into_iter().map(|item| body.slice_ref(item.get().as_bytes())).collect())
}

/// The problem that no message was sent because of, if it is the same one for all messages and not about their content.
fn common_problem(results: &[Settled]) -> Option<Problem> {
    let unsent = |settled: &Settled| match &settled.answer {
        Err(Failure { outcome: Outcome::NotSent, attempts: 0, problem }) => Some(problem.clone()),
        _ => None,
    };
    let first = unsent(results.first()?)
        .filter(|problem| problem.kind().status() == StatusCode::SERVICE_UNAVAILABLE)?;
    let is_same = |settled| unsent(settled).is_some_and(|problem| problem.kind() == first.kind());
    results.iter().all(is_same).then_some(first)
}

/// The results that the caller asked for.
fn shown(results: Vec<Settled>, is_minimal: bool, prefix: &PathPrefix) -> Vec<ItemResult> {
    let results = results.into_iter().filter(|settled| !is_minimal || settled.answer.is_err());
    results.map(|settled| settled.into_result(prefix)).collect()
}

/// The answer, whose bytes hold their permit until the client has taken them.
fn answer(receipt: &BatchReceipt, is_minimal: bool, room: OwnedSemaphorePermit) -> Result<Response, Problem> {
    let status = if receipt.counts.are_all_kept() { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    let json = serde_json::to_vec(receipt).map_err(|error| {
        Problem::internal("cannot write the results of a batch as JSON").caused_by(&error)
    })?;
    let body = Body::from(guarded(json, room));
    let mut response = (status, [(CONTENT_TYPE, JSON)], body).into_response();
    if is_minimal {
        response.headers_mut().insert(PREFERENCE_APPLIED, RETURN_MINIMAL);
    }
    Ok(response)
}
