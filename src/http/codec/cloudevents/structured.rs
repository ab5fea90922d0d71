//! Reads an event in structured mode: one JSON object (JSON Event Format for CloudEvents 1.0.2).

mod data;
mod members;

use bytes::Bytes;

use self::members::Members;
use super::attribute::{Attributes, CONTENT_TYPE, Place};
use super::event::Event;
use crate::domain::names::ShortText;
use crate::http::problem::Problem;
use crate::http::request;

/// The content type of `data` without `datacontenttype`.
const JSON: &str = "application/json";

/// Reads an event, which is a whole body or a part of one.
///
/// # Errors
/// 400 naming the member.
pub(super) fn read(document: &Bytes) -> Result<Event, Problem> {
    let Members { attributes, data, data_base64 } = request::json(document)?;
    let mut attributes = Attributes::check(Place::Members, attributes)?;
    let given = attributes.take_content_type();
    let content_type = given.as_deref().or(data.map(|_| JSON));
    let data = data::read(document, data, data_base64, content_type.unwrap_or_default())?;
    let content_type = content_type
        .map(|text| ShortText::parse(text).map_err(|error| Problem::malformed(CONTENT_TYPE, error)))
        .transpose()?;
    Ok(Event { attributes, content_type, data })
}
