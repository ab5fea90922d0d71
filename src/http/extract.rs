//! Turns the parts of a request into valid values, or into a 400 that names the field.

pub mod body;
mod json;
mod query;
mod whole;

use std::borrow::Cow;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use memchr::memchr_iter;
use percent_encoding::percent_decode_str;

pub(super) use self::body::{ReadBody, with_body};
pub(super) use self::json::{json, object, word};
pub(super) use self::query::Query;
pub(super) use self::whole::whole;
use super::problem::{Problem, ProblemType};
use super::quote::quoted;
use crate::domain::names::{ExchangeName, NameError, QueueName};
use crate::domain::path_prefix::PathPrefix;

/// The name in the path (its second segment), percent-decoded.
fn path_name(parts: &Parts) -> Result<Cow<'_, str>, Problem> {
    let path = parts.uri.path();
    let mut slashes = memchr_iter(b'/', path.as_bytes()).skip(1);
    let begin = slashes.next().map_or(path.len(), |slash| slash + 1);
    let name = &path[begin..slashes.next().unwrap_or(path.len())];
    if !name.contains('%') {
        return Ok(Cow::Borrowed(name));
    }
    percent_decode_str(name).decode_utf8().map_err(|_| Problem::malformed("the path", "is not UTF-8"))
}

fn wrong_name(what: &str, name: &str, error: &NameError) -> Problem {
    Problem::malformed(what, format!("{} {error}", quoted(name)))
}

/// The exchange in the path.
///
/// # Errors
/// When it is not a valid name.
pub(super) fn exchange_name(parts: &Parts) -> Result<ExchangeName, Problem> {
    let name = path_name(parts)?;
    ExchangeName::from_path(&name).map_err(|error| wrong_name("exchange", &name, &error))
}

/// The queue in the path.
///
/// # Errors
/// When it is not a valid name.
pub(super) fn queue_name(parts: &Parts) -> Result<QueueName, Problem> {
    let name = path_name(parts)?;
    QueueName::parse(&name).map_err(|error| wrong_name("queue", &name, &error))
}

impl<S: Sync> FromRequestParts<S> for QueueName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        queue_name(parts)
    }
}

/// The prefix that a proxy removed from the path.
impl<S: Sync> FromRequestParts<S> for PathPrefix {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// The headers of a request, moved out of it. Only the extractor of the body may come after this one: all others need the
/// headers.
pub(super) struct Headers(pub(super) HeaderMap);

impl<S: Sync> FromRequestParts<S> for Headers {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(std::mem::take(&mut parts.headers)))
    }
}

/// Refuses a body that is not plain JSON by its media type and content coding. An empty body needs no media type.
///
/// # Errors
/// 415.
pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |what: String| Err(Problem::new(ProblemType::UnsupportedMediaType, what));
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(coding) = text(CONTENT_ENCODING).filter(|coding| coding != "identity") {
        return unsupported(format!(
            "the content coding {} is not supported: send the body without a content coding",
            quoted(&coding)
        ));
    }
    let given = text(CONTENT_TYPE).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    unsupported(format!("the body must be application/json, not {}: set Content-Type", quoted(&given)))
}
