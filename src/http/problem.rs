//! RFC 9457 problems, the only form of the gateway's errors.
//!
//! Owns the closed list of problem types. Guarantees that a body never holds an internal text: the cause is a field that only the
//! log line shows. Never decides which problem an error becomes; `error.rs` does.

mod item;
mod kind;
pub(super) mod page;
mod table;

use std::error::Error;
use std::fmt::{Display, Write};

use axum::http::StatusCode;
use axum::http::header::{
    ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::Schema;

pub use self::item::ItemProblem;
pub use self::table::{Operations, ProblemType};
use crate::broker::Refusal;
use crate::domain::message::MessageId;
use crate::domain::outcome::Outcome;
use crate::domain::path_prefix::PathPrefix;
use crate::http::openapi::schemas;

/// Media type of a problem.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The value of `X-Content-Type-Options`.
pub(super) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// How callers authenticate (RFC 6750, 3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"rabbitmq-gateway\"");
/// The same, for a caller whose key is wrong, unknown, expired or revoked (RFC 6750, 3.1).
const INVALID_TOKEN: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"rabbitmq-gateway\", error=\"invalid_token\"");

/// The field of a problem of a whole item.
pub(super) const ITEM: &str = "item";

type WriteSchema = fn() -> Schema;

/// The members that a problem may have in addition to those of [`ProblemBody`], each with its schema.
pub(super) const FURTHER_MEMBERS: [(&str, WriteSchema); 7] = [
    ("attempts", schemas::attempts),
    ("by", schemas::refused_by),
    ("field", schemas::field),
    ("limit", schemas::limit),
    ("missing", schemas::missing_permissions),
    ("results", schemas::results),
    ("settled_as", schemas::settled_as),
];

/// The characters that have to be escaped in a URN.
const NOT_IN_URN: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The reason why the gateway did not execute a request.
///
/// Converted into a response, it has a status and headers only. The outermost layer, which knows the request's id, writes the
/// body.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    body: ProblemBody,
    allow: Option<HeaderValue>,
    challenge: HeaderValue,
    cause: Option<String>,
}

/// An RFC 9457 problem: the reason why the gateway did not execute the request.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Path of a page that explains this kind of problem.
    #[serde(rename = "type")]
    #[schema(value_type = ProblemType)]
    kind: PageAddress,
    /// The kind of problem in a few words.
    #[schema(example = "Queue not found")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// Description of this occurrence of the problem.
    #[schema(example = "no queue \"orders\" in vhost \"/\"")]
    detail: String,
    /// The request, by its `x-request-id`.
    #[schema(example = "urn:request:01932c07-209c-7bd0-a3a4-0b5c8f3c8d9e")]
    instance: String,
    /// Outcome of the message: `unroutable`, `not_sent`, `rejected` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Outcome, required = false)]
    outcome: Option<Outcome>,
    /// Whether the caller may send the same request again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    /// The message's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    message_id: Option<MessageId>,
    /// Members of the list [`FURTHER_MEMBERS`].
    #[serde(flatten)]
    #[schema(ignore)]
    members: Map<String, Value>,
}

/// The path of the page of a kind of problem, below the prefix of a proxy.
#[derive(Debug, Clone)]
struct PageAddress {
    prefix: PathPrefix,
    kind: ProblemType,
}

impl Serialize for PageAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/problems/{}", self.prefix.as_str(), self.kind.name()))
    }
}

impl Problem {
    /// A problem, with a description of this occurrence for the caller.
    #[must_use]
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let body = ProblemBody {
            kind: PageAddress { prefix: PathPrefix::default(), kind },
            title: kind.title(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            instance: String::new(),
            outcome: None,
            retryable: None,
            message_id: None,
            members: Map::new(),
        };
        Self(Box::new(Parts { body, allow: None, challenge: CHALLENGE, cause: None }))
    }

    /// 400: `field` is wrong; `why` completes the sentence that begins with the field.
    pub(super) fn malformed(field: &str, why: impl Display) -> Self {
        Self::new(ProblemType::MalformedRequest, format!("{field} {why}")).with("field", field)
    }

    /// 413: the body is larger than `limit` bytes.
    pub(super) fn too_large(limit: usize) -> Self {
        let detail =
            format!("the body is over the limit of {limit} bytes, which GATEWAY_MAX_BODY_BYTES sets");
        Self::new(ProblemType::PayloadTooLarge, detail).with("limit", limit)
    }

    /// The same problem of an item of a document. The field is the path from the document, and a description that begins with the
    /// field begins with this path; any other names the item first.
    pub(super) fn of_item(mut self, item: &str) -> Self {
        let field = self.0.body.members.get("field").and_then(Value::as_str);
        let path = match field {
            None | Some(ITEM) => item.to_owned(),
            Some(field) => format!("{item}.{field}"),
        };
        let detail = &self.0.body.detail;
        let why = field.and_then(|field| detail.strip_prefix(field)).filter(|why| why.starts_with(' '));
        self.0.body.detail = match why {
            Some(why) => format!("{path}{why}"),
            None => format!("{item}: {detail}"),
        };
        self.with("field", path)
    }

    /// 500 with a constant text. Only the log shows `cause`.
    #[must_use]
    pub fn internal(cause: impl Into<String>) -> Self {
        let mut problem = Self::new(ProblemType::Internal, "the gateway failed; its log has the cause");
        problem.0.cause = Some(cause.into());
        problem
    }

    /// Adds the error that caused it, with its sources. Only the log shows it.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let _ = write!(cause, ": {error}");
            source = error.source();
        }
        self.0.cause = Some(cause);
        self
    }

    /// Adds the outcome of the message, and whether the caller may send it again.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome, retryable: bool) -> Self {
        self.0.body.outcome = Some(outcome);
        self.0.body.retryable = Some(retryable);
        self
    }

    /// Adds the message's id.
    #[must_use]
    pub fn message_id(mut self, id: MessageId) -> Self {
        self.0.body.message_id = Some(id);
        self
    }

    /// Adds one more member of the body: `attempts`, `by`, `field`, `limit`, `missing`, `results` or `settled_as`.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        debug_assert!(FURTHER_MEMBERS.iter().any(|(known, _)| *known == name), "{name} has no schema");
        self.0.body.members.insert(name.to_owned(), value.into());
        self
    }

    /// Notes that the gateway does not accept the token of the request. A request without one, or with credentials of another scheme, gets
    /// no error code.
    #[must_use]
    pub(super) fn invalid_token(mut self) -> Self {
        self.0.challenge = INVALID_TOKEN;
        self
    }

    /// Adds the allowed methods.
    #[must_use]
    pub fn allow(mut self, methods: HeaderValue) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// Replaces the description for the caller.
    #[must_use]
    pub fn with_detail(mut self, detail: String) -> Self {
        self.0.body.detail = detail;
        self
    }

    /// Puts this path prefix in front of its `type`, so that the link works through the proxy.
    #[must_use]
    pub fn with_path_prefix(mut self, prefix: &PathPrefix) -> Self {
        self.0.body.kind.prefix = prefix.clone();
        self
    }

    /// The kind of the problem.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        self.0.body.kind.kind
    }

    /// The cause, which only the log shows.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The description for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.body.detail
    }

    /// The description for a document that is not a request's body: `name` stands in place of "body".
    pub(super) fn detail_about(&self, name: &str) -> String {
        let detail = self.detail();
        detail.strip_prefix("body ").map_or_else(|| detail.to_owned(), |why| format!("{name} {why}"))
    }

    /// Whether it has the outcome of a message.
    #[must_use]
    pub fn has_outcome(&self) -> bool {
        self.0.body.outcome.is_some()
    }

    /// Whether it has the id of a message.
    #[must_use]
    pub fn has_message_id(&self) -> bool {
        self.0.body.message_id.is_some()
    }

    /// Whether objects remain that the gateway made before the problem.
    #[must_use]
    pub fn leaves_something(&self) -> bool {
        self.0.body.members.contains_key("results") || self.detail().contains(Refusal::REMAINS)
    }

    /// The body, for the request with this id.
    #[must_use]
    pub fn render(mut self, request_id: &str) -> Vec<u8> {
        self.0.body.instance = format!("urn:request:{}", utf8_percent_encode(request_id, NOT_IN_URN));
        serde_json::to_vec(&self.0.body).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind().status().into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        // Its texts quote the request, so a browser must not treat it as HTML.
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let Some(seconds) = self.kind().retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind() == ProblemType::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, self.0.challenge.clone());
        }
        if let Some(methods) = &self.0.allow {
            headers.insert(ALLOW, methods.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StatusCode> for Problem {
    /// The problem of an error for which a library gave only the status.
    fn from(status: StatusCode) -> Self {
        ProblemType::of_status(status).map_or_else(
            || Self::internal(format!("answered {status} without a problem")),
            |kind| Self::new(kind, kind.title().to_lowercase()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_no_others_unasked() {
        let body = Problem::new(ProblemType::QueueNotFound, "no queue \"a\"").render("a<b");
        let expected = r#"{"type":"/problems/queue-not-found","title":"Queue not found","status":404,"detail":"no queue \"a\"","instance":"urn:request:a%3Cb"}"#;
        assert_eq!(String::from_utf8(body).as_deref(), Ok(expected));
    }

    #[test]
    fn the_problem_of_an_item_names_its_field_by_one_path() {
        let of_item = |problem: Problem| {
            let body: Value = serde_json::from_slice(&problem.of_item("a[2]").render("x")).unwrap();
            [&body["detail"], &body["field"]].map(|text| text.as_str().unwrap_or_default().to_owned())
        };
        for (problem, detail, field) in [
            (Problem::malformed("b.c", "is wrong"), "a[2].b.c is wrong", "a[2].b.c"),
            (Problem::malformed(ITEM, "must be an object"), "a[2] must be an object", "a[2]"),
            (Problem::new(ProblemType::Forbidden, "no access"), "a[2]: no access", "a[2]"),
            (Problem::new(ProblemType::Forbidden, "busy").with("field", "b"), "a[2]: busy", "a[2].b"),
        ] {
            assert_eq!(of_item(problem), [detail, field]);
        }
    }

    #[test]
    fn further_members_stand_beside_the_standard_ones() {
        let problem = Problem::new(ProblemType::PayloadTooLarge, "too large")
            .with("limit", 8)
            .outcome(Outcome::NotSent, false);
        let body: Value = serde_json::from_slice(&problem.render("x")).unwrap();
        assert_eq!(
            (&body["limit"], &body["outcome"], &body["retryable"]),
            (&8.into(), &"not_sent".into(), &false.into())
        );
    }

    #[test]
    fn the_cause_is_never_in_the_body() {
        let body = Problem::internal("password 1234").render("x");
        assert!(!String::from_utf8(body).unwrap().contains("1234"));
    }
}
