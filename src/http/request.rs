//! Turns the parts of a request into valid values, or into a 400 that names the field.

mod array;
pub mod body;
mod json;
mod named;
mod path;
mod query;
mod timed;
mod whole_number;

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;

pub(super) use self::array::array;
pub(super) use self::body::{ReadBody, derive, guarded, with_body};
pub(super) use self::json::{json, json_of, object, word};
pub(super) use self::named::{Identified, Named};
pub(super) use self::path::PathNames;
pub(super) use self::query::Query;
pub(super) use self::timed::{CallDeadline, PublishDeadline, TimedQuery, TopologyDeadline};
pub(super) use self::whole_number::whole;
use super::problem::{Problem, ProblemType};
use super::quote::quoted;
use crate::domain::path_prefix::PathPrefix;

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

/// Refuses a body that is not plain JSON by its media type and content coding.
///
/// # Errors
/// 415.
pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    expect_media_type(headers, "application/json")
}

/// Refuses a body by its media type, and by its content coding.
///
/// # Errors
/// 415.
pub(super) fn expect_media_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
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
    if essence.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    unsupported(format!("the body must be {wanted}, not {}: set Content-Type", quoted(&given)))
}
