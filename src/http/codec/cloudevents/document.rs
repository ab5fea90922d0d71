//! Writes an event as a JSON document (JSON Event Format for CloudEvents 1.0.2).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::attribute::CONTENT_TYPE;
use super::event::Event;
use crate::domain::names::ShortText;
use crate::http::media_type::MediaType;
use crate::http::problem::Problem;

/// The data as a member of the document.
enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
    Base64,
}

impl<'a> Data<'a> {
    /// The form of data of this content type. Without a content type, `data` would be read as JSON.
    fn of(content_type: Option<&ShortText>, data: &'a [u8]) -> Self {
        let media_type = content_type.map(|text| MediaType::of(text.as_str()));
        let Some(media_type) = media_type.filter(MediaType::is_utf8) else { return Self::Base64 };
        if media_type.is_json() {
            return serde_json::from_slice(data).map_or(Self::Base64, Self::Json);
        }
        match std::str::from_utf8(data) {
            Ok(text) if media_type.is_text() && is_plain(text) => Self::Text(text),
            _ => Self::Base64,
        }
    }
}

/// Whether the text has no control characters but tabs and line breaks. JSON writes each of the others as six bytes, and the document
/// must stay smaller than twice the data.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        for (name, value) in self.attributes.iter() {
            members.serialize_entry(name, value)?;
        }
        if let Some(content_type) = &self.content_type {
            members.serialize_entry(CONTENT_TYPE, content_type.as_str())?;
        }
        if !self.data.is_empty() {
            match Data::of(self.content_type.as_ref(), &self.data) {
                Data::Json(json) => members.serialize_entry("data", json)?,
                Data::Text(text) => members.serialize_entry("data", text)?,
                Data::Base64 => {
                    members.serialize_entry("data_base64", &BASE64_STANDARD.encode(&self.data))?;
                }
            }
        }
        members.end()
    }
}

/// The event as a document.
pub(super) fn write(event: &Event) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(event)
        .map_err(|error| Problem::internal("cannot write a CloudEvent as JSON").caused_by(&error))
}
