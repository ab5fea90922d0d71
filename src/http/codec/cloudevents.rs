//! Reads CloudEvents 1.0.2 in structured and in binary mode, and makes messages of them.
//!
//! In binary mode, the default, each attribute is a header of the message, `datacontenttype` is its `content_type`, and the data is
//! its body. In structured mode the message's body is the event as a JSON document.

mod attribute;
mod binary;
mod contract;
mod document;
mod event;
mod header_value;
mod mapping;
mod structured;
mod time;

#[cfg(test)]
mod tests;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use bytes::Bytes;

pub(super) use self::binary::SPECVERSION;
pub(in crate::http) use self::contract::{CloudEvent, SpecVersion};
pub(super) use self::event::STRUCTURED;
pub(in crate::http) use self::mapping::{ContentMode, EventMapping, KeyAttribute};
use super::parsed_message::ParsedMessage;
use super::raw::{self, AmqpHeaders};
use crate::http::problem::{Problem, ProblemType};
use crate::http::request::{ReadBody, derive};

/// Media type of a JSON array of events.
pub(super) const BATCH: &str = "application/cloudevents-batch+json";

/// Reads an event in structured mode, which is a whole body or a part of one. `beside` is the part of the message that is no part
/// of the event.
///
/// # Errors
/// 400 naming the member.
pub(super) fn read(
    document: &Bytes,
    beside: AmqpHeaders,
    mapping: &EventMapping<'_>,
) -> Result<ParsedMessage, Problem> {
    let event = structured::read(document)?;
    match mapping.mode() {
        ContentMode::Binary => event.into_binary(beside, mapping),
        ContentMode::Structured => event.into_structured(document.clone(), beside, mapping),
    }
}

/// Reads an event in binary mode.
///
/// # Errors
/// 400 naming the header; 415 for a content coding that the document cannot state; `overloaded` when the budget of bodies has no
/// room for the document.
pub(super) fn read_binary(
    headers: &HeaderMap,
    body: &ReadBody,
    mapping: &EventMapping<'_>,
) -> Result<ParsedMessage, Problem> {
    let mut beside = raw::amqp_headers(headers)?;
    beside.properties.content_encoding = raw::content_encoding(headers)?;
    let event = binary::read(headers, body.bytes.clone())?;
    match mapping.mode() {
        ContentMode::Binary => event.into_binary(beside, mapping),
        ContentMode::Structured => {
            refuse_coding(headers)?;
            beside.properties.content_encoding = None;
            let document = body.within_budget(document::write(&event)?.into())?;
            event.into_structured(derive(&body.bytes, document), beside, mapping)
        }
    }
}

fn refuse_coding(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding == "identity") {
        return Ok(());
    }
    Err(Problem::new(
        ProblemType::UnsupportedMediaType,
        "a CloudEvent as a document cannot have a content coding: send it without Content-Encoding, or leave out \
         cloudevents=structured",
    ))
}
