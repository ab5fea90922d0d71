//! `POST /publish/{exchange}/stream`: publishes one message a line, and answers with one result a line while it reads.

mod input;
mod lines;
mod output;

use std::convert::Infallible;
use std::pin::pin;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt, poll_fn};
use tokio::sync::mpsc;
use tracing::{Instrument, Span};

use self::input::{Input, Line};
use self::output::Output;
pub(in crate::http) use self::output::StreamLine;
use super::bulk::{Bulk, Settled, Tally};
use super::preference::{PREFERENCE_APPLIED, RETURN_MINIMAL, prefers_minimal};
use crate::domain::names::ExchangeName;
use crate::domain::path_prefix::PathPrefix;
use crate::http::admission::RequestPermit;
use crate::http::codec;
use crate::http::problem::Problem;
use crate::http::request::{PathNames, PublishDeadline, TimedQuery, expect_media_type};
use crate::http::state::{AppState, PermittedBroker};

const NDJSON: &str = "application/x-ndjson";
/// Asks proxies that buffer answers, such as nginx, to pass on each line at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Publish a stream of messages
///
/// The body has one envelope a line (NDJSON), each with an optional `id`, which the result repeats. The gateway reads and answers at
/// the same time: it publishes each line at once, and writes a result line when RabbitMQ has answered. Messages with one routing key
/// are published in the order of the lines. Each line has its own outcome and its own deadline. The body has no limit; a line has
/// the limit of a request's body.
///
/// The last line is the summary. An answer without it was cut: lines without a result may be in a queue. A client that reads only
/// after it has sent everything uses `Prefer: return=minimal`.
#[utoipa::path(
    post,
    path = "/publish/{exchange}/stream",
    operation_id = "publish_stream",
    tag = "publish",
    params(
        ("exchange" = String, Path, description = "Exchange of all messages; `amq.default` is the default exchange", example = "amq.default"),
        ("routing_key" = Option<String>, Query, description = "Routing key of the messages that name none"),
        ("mandatory" = Option<bool>, Query, description = "Whether a message that no queue takes is an error, for the messages that do not say it; true by default", example = true),
        ("timeout" = Option<String>, Query, description = "Deadline of each line, from its last byte on, such as `500ms`, `5s` or `1m`; 10 s by default, 60 s at most", example = "5s"),
        ("retry" = Option<bool>, Query, description = "`false`: the outcome is `unknown` instead of a resend when a lost connection left it unknown", example = true),
        ("Prefer" = Option<String>, Header, description = "`return=minimal`: the answer has only the results that are neither confirmed nor accepted, a line `{\"settled\":N}` every 10,000 lines, and the summary"),
    ),
    request_body(
        content = String,
        content_type = "application/x-ndjson",
        description = "One envelope a line",
        example = "{\"id\": \"first\", \"routing_key\": \"hello\", \"body\": {\"hello\": \"world\"}}\n{\"id\": \"second\", \"routing_key\": \"hello\", \"body_text\": \"hello again\"}\n"
    ),
    responses(
        (status = 200, description = "One result a line, in the order in which they come in; the last line is the summary", body = StreamLine, content_type = "application/x-ndjson"),
        (status = 400, description = "`malformed-request`: a parameter or a header is wrong"),
        (status = 415, description = "`unsupported-media-type`: the body must be application/x-ndjson"),
        (status = 503, description = "`overloaded`: as many streams are open as GATEWAY_MAX_PUBLISH_STREAMS allows"),
    )
)]
pub(in crate::http) async fn publish_stream(
    State(state): State<AppState>,
    broker: PermittedBroker,
    PathNames(exchange): PathNames<ExchangeName>,
    mut query: TimedQuery<PublishDeadline>,
    prefix: PathPrefix,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let headers = &parts.headers;
    let bulk = Bulk::of((state.clone(), broker.clone()), exchange, &mut query.parameters, headers)?;
    let timeout = query.finish_later()?;
    expect_media_type(headers, NDJSON)?;
    codec::refuse_event_beside_envelope(headers)?;
    let Some(permit) = parts.extensions.remove::<RequestPermit>() else {
        return Err(Problem::internal("the route of publish streams does not admit its requests"));
    };
    let mut input = Input::new(body, permit, broker.clone(), timeout);
    if headers.contains_key(EXPECT) {
        // The client sends its body after a status 100, which hyper writes only before the header of the answer.
        input.wait_for_bytes().await;
    }
    let (sender, mut receiver) = mpsc::channel(1);
    let is_minimal = prefers_minimal(headers);
    let tally = Tally::new("stream", state.metric_sources.metrics.clone());
    let output = Output::new(sender, tally, is_minimal, prefix);
    let window = state.limits().publish_window;
    // The task settles the lines that were read also when the client has left.
    tokio::spawn(run((bulk, broker), input, output, window).instrument(Span::current()));
    let body = poll_fn(move |cx| receiver.poll_recv(cx).map(|piece| piece.map(Ok::<Bytes, Infallible>)));
    Ok(answer(Body::from_stream(body), is_minimal))
}

fn answer(body: Body, is_minimal: bool) -> Response {
    let mut response = body.into_response();
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if is_minimal {
        headers.insert(PREFERENCE_APPLIED, RETURN_MINIMAL);
    }
    response
}

/// Reads, publishes and answers until every line that was read has its result.
async fn run(
    (bulk, broker): (Bulk<'static>, PermittedBroker),
    mut input: Input,
    mut output: Output,
    window: usize,
) {
    let mut unsettled = FuturesUnordered::new();
    // The permissions are those of each line; without valid credentials no line has any.
    let mut refused = pin!(broker.caller().until_refused(Vec::new));
    let client = output.client();
    let mut read = 0_u64;
    loop {
        let reads = !input.has_ended() && unsettled.len() < window && output.has_room();
        if !reads && !input.has_ended() {
            input.wait_longer();
        }
        tokio::select! {
            biased;
            Some(settled) = unsettled.next() => output.add(settled),
            problem = &mut refused, if !input.has_ended() => {
                broker.note_refusal(&problem);
                input.refuse(&problem);
            }
            line = input.next(), if reads => {
                let Some(line) = line else { continue };
                match line {
                    Line::Message { json, deadline } => unsettled.push(bulk.publish(read, &json, deadline)),
                    Line::Wrong(problem) => output.add(Settled::refused(read, None, problem)),
                }
                read += 1;
            }
            () = output.send(), if !output.is_empty() => {}
            () = client.closed(), if !input.has_ended() => input.give_up(),
            else => break,
        }
    }
    // The input holds the permit of the stream until the client has taken the last line, or has left.
    output.end(read, input.end()).await;
    drop(input);
}
