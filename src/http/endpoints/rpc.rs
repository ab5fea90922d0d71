//! `POST /rpc/{queue}`: sends a request to the server of a queue, and answers with the reply.

use std::future::ready;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use utoipa::ToSchema;

use crate::broker::{Call, Error};
use crate::domain::access::Need;
use crate::domain::field::FieldValue;
use crate::domain::message::{DeliveryMode, Message, ReceivedMessage};
use crate::domain::names::{ExchangeName, QueueName, ShortText};
use crate::domain::outcome::Outcome;
use crate::http::codec::{self, EnvelopeOut, KeyAdvice, Purpose, RawBody};
use crate::http::layers::IsReply;
use crate::http::problem::{Problem, ProblemType};
use crate::http::quote::quoted;
use crate::http::request::{CallDeadline, PathNames, Query, ReadBody, TimedQuery, with_body};
use crate::http::reserved_name;
use crate::http::state::{AppState, PermittedBroker};

/// Header of a reply that may set the HTTP status.
const STATUS_HEADER: &str = "x-http-status";

/// The reply's bytes as its server sent them, under its content type.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only describes the answer in the contract")]
struct ReplyBody(Vec<u8>);

/// An envelope without the members that the gateway sets itself. `openapi/envelopes.rs` makes its schema.
#[derive(ToSchema)]
struct CallEnvelope {}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum ReplyForm {
    /// The reply's bytes, with its properties as headers.
    Raw,
    /// The reply as one JSON document.
    Envelope,
}

/// Call the server of a queue
///
/// Publishes the request to the queue with an exclusive reply queue as `reply_to` and a `correlation_id` that cannot be guessed.
/// Answers with the reply: its bytes, its content type, and its properties as `X-Amqp-*` headers. With `?reply=envelope`, or with
/// `Accept: application/vnd.amqp.message+json`, the answer is an envelope with all properties and headers.
///
/// Calls are at most once: the request waits for a connection as long as it is certainly not sent, and the gateway never repeats
/// it after it is written. It expires in the queue at the deadline, so a server does not execute it after its caller has given
/// up.
#[utoipa::path(
    post,
    path = "/rpc/{queue}",
    operation_id = "call_queue",
    tag = "rpc",
    params(
        ("queue" = String, Path, description = "Queue of the server", example = "echo"),
        ("timeout" = Option<String>, Query, description = "Deadline, such as `500ms`, `5s` or `1m`; 30 s by default, 5 min at most", example = "5s"),
        ("reply" = Option<ReplyForm>, Query, description = "`envelope`: the reply as one JSON document, with all its properties and headers; `raw` by default"),
        ("require_consumers" = Option<bool>, Query, description = "`true`: answer 503 at once if the queue has no consumer"),
        ("X-Amqp-Message-Id" = Option<String>, Header, description = "Identity of the request; a UUIDv7 if not given"),
        ("X-Amqp-Type" = Option<String>, Header, description = "Application's name for the kind of request"),
        ("X-Amqp-App-Id" = Option<String>, Header, description = "Application that calls"),
        ("X-Amqp-Priority" = Option<u8>, Header, maximum = 255, description = "0 to 255"),
        ("X-Amqp-Delivery-Mode" = Option<DeliveryMode>, Header, description = "`transient` (the default) or `persistent`"),
        ("X-Amqp-Timestamp" = Option<String>, Header, description = "RFC 3339, or seconds since 1970, not later than the year 9999"),
    ),
    request_body(
        description = "The bytes of the request, of any media type; or an envelope without `routing_key`, `mandatory`, `reply_to`, `correlation_id` and `expiration`",
        content(
            (RawBody = "application/octet-stream"),
            (CallEnvelope = "application/vnd.amqp.message+json", example = json!({"properties": {"type": "greeting"}, "body": {"hello": "world"}})),
            (String = "text/plain", example = "hello"),
        )
    ),
    responses(
        (status = 200, description = "The reply", content(
            (ReplyBody = "*/*"),
            (ReplyBody = "application/octet-stream"),
            (EnvelopeOut = "application/vnd.amqp.message+json"),
        ), headers(
            ("X-Amqp-Headers-Omitted" = u32, description = "Properties and headers that HTTP cannot carry, and those beyond 80 or 12 KiB; the envelope has them"),
        )),
        (status = 400, description = "`malformed-request`: names the field"),
        (status = 404, description = "`queue-not-found`"),
        (status = 502, description = "`reply-channel-lost`: the request may still be executed"),
        (status = 503, description = "`broker-unavailable`, `broker-blocked`, `broker-refused`, `rejected`, `no-consumers`, `overloaded`, `shutting-down`"),
        (status = 504, description = "`rpc-timeout`, `outcome-unknown`: the request may still be executed"),
    )
)]
pub(in crate::http) fn call_queue(
    State(state): State<AppState>,
    request: Request,
) -> BoxFuture<'static, Response> {
    let check = |state: &AppState, parts: &Parts| {
        let broker = state.permitted(&parts.extensions)?;
        Ok((broker, PathNames::of(parts)?, TimedQuery::of(&parts.uri, state.limits())?))
    };
    with_body(state, request, check, |state, parts, (broker, PathNames(queue), query), body| {
        let asked = body.and_then(|body| CallRequest::read(&state, queue, query, &parts.headers, body));
        match asked {
            Ok(asked) => asked.answer(state, broker).boxed(),
            Err(problem) => ready(problem.into_response()).boxed(),
        }
    })
}

/// The call that a request asks for.
struct CallRequest {
    call: Call,
    require_consumers: bool,
    form: ReplyForm,
    body: ReadBody,
}

impl CallRequest {
    fn read(
        state: &AppState,
        queue: QueueName,
        mut query: TimedQuery<CallDeadline>,
        headers: &HeaderMap,
        body: ReadBody,
    ) -> Result<Self, Problem> {
        codec::refuse_idempotency_key(headers, KeyAdvice::MessageIds)?;
        let require_consumers = query.parameters.flag("require_consumers")?.unwrap_or(false);
        let form = ReplyForm::take(&mut query.parameters)?.unwrap_or_else(|| ReplyForm::accepted(headers));
        let deadline = query.finish()?;
        let message = request(state, &queue, headers, &body)?;
        let call = Call::new(message, queue, deadline);
        Ok(Self { call, require_consumers, form, body })
    }

    async fn answer(self, state: AppState, broker: PermittedBroker) -> Response {
        let Self { call, require_consumers, form, body } = self;
        let id = call.message.id.clone();
        let served = if require_consumers { expect_consumers(&broker, &call).boxed().await } else { Ok(()) };
        let reply = match served {
            Ok(()) => reply_to(&broker, call).await,
            Err(problem) => Err(problem),
        };
        let answer = reply.and_then(|reply| answer(&state, form, &body, reply));
        answer.unwrap_or_else(|problem| problem.message_id(id).into_response())
    }
}

impl ReplyForm {
    fn take(query: &mut Query) -> Result<Option<Self>, Problem> {
        let form = query.take("reply")?.map(|form| match form.as_str() {
            "raw" => Ok(Self::Raw),
            "envelope" => Ok(Self::Envelope),
            _ => Err(Problem::malformed("reply", "must be raw or envelope")),
        });
        form.transpose()
    }

    fn accepted(headers: &HeaderMap) -> Self {
        if codec::accepts_envelope(headers) { Self::Envelope } else { Self::Raw }
    }
}

/// The message of the call. Refuses members that the gateway sets itself.
fn request(
    state: &AppState,
    queue: &QueueName,
    headers: &HeaderMap,
    body: &ReadBody,
) -> Result<Message, Problem> {
    let message = codec::read(headers, body, Purpose::Call, state)?.message;
    let routing_key = ShortText::parse(queue.as_str()).unwrap_or_default();
    reserved_name::refuse_destination(&ExchangeName::default(), routing_key.as_str())
        .map_err(|problem| problem.message_id(message.id.clone()))?;
    Ok(message)
}

async fn expect_consumers(broker: &PermittedBroker, call: &Call) -> Result<(), Problem> {
    let queue = &call.queue;
    let topology = broker.topology([Need::call_or_write(queue.as_str())])?;
    if topology.inspect(queue, call.deadline).await?.consumer_count > 0 {
        return Ok(());
    }
    let detail = format!(
        "queue {} has no consumer: start the server that answers its calls; nothing was sent",
        quoted(queue.as_str())
    );
    Err(Problem::new(ProblemType::NoConsumers, detail))
}

async fn reply_to(broker: &PermittedBroker, call: Call) -> Result<ReceivedMessage, Problem> {
    let queue = call.queue.clone();
    // The default exchange returns a message only because the queue does not exist.
    broker.call(call).await?.map_err(|failure| match failure.error {
        Error::Unroutable { .. } => {
            let detail = format!(
                "there is no queue {}: start the server that declares it, or correct the name; nothing was sent",
                quoted(queue.as_str())
            );
            Problem::new(ProblemType::QueueNotFound, detail).outcome(Outcome::NotSent, false)
        }
        _ => failure.into(),
    })
}

fn answer(
    state: &AppState,
    form: ReplyForm,
    body: &ReadBody,
    reply: ReceivedMessage,
) -> Result<Response, Problem> {
    let status = state.rpc_status_header().then(|| status(&reply)).flatten();
    let mut response = match form {
        ReplyForm::Raw => codec::answer_raw(&reply),
        ReplyForm::Envelope => codec::answer_envelope(reply).map_err(|error| unwritable(&error))?,
    };
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    if is_without_content(response.status()) {
        response.body_mut().clear();
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response.extensions_mut().insert(IsReply);
    let (parts, bytes) = response.into_parts();
    // The server has executed the request, also when the reply does not fit into the budget.
    let bytes = body.within_budget(bytes).map_err(|problem| problem.outcome(Outcome::Unknown, true))?;
    Ok(Response::from_parts(parts, bytes.into()))
}

fn unwritable(error: &serde_json::Error) -> Problem {
    Problem::internal("cannot write a reply as JSON").caused_by(error).outcome(Outcome::Unknown, true)
}

/// Whether an answer with this status has no content (RFC 9110, 15.3.5, 15.3.6, 15.4.5).
fn is_without_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The HTTP status that the reply asks for, if it is a final one.
fn status(reply: &ReceivedMessage) -> Option<StatusCode> {
    let code = match reply.headers.get(STATUS_HEADER)? {
        FieldValue::Text(text) => std::str::from_utf8(text).ok()?.parse().ok()?,
        FieldValue::U16(code) => *code,
        FieldValue::I16(code) => u16::try_from(*code).ok()?,
        FieldValue::I32(code) => u16::try_from(*code).ok()?,
        FieldValue::U32(code) => u16::try_from(*code).ok()?,
        FieldValue::I64(code) => u16::try_from(*code).ok()?,
        _ => return None,
    };
    StatusCode::from_u16(code).ok().filter(|status| (200..=599).contains(&status.as_u16()))
}
