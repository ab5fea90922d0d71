//! Reads or makes the request's id and puts it on the span, the log line, the answer and the body of a problem.
//!
//! No other file writes the body of a problem. This one also turns a bare error of a library into a problem.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tracing::{Level, Span};
use uuid::Uuid;

use super::audit::Audited;
use super::log_line::LogLine;
use crate::domain::message::MessageId;
use crate::domain::names::ShortText;
use crate::domain::outcome::Outcome;
use crate::domain::path_prefix::PathPrefix;
use crate::http::header_names::X_AMQP_MESSAGE_ID;
use crate::http::problem::Problem;
use crate::http::routes::{Route, Traits};
use crate::metrics::Metrics;

/// The header with the id, of the request and of the answer.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_ID_BYTES: usize = 128;

/// The id of a request: the caller's `x-request-id`, or a new UUID of version 7.
#[derive(Debug)]
struct RequestId(HeaderValue);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(X_REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(id), None) if is_usable(id.as_bytes()) => Self(id.clone()),
            _ => Self(fresh()),
        }
    }

    /// A span with the id. Its level is ERROR, so that a log that shows errors only has the id too.
    fn span(&self) -> Span {
        tracing::error_span!("request", id = self.as_str())
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Marks an answer, in its extensions, as the reply of an RPC server. The server chose its status and its body, so the gateway
/// does not turn an error status into a problem.
#[derive(Debug, Clone, Copy)]
pub struct IsReply;

fn is_usable(id: &[u8]) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The answer to a request that the gateway does not read.
pub fn answer_unread(problem: Problem) -> Response<Bytes> {
    let id = RequestId(fresh());
    let mut response = problem.clone().into_response();
    response.headers_mut().insert(X_REQUEST_ID, id.0.clone());
    response.map(|_| problem.render(id.as_str()).into())
}

/// The id of a request, and the parts of the request that the gateway needs for its answer.
pub struct Identified {
    id: RequestId,
    /// The id that the caller gave to its message.
    message_id: Option<MessageId>,
    /// The path prefix for the address of its problem.
    prefix: PathPrefix,
    traits: Traits,
    line: LogLine,
    audited: Option<Audited>,
}

impl Identified {
    /// Gives an id to a request, and begins its log line.
    pub fn new(
        metrics: &Metrics,
        route: &Arc<Route>,
        traits: Traits,
        request: &Request,
        prefix: PathPrefix,
    ) -> Self {
        let id = RequestId::of(request.headers());
        // Only the DEBUG lines within a request need the span.
        let span = if tracing::enabled!(Level::DEBUG) { id.span() } else { Span::none() };
        let line = LogLine::new(metrics.clone(), Arc::clone(route), request, span);
        let message_id = Some(request.headers()).filter(|_| traits.carries_message).and_then(message_id);
        Self { id, message_id, prefix, traits, line, audited: None }
    }

    /// Notes what the audit log may tell of the request.
    pub fn audit(&mut self, audited: Option<Audited>) {
        self.audited = audited;
    }

    /// The id.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// The span of the lines within the request.
    pub fn span(&self) -> &Span {
        self.line.span()
    }

    /// Puts the id on the answer, writes the body of its problem, and ends the log line.
    pub fn end(mut self, response: Response) -> Response {
        let (mut response, problem) = self.written(response);
        response.headers_mut().insert(X_REQUEST_ID, self.id.0.clone());
        if let Some(audited) = self.audited.take() {
            audited.end(self.id.as_str(), self.line.route(), response.status(), problem.as_ref());
        }
        self.line.end(response.status(), problem.as_ref(), || self.id.span());
        response
    }

    /// The response, with the body of its problem if it has one.
    fn written(&self, mut response: Response) -> (Response, Option<Problem>) {
        let said = response.extensions_mut().remove::<Problem>();
        let problem = match said {
            Some(problem) => self.about(problem),
            None if is_bare_error(&response) => {
                let problem = self.about(self.of_library(response.status()));
                response = problem.clone().into_response();
                problem
            }
            None => return (response, None),
        };
        let body = problem.clone().with_path_prefix(&self.prefix).render(self.id.as_str());
        if self.line.method() == Method::HEAD {
            response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
            *response.body_mut() = Body::empty();
        } else {
            response.headers_mut().remove(CONTENT_LENGTH);
            *response.body_mut() = Body::from(body);
        }
        (response, Some(problem))
    }

    /// A problem in place of a library's error. This layer does not know whether the handler has run, so it does not know the
    /// outcome of a message.
    fn of_library(&self, status: StatusCode) -> Problem {
        let problem = Problem::from(status);
        if self.traits.carries_message { problem.outcome(Outcome::Unknown, true) } else { problem }
    }

    /// Adds the message's id and its outcome to the problem of a request that carries a message.
    fn about(&self, problem: Problem) -> Problem {
        if !self.traits.carries_message {
            return problem;
        }
        let problem = match &self.message_id {
            Some(id) if !problem.has_message_id() => problem.message_id(id.clone()),
            _ => problem,
        };
        if problem.has_outcome() {
            return problem;
        }
        let (outcome, retryable) = problem.kind().outcome();
        problem.outcome(outcome, retryable)
    }
}

/// Whether the response is an error that a library wrote.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let media_type = response.headers().get(CONTENT_TYPE);
    let is_reply = response.extensions().get::<IsReply>().is_some();
    !is_reply
        && (status.is_client_error() || status.is_server_error())
        && media_type.is_none_or(|value| value.as_bytes().starts_with(b"text/plain"))
}

/// The id that the caller gave to a message by header.
fn message_id(headers: &HeaderMap) -> Option<MessageId> {
    let mut given = headers.get_all(X_AMQP_MESSAGE_ID).iter();
    let (Some(id), None) = (given.next(), given.next()) else { return None };
    let id = std::str::from_utf8(id.as_bytes()).ok()?;
    ShortText::parse(id).ok().filter(|id| !id.as_str().is_empty()).map(MessageId::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, value.parse().unwrap());
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_visible_id_of_up_to_128_bytes_is_kept() {
        assert_eq!(of(&["a"]).as_str(), "a");
        assert_eq!(of(&[&"x".repeat(128)]).as_str().len(), 128);
    }

    #[test]
    fn any_other_id_is_replaced() {
        for given in [&[][..], &[""], &["a b"], &["é"], &["a", "b"], &[&"x".repeat(129)]] {
            let id = of(given);
            assert!(Uuid::parse_str(id.as_str()).is_ok_and(|uuid| uuid.get_version_num() == 7), "{given:?}");
        }
    }
}
