//! The attributes of a CloudEvent: their names and values by the type system of the specification, and the rules of the core
//! attributes.
//!
//! Guarantees that a checked event has the required attributes. Does not check that `source` and `dataschema` are URIs: the
//! gateway passes them on and does not use them.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

use super::time::is_rfc3339;
use crate::domain::field::FieldValue;
use crate::domain::names::SHORT_STRING_MAX;
use crate::http::problem::Problem;
use crate::http::quote::{cut, quoted};

/// The version of the specification that the gateway reads.
const VERSION: &str = "1.0";
/// The attribute that is the message's `content_type`.
pub(super) const CONTENT_TYPE: &str = "datacontenttype";
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// The attributes that are strings, and not empty.
const TEXTS: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "dataschema", "time", CONTENT_TYPE];

/// A value: a string (which also holds binary, URI and timestamp), a boolean, or an integer of 32 bits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum AttributeValue {
    Text(String),
    Boolean(bool),
    Integer(i32),
}

impl AttributeValue {
    /// The string form of the specification.
    pub(super) fn canonical(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Boolean(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
        }
    }
}

impl From<AttributeValue> for FieldValue {
    fn from(value: AttributeValue) -> Self {
        match value {
            AttributeValue::Text(text) => Self::Text(text.into_bytes()),
            AttributeValue::Boolean(value) => Self::Bool(value),
            AttributeValue::Integer(value) => Self::I32(value),
        }
    }
}

/// The part of the request that holds the attributes. Errors name an attribute as the caller wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Members,
    Headers,
}

impl Place {
    pub(super) fn field(self, attribute: &str) -> String {
        match self {
            Self::Members if attribute.is_empty() => quoted(attribute),
            Self::Members => cut(attribute),
            Self::Headers => format!("ce-{}", cut(attribute)),
        }
    }
}

/// The attributes of one event that are not null.
#[derive(Debug)]
pub(super) struct Attributes {
    place: Place,
    values: BTreeMap<String, AttributeValue>,
}

impl Attributes {
    /// Checks the attributes of one event.
    ///
    /// # Errors
    /// 400 naming the attribute.
    pub(super) fn check(place: Place, values: BTreeMap<String, AttributeValue>) -> Result<Self, Problem> {
        let attributes = Self { place, values };
        for (name, value) in &attributes.values {
            check_name(name)
                .and_then(|()| check_value(name, value))
                .map_err(|why| attributes.malformed(name, why))?;
        }
        match REQUIRED.into_iter().find(|name| !attributes.values.contains_key(*name)) {
            Some(name) => Err(attributes.malformed(name, "is missing: every CloudEvent needs it")),
            None => Ok(attributes),
        }
    }

    /// A problem that names this attribute.
    pub(super) fn malformed(&self, attribute: &str, why: impl Display) -> Problem {
        Problem::malformed(&self.place.field(attribute), why)
    }

    pub(super) fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.values.get(name)
    }

    /// Takes `datacontenttype`.
    pub(super) fn take_content_type(&mut self) -> Option<String> {
        self.values.remove(CONTENT_TYPE).map(|value| value.canonical())
    }

    /// All attributes in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &AttributeValue)> {
        self.values.iter()
    }

    /// The place of the attributes in the request, and all attributes.
    pub(super) fn into_parts(self) -> (Place, BTreeMap<String, AttributeValue>) {
        (self.place, self.values)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if name == "data" {
        return Err("is no name of an attribute: the data of an event is the body".to_owned());
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(
            "is no name of an attribute: use lower-case letters and digits only (a to z, 0 to 9)".to_owned()
        );
    }
    if name.len() > SHORT_STRING_MAX {
        return Err(format!("has a name of {} bytes: use at most {SHORT_STRING_MAX}", name.len()));
    }
    Ok(())
}

fn check_value(name: &str, value: &AttributeValue) -> Result<(), String> {
    let AttributeValue::Text(text) = value else {
        let is_text = TEXTS.contains(&name);
        return if is_text { Err(format!("must be a string, not {}", value.canonical())) } else { Ok(()) };
    };
    if text.chars().any(is_refused) {
        return Err("must not contain control characters or noncharacters of Unicode".to_owned());
    }
    match name {
        "specversion" if text != VERSION => Err(format!("must be \"{VERSION}\", not {}", quoted(text))),
        _ if text.is_empty() && REQUIRED.contains(&name) => Err("must not be empty".to_owned()),
        _ if text.is_empty() && TEXTS.contains(&name) => {
            Err("must not be empty: give a value or leave it out".to_owned())
        }
        "time" if !is_rfc3339(text) => {
            let example = "2018-04-05T17:31:00Z";
            Err(format!("must be an RFC 3339 time such as {example}, not {}", quoted(text)))
        }
        _ => Ok(()),
    }
}

/// Whether the specification forbids the character in strings.
fn is_refused(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}
