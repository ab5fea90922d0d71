//! The mapping from events to messages: the examples of the specification, mistakes, and both modes against each other.

mod examples;
mod mistakes;
mod modes;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::event::Event;
use super::mapping::{ContentMode, EventMapping, KeyAttribute};
use super::raw::AmqpHeaders;
use super::{binary, document};
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::ShortText;
use crate::http::codec::ParsedMessage;
use crate::http::problem::Problem;

fn mapping(key: Option<KeyAttribute>) -> EventMapping<'static> {
    EventMapping::new("cloudEvents_", None, key)
}

fn read(document: &str) -> Result<ParsedMessage, Problem> {
    read_as(document, &mapping(None))
}

fn read_as(document: &str, mapping: &EventMapping<'_>) -> Result<ParsedMessage, Problem> {
    super::read(&Bytes::copy_from_slice(document.as_bytes()), AmqpHeaders::default(), mapping)
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    headers
}

fn event(pairs: &[(&str, &str)], body: &[u8]) -> Result<Event, Problem> {
    binary::read(&headers(pairs), Bytes::copy_from_slice(body))
}

fn read_binary(pairs: &[(&str, &str)], body: &[u8]) -> Result<ParsedMessage, Problem> {
    event(pairs, body)?.into_binary(AmqpHeaders::default(), &mapping(None))
}

fn text(text: &str) -> FieldValue {
    FieldValue::from(text)
}

/// The content type, the headers and the body of a message.
fn parts(parsed: &ParsedMessage) -> (Option<&str>, &FieldTable, &[u8]) {
    let message = &parsed.message;
    let content_type = message.properties.content_type.as_ref().map(ShortText::as_str);
    (content_type, &message.headers, &message.body)
}
