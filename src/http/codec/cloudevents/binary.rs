//! Reads an event in binary mode: the attributes are `ce-*` headers, the body is the data (HTTP Protocol Binding for CloudEvents
//! 1.0.2, section 3.1). All values are strings.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;

use super::attribute::{AttributeValue, Attributes, CONTENT_TYPE, Place};
use super::event::Event;
use super::header_value::decode;
use crate::domain::names::ShortText;
use crate::http::codec::header::single;
use crate::http::codec::raw;
use crate::http::problem::Problem;

const PREFIX: &str = "ce-";

/// The header that marks an event in binary mode.
pub(in crate::http::codec) const SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// Reads the event of a request.
///
/// # Errors
/// 400 naming the header.
pub(super) fn read(headers: &HeaderMap, data: Bytes) -> Result<Event, Problem> {
    let mut attributes = BTreeMap::new();
    for name in headers.keys() {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        let value = value(headers, name, attribute)?;
        attributes.insert(attribute.to_owned(), AttributeValue::Text(value));
    }
    let attributes = Attributes::check(Place::Headers, attributes)?;
    let content_type = raw::content_type(headers)?.filter(|text| *text != ShortText::default());
    Ok(Event { attributes, content_type, data })
}

fn value(headers: &HeaderMap, name: &HeaderName, attribute: &str) -> Result<String, Problem> {
    if attribute == CONTENT_TYPE {
        return Err(Problem::malformed(name.as_str(), "is not allowed: Content-Type is this attribute"));
    }
    let value = single(headers, name)?.unwrap_or_default();
    decode(value).map_err(|why| Problem::malformed(name.as_str(), why))
}
