//! Turns the parts of a request into valid values, or into a 400 that names the field.

mod array;
pub mod body;
mod content;
mod duration;
mod json;
mod named;
mod path;
mod query;
mod timed;
mod whole_number;

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

pub(super) use self::array::array;
pub(super) use self::body::{ReadBody, derive, with_body};
pub(super) use self::content::{expect_json, expect_media_type, refuse_charset, refuse_coding};
pub(super) use self::duration::duration;
pub(super) use self::json::{Document, json, object, word};
pub(super) use self::named::{Identified, Leased, Named};
pub(super) use self::path::{PathNames, first_name};
pub(super) use self::query::Query;
pub(super) use self::timed::{CallDeadline, PublishDeadline, SettleDeadline, TimedQuery, TopologyDeadline};
pub(super) use self::whole_number::whole;
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
