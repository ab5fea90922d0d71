//! The parameters of a request about its events: the content mode of the messages, and the attribute that is the routing key.

use serde::Serialize;
use utoipa::ToSchema;

use super::attribute::Attributes;
use crate::domain::names::ShortText;
use crate::http::problem::Problem;
use crate::http::quote::quoted;
use crate::http::request::Query;

const MODE: &str = "cloudevents";
const KEY_FROM: &str = "routing_key_from";

/// How a CloudEvent becomes a message. `binary`: the body is the event's data, and its attributes are headers. `structured`: the
/// body is the whole event as a JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CloudEventsMode)]
pub(in crate::http) enum ContentMode {
    /// Attributes are headers.
    Binary,
    /// The body is the document.
    Structured,
}

/// The attribute of a CloudEvent that is the routing key of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RoutingKeyAttribute)]
pub(in crate::http) enum KeyAttribute {
    /// `type`
    Type,
    /// `subject`
    Subject,
    /// `partitionkey`, an extension
    PartitionKey,
}

impl KeyAttribute {
    const ALL: [Self; 3] = [Self::Type, Self::Subject, Self::PartitionKey];

    const fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Subject => "subject",
            Self::PartitionKey => "partitionkey",
        }
    }
}

/// How the events of one request become messages.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct EventMapping<'a> {
    prefix: &'a str,
    mode: Option<ContentMode>,
    key: Option<KeyAttribute>,
}

impl<'a> EventMapping<'a> {
    /// Takes the parameters about events. `prefix` begins the name of each header that is an attribute; `routing_key` is the
    /// parameter of this name.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub(in crate::http) fn take(
        query: &mut Query,
        prefix: &'a str,
        routing_key: Option<&ShortText>,
    ) -> Result<Self, Problem> {
        let mode = query.take(MODE)?.map(|text| mode(&text)).transpose()?;
        let key = query.take(KEY_FROM)?.map(|text| key_attribute(&text)).transpose()?;
        if key.is_some() && routing_key.is_some() {
            return Err(Problem::malformed(KEY_FROM, "is given beside routing_key: give one of the two"));
        }
        Ok(Self { prefix, mode, key })
    }

    /// Refuses the parameters on a request that is no event.
    ///
    /// # Errors
    /// 400 naming the parameter.
    pub(in crate::http) fn refuse_for_other(&self) -> Result<(), Problem> {
        let given = [(MODE, self.mode.is_some()), (KEY_FROM, self.key.is_some())];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((parameter, _)) => Err(Problem::malformed(
                parameter,
                "is for CloudEvents, and this request is none: send application/cloudevents+json or the header ce-specversion, \
                 or leave the parameter out",
            )),
        }
    }

    pub(super) fn mode(&self) -> ContentMode {
        self.mode.unwrap_or(ContentMode::Binary)
    }

    /// The name of the header that is this attribute.
    pub(super) fn header_name(&self, attribute: &str) -> String {
        format!("{}{attribute}", self.prefix)
    }

    /// The routing key that the event gives.
    pub(super) fn routing_key(&self, attributes: &Attributes) -> Result<Option<ShortText>, Problem> {
        let Some(name) = self.key.map(KeyAttribute::name) else { return Ok(None) };
        let Some(value) = attributes.get(name) else {
            let why = format!("is missing: {KEY_FROM}={name} takes the routing key from it");
            return Err(attributes.malformed(name, why));
        };
        let key = ShortText::parse(value.canonical());
        key.map(Some)
            .map_err(|error| attributes.malformed(name, format!("is the routing key, which {error}")))
    }
}

#[cfg(test)]
impl<'a> EventMapping<'a> {
    pub(super) fn new(prefix: &'a str, mode: Option<ContentMode>, key: Option<KeyAttribute>) -> Self {
        Self { prefix, mode, key }
    }
}

fn mode(text: &str) -> Result<ContentMode, Problem> {
    match text {
        "binary" => Ok(ContentMode::Binary),
        "structured" => Ok(ContentMode::Structured),
        other => {
            Err(Problem::malformed(MODE, format!("must be binary or structured, not {}", quoted(other))))
        }
    }
}

fn key_attribute(text: &str) -> Result<KeyAttribute, Problem> {
    KeyAttribute::ALL.into_iter().find(|attribute| attribute.name() == text).ok_or_else(|| {
        let why = format!("must be type, subject or partitionkey, not {}", quoted(text));
        Problem::malformed(KEY_FROM, why)
    })
}
