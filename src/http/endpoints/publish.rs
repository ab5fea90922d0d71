//! `POST /publish/{exchange}`: publishes a message, and answers after RabbitMQ's confirm.

pub(in crate::http) mod batch;
mod bulk;
mod destination;
mod failure;
mod preference;
pub(in crate::http) mod stream;

use std::future::ready;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

use self::destination::destination;
use self::preference::{PREFERENCE_APPLIED, RETURN_MINIMAL, prefers_minimal};
use crate::broker::{Publish, PublishFailure, Receipt};
use crate::domain::message::{DeliveryMode, MessageId};
use crate::domain::names::ExchangeName;
use crate::domain::outcome::Outcome;
use crate::http::codec::{
    self, CloudEvent, ContentMode, Envelope, EventMapping, IdSource, KeyAttribute, RawBody, SpecVersion,
};
use crate::http::header_names::X_AMQP_MESSAGE_ID;
use crate::http::idempotency::Keyed;
use crate::http::problem::Problem;
use crate::http::request::{PathNames, PublishDeadline, ReadBody, TimedQuery, with_body};
use crate::http::state::{AppState, PermittedBroker, PermittedPublish};

const ATTEMPTS: HeaderName = HeaderName::from_static("x-gateway-attempts");
const DUPLICATE_POSSIBLE: HeaderName = HeaderName::from_static("x-gateway-duplicate-possible");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The receipt of a message that RabbitMQ has confirmed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PublishReceipt<'a> {
    /// `confirmed`: RabbitMQ confirmed the message, and at least one queue took it. `accepted`: RabbitMQ confirmed the message
    /// without a check that a queue took it (`mandatory=false`).
    outcome: Outcome,
    /// The message's id: the caller's, or the one that the gateway gave it.
    #[schema(value_type = String, example = "019c2b6e-8c1a-7c3e-9a51-5f0c3f3c8b11")]
    message_id: &'a MessageId,
    /// The exchange; `amq.default` is the default exchange.
    #[schema(value_type = String, example = "amq.default")]
    exchange: &'a str,
    /// The routing key.
    #[schema(value_type = String, example = "hello")]
    routing_key: &'a str,
    /// How often the gateway wrote the message to RabbitMQ.
    #[schema(example = 1)]
    attempts: u32,
    /// Whether two messages with this id may exist: the gateway sent the message again after a lost connection, or an earlier
    /// request with the same `Idempotency-Key` may have left one.
    #[schema(example = false)]
    duplicate_possible: bool,
}

/// Publish a message
///
/// Answers after RabbitMQ's confirm, and never says `confirmed` for a message that RabbitMQ has not confirmed. The body's bytes
/// are the message; `Content-Type`, `Content-Encoding` and `X-Amqp-*` headers become its properties, `X-Amqp-Header-<name>` its
/// headers. With `Content-Type: application/vnd.amqp.message+json` the body is an envelope that holds the whole message.
///
/// A CloudEvent is a body of `application/cloudevents+json`, or has `ce-*` headers. Its attributes become headers of the message, such
/// as `cloudEvents_id`, and its data the body; with `cloudevents=structured` the body is the whole event as JSON.
///
/// A restart of RabbitMQ causes a delay, not an error, as long as RabbitMQ is back within the deadline. The gateway then sends a
/// message that it had not sent. It sends a message again, with the same `message_id`, when a lost connection left its outcome
/// unknown; the receipt then says `duplicate_possible`.
///
/// You may send a request with an `Idempotency-Key` again: the gateway answers with the first receipt, and publishes again only where
/// the first request left no message, or left the outcome `rejected` or `unknown`.
#[utoipa::path(
    post,
    path = "/publish/{exchange}",
    operation_id = "publish_message",
    tag = "publish",
    params(
        ("exchange" = String, Path, description = "Exchange; `amq.default` is the default exchange, which routes to the queue named by the routing key", example = "amq.default"),
        ("routing_key" = Option<String>, Query, description = "Routing key; empty by default", example = "hello"),
        ("routing_key_from" = Option<KeyAttribute>, Query, description = "Attribute of a CloudEvent that is its routing key"),
        ("cloudevents" = Option<ContentMode>, Query, description = "Message of a CloudEvent: `binary` (the default), with its attributes as headers; `structured`, the whole event as the body"),
        ("mandatory" = Option<bool>, Query, description = "Whether a message that no queue takes is an error; true by default", example = true),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `500ms`, `5s` or `1m`; 10 s by default, 60 s at most", example = "5s"),
        ("retry" = Option<bool>, Query, description = "`false`: answer 504 instead of sending the message again when a lost connection left its outcome unknown", example = true),
        ("Idempotency-Key" = Option<String>, Header, description = "Key of your choice, which becomes the `message_id`; the same request with it gets the first receipt, for 10 minutes by default"),
        ("X-Amqp-Message-Id" = Option<String>, Header, description = "Identity of the message; a UUIDv7 if not given"),
        ("X-Amqp-Correlation-Id" = Option<String>, Header, description = "Id that connects a reply with its request"),
        ("X-Amqp-Reply-To" = Option<String>, Header, description = "Queue for replies"),
        ("X-Amqp-Type" = Option<String>, Header, description = "Application's name for the kind of message"),
        ("X-Amqp-App-Id" = Option<String>, Header, description = "Application that publishes"),
        ("X-Amqp-Priority" = Option<u8>, Header, maximum = 255, description = "0 to 255"),
        ("X-Amqp-Expiration" = Option<u64>, Header, maximum = 315_360_000_000_u64, description = "Milliseconds that the message may wait in a queue; 0: RabbitMQ delivers it at once or drops it"),
        ("X-Amqp-Delivery-Mode" = Option<DeliveryMode>, Header, description = "`persistent` (the default) or `transient`"),
        ("X-Amqp-Timestamp" = Option<String>, Header, description = "RFC 3339, or seconds since 1970, not later than the year 9999"),
        ("ce-specversion" = Option<SpecVersion>, Header, description = "Marks a CloudEvent in binary mode; each attribute is a header `ce-<name>`, percent-encoded, and Content-Type is `datacontenttype`"),
        ("ce-id" = Option<String>, Header, description = "Identity of the event within its source, such as `7c2f`; needed in binary mode"),
        ("ce-source" = Option<String>, Header, description = "Origin of the event, such as `urn:example:shop`; needed in binary mode"),
        ("ce-type" = Option<String>, Header, description = "Kind of the event, such as `org.example.order.created`; needed in binary mode"),
        ("ce-subject" = Option<String>, Header, description = "Object of the event within its source, such as `42`"),
        ("ce-time" = Option<String>, Header, description = "Time of the event, such as `2026-11-24T08:00:00Z` (RFC 3339)"),
        ("Prefer" = Option<String>, Header, description = "`return=minimal`: answer 204 with the receipt in headers"),
    ),
    request_body(
        description = "The bytes of the message, of any media type; or an envelope, which holds any JSON in `body`, text in `body_text`, or bytes in `body_base64`; or a CloudEvent with `data` or `data_base64`",
        content(
            (RawBody = "application/octet-stream"),
            (Envelope = "application/vnd.amqp.message+json", example = json!({"properties": {"type": "greeting"}, "body": {"hello": "world"}})),
            (CloudEvent = "application/cloudevents+json", example = json!({"specversion": "1.0", "id": "7c2f", "source": "urn:example:shop", "type": "org.example.order.created", "data": {"order": 42}})),
            (String = "text/plain", example = "hello"),
        )
    ),
    responses(
        (status = 200, description = "RabbitMQ has confirmed the message", body = PublishReceipt, headers(
            ("Idempotency-Replayed" = bool, description = "`true`: an earlier request with the same `Idempotency-Key` got this receipt"),
        )),
        (status = 204, description = "The same, with `Prefer: return=minimal`", headers(
            ("X-Amqp-Message-Id" = String, description = "The message's id"),
            ("X-Gateway-Attempts" = u32, description = "How often the gateway wrote the message to RabbitMQ"),
            ("X-Gateway-Duplicate-Possible" = bool, description = "Whether two messages with this id may exist"),
            ("Preference-Applied" = String, description = "`return=minimal`"),
            ("Idempotency-Replayed" = bool, description = "`true`: an earlier request with the same `Idempotency-Key` got this receipt"),
        )),
        (status = 404, description = "`exchange-not-found`"),
        (status = 409, description = "`idempotency-key-in-use`: an earlier request with this `Idempotency-Key` is in flight", headers(
            ("Retry-After" = u16, description = "Seconds until a retry makes sense"),
        )),
        (status = 422, description = "`unroutable`: no queue took the message; `idempotency-key-reused`: the `Idempotency-Key` belongs to another message"),
        (status = 503, description = "`broker-unavailable`, `broker-blocked`, `broker-refused`, `rejected`, `overloaded`, `shutting-down`"),
        (status = 504, description = "`outcome-unknown`: the message may be in a queue"),
    )
)]
pub(in crate::http) fn publish_message(
    State(state): State<AppState>,
    request: Request,
) -> BoxFuture<'static, Response> {
    let check = |state: &AppState, parts: &Parts| {
        let broker = state.permitted(&parts.extensions)?;
        Ok((broker, PathNames::of(parts)?, TimedQuery::of(&parts.uri, state.limits())?))
    };
    with_body(state, request, check, |state, parts, (broker, PathNames(exchange), query), body| {
        let asked = body.and_then(|body| read(&state, exchange, query, &parts.headers, &body));
        let permitted =
            asked.and_then(|(asked, id_source, reply_to)| Ok((broker.permit(asked, reply_to)?, id_source)));
        let minimal = prefers_minimal(&parts.headers);
        match permitted {
            Ok((asked, IdSource::IdempotencyKey)) => publish_keyed(state, broker, asked, minimal).boxed(),
            Ok((asked, _)) => publish(asked, minimal).boxed(),
            Err(problem) => ready(problem.into_response()).boxed(),
        }
    })
}

async fn publish(asked: PermittedPublish, minimal: bool) -> Response {
    let result = asked.send().await;
    answer(&asked, result, minimal)
}

/// Publishes a message whose id is its idempotency key, or answers with the receipt of an earlier request.
async fn publish_keyed(
    state: AppState,
    broker: PermittedBroker,
    mut asked: PermittedPublish,
    minimal: bool,
) -> Response {
    let begun = broker.caller().principal().and_then(|it| state.idempotency.begin(&asked, &it.name));
    let key = match begun {
        Ok(Keyed::Publish(key)) => key,
        Ok(Keyed::Replay(receipt)) => return replay(&asked, receipt, minimal),
        Err(problem) => return problem.message_id(asked.message.id.clone()).into_response(),
    };
    asked.note_earlier_copy(key.earlier_copy_possible());
    let result = asked.send().await;
    key.end(&result);
    answer(&asked, result, minimal)
}

fn replay(asked: &Publish, receipt: Receipt, minimal: bool) -> Response {
    let mut response = PublishReceipt::of(asked, receipt).answer(minimal);
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    response
}

fn answer(asked: &Publish, result: Result<Receipt, PublishFailure>, minimal: bool) -> Response {
    match result {
        Ok(receipt) => PublishReceipt::of(asked, receipt).answer(minimal),
        Err(failure) => failure::problem(asked, failure).message_id(asked.message.id.clone()).into_response(),
    }
}

/// Reads the publish from the request, the origin of the message's id, and the name under which the request gives the queue for replies.
fn read(
    state: &AppState,
    exchange: ExchangeName,
    mut query: TimedQuery<PublishDeadline>,
    headers: &HeaderMap,
    body: &ReadBody,
) -> Result<(Publish, IdSource, &'static str), Problem> {
    let parameters = &mut query.parameters;
    let resend = parameters.flag("retry")?.unwrap_or(true);
    let (routing_key, mandatory) = (parameters.text("routing_key")?, parameters.flag("mandatory")?);
    let events = EventMapping::take(parameters, state.cloudevents_prefix(), routing_key.as_ref())?;
    let deadline = query.finish()?;
    let mut parsed = codec::read_with_events(headers, body, state, &events)?;
    let destination = destination(exchange, routing_key, mandatory, &mut parsed)
        .map_err(|problem| problem.message_id(parsed.message.id.clone()))?;
    let (id_source, reply_to) = (parsed.id_source, parsed.reply_to_field());
    Ok((Publish::new(parsed.message, destination, deadline, resend), id_source, reply_to))
}

impl<'a> PublishReceipt<'a> {
    fn of(publish: &'a Publish, receipt: Receipt) -> Self {
        Self {
            outcome: receipt.outcome,
            message_id: &publish.message.id,
            exchange: publish.destination.exchange.in_path(),
            routing_key: publish.destination.routing_key.as_str(),
            attempts: receipt.attempts,
            duplicate_possible: receipt.duplicate_possible,
        }
    }

    fn answer(self, minimal: bool) -> Response {
        if minimal { self.into_headers() } else { self.into_json() }
    }

    fn into_json(self) -> Response {
        // Enough for most receipts, so that the vector does not grow.
        let mut json = Vec::with_capacity(256);
        match serde_json::to_writer(&mut json, &self) {
            Ok(()) => ([(CONTENT_TYPE, JSON)], json).into_response(),
            Err(error) => {
                Problem::internal("cannot write a receipt as JSON").caused_by(&error).into_response()
            }
        }
    }

    fn into_headers(self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        // An id has no control characters, so it is a valid header value.
        if let Ok(id) = HeaderValue::from_bytes(self.message_id.as_bytes()) {
            headers.insert(X_AMQP_MESSAGE_ID, id);
        }
        headers.insert(ATTEMPTS, self.attempts.into());
        let duplicate = if self.duplicate_possible { "true" } else { "false" };
        headers.insert(DUPLICATE_POSSIBLE, HeaderValue::from_static(duplicate));
        headers.insert(PREFERENCE_APPLIED, RETURN_MINIMAL);
        response
    }
}
