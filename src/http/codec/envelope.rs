//! Reads the envelope: a whole message as one JSON document, with every property and every header type.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Purpose;
use super::field::Table;
use super::parsed_message::{Form, ParsedMessage};
use super::property::{self, Wrong};
use crate::domain::message::{DeliveryMode, Properties};
use crate::domain::names::ShortText;
use crate::http::openapi::schemas;
use crate::http::problem::Problem;
use crate::http::request::{self, Document, derive};

/// Media type of the JSON envelope.
pub(super) const ENVELOPE: &str = "application/vnd.amqp.message+json";
/// A message as one JSON document. Exactly one of `body`, `body_text` and `body_base64` is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"routing_key": "hello", "properties": {"type": "greeting"}, "body": {"hello": "world"}}))]
pub(in crate::http) struct Envelope<'a> {
    /// Routing key; the query parameter `routing_key` has the same meaning.
    #[serde(borrow, default)]
    routing_key: Option<Cow<'a, str>>,
    /// Whether a message that no queue takes is an error. With `false`, the outcome is `accepted` without a check.
    #[serde(default)]
    mandatory: Option<bool>,
    /// Basic properties of the message.
    #[serde(default, deserialize_with = "request::object")]
    properties: PropertiesJson,
    /// The header table.
    #[serde(default)]
    #[schema(schema_with = schemas::headers)]
    headers: Table,
    /// Any JSON; the gateway sends the text without a change. `content_type` is `application/json` if not given.
    #[serde(borrow, default, deserialize_with = "present")]
    #[schema(value_type = serde_json::Value)]
    body: Option<&'a RawValue>,
    /// Text; the gateway sends it as UTF-8. `content_type` is `text/plain; charset=utf-8` if not given.
    #[serde(borrow, default)]
    body_text: Option<Cow<'a, str>>,
    /// Any bytes, as base64.
    #[serde(borrow, default)]
    #[schema(schema_with = schemas::base64)]
    body_base64: Option<Cow<'a, str>>,
}

/// Basic properties as JSON.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageProperties)]
struct PropertiesJson {
    /// MIME type of the body.
    #[schema(value_type = Option<String>)]
    content_type: Option<Text>,
    /// Content coding of the body.
    #[schema(value_type = Option<String>)]
    content_encoding: Option<Text>,
    /// Delivery mode by name, or by AMQP's number.
    #[schema(schema_with = schemas::delivery_mode)]
    delivery_mode: Option<Scalar>,
    /// 0 to 255.
    #[schema(schema_with = schemas::priority)]
    priority: Option<Scalar>,
    /// Id that connects a reply with its request.
    #[schema(value_type = Option<String>)]
    correlation_id: Option<Text>,
    /// Queue for replies.
    #[schema(value_type = Option<String>)]
    reply_to: Option<Text>,
    /// Milliseconds, as a number or as a string.
    #[schema(schema_with = schemas::expiration)]
    expiration: Option<Scalar>,
    /// Identity of the message; a UUIDv7 if not given.
    #[schema(value_type = Option<String>)]
    message_id: Option<Text>,
    /// RFC 3339, or seconds since 1970.
    #[schema(schema_with = schemas::timestamp)]
    timestamp: Option<Scalar>,
    /// Application's name for the kind of message.
    #[schema(value_type = Option<String>)]
    r#type: Option<Text>,
    /// The gateway's own user, if given.
    #[schema(value_type = Option<String>)]
    user_id: Option<Text>,
    /// Application that publishes.
    #[schema(value_type = Option<String>)]
    app_id: Option<Text>,
    /// Deprecated by AMQP; the gateway passes it on without a change.
    #[schema(value_type = Option<String>)]
    cluster_id: Option<Text>,
}

/// A short string.
#[derive(Debug)]
struct Text(ShortText);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ShortText::parse(text).map(Text).map_err(serde::de::Error::custom)
    }
}

/// A number, or a string with a number. The parser of the property checks it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a string or a whole number")]
enum Scalar {
    #[serde(deserialize_with = "number")]
    Number(i64),
    Text(String),
}

impl Scalar {
    fn parse<T>(&self, field: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Result<T, Problem> {
        let parsed = match self {
            Self::Number(number) => parse(&number.to_string()),
            Self::Text(text) => parse(text),
        };
        parsed.map_err(|why| wrong_property(field, why))
    }

    fn delivery_mode(&self) -> Result<DeliveryMode, Problem> {
        let parsed = match self {
            Self::Number(number) => property::delivery_mode_number(*number),
            Self::Text(text) => property::delivery_mode(text),
        };
        parsed.map_err(|why| wrong_property("delivery_mode", why))
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    request::whole(deserializer)?.ok_or_else(|| serde::de::Error::custom("null is not a number"))
}

fn wrong_property(field: &str, why: Wrong) -> Problem {
    Problem::malformed(&format!("properties.{field}"), why)
}

/// Reads `"body": null` as a body, and not as a missing one.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads an envelope that is a whole body.
pub(super) fn read(input: &Bytes, purpose: Purpose) -> Result<ParsedMessage, Problem> {
    let document = Document::named("body").without(purpose.own());
    document.read::<Envelope<'_>>(input)?.into_message(input)
}

impl Envelope<'_> {
    /// The message in the envelope, which was read from `input`.
    pub(super) fn into_message(self, input: &Bytes) -> Result<ParsedMessage, Problem> {
        let (body, content_type) = self.body(input)?;
        let (id, mut properties) = self.properties.split()?;
        if properties.content_type.is_none() {
            properties.content_type = content_type.and_then(|text| ShortText::parse(text).ok());
        }
        let routing_key = self
            .routing_key
            .map(|key| ShortText::parse(key).map_err(|error| Problem::malformed("routing_key", error)))
            .transpose()?;
        let parsed = ParsedMessage::new(id, properties, self.headers.0, body);
        Ok(ParsedMessage { routing_key, mandatory: self.mandatory, form: Form::Envelope, ..parsed })
    }

    /// The payload, and the default content type of its kind.
    fn body(&self, input: &Bytes) -> Result<(Bytes, Option<&'static str>), Problem> {
        match (self.body, &self.body_text, &self.body_base64) {
            (Some(json), None, None) => {
                Ok((input.slice_ref(json.get().as_bytes()), Some("application/json")))
            }
            (None, Some(Cow::Borrowed(text)), None) => {
                Ok((input.slice_ref(text.as_bytes()), Some("text/plain; charset=utf-8")))
            }
            (None, Some(Cow::Owned(text)), None) => {
                Ok((derive(input, text.clone()), Some("text/plain; charset=utf-8")))
            }
            (None, None, Some(text)) => {
                let bytes = BASE64_STANDARD.decode(text.as_bytes()).map_err(|_| {
                    Problem::malformed("body_base64", "must be base64 with padding (RFC 4648, section 4)")
                })?;
                Ok((derive(input, bytes), None))
            }
            (None, None, None) => {
                Err(Problem::malformed("body", "is missing: give body, body_text or body_base64"))
            }
            _ => Err(Problem::malformed(
                "body",
                "is given beside another body: give only one of body, body_text and body_base64",
            )),
        }
    }
}

impl PropertiesJson {
    /// The message's id, if given, and the other properties.
    fn split(self) -> Result<(Option<ShortText>, Properties), Problem> {
        let text = |text: Option<Text>| text.map(|Text(text)| text);
        let delivery_mode = self.delivery_mode.map(|value| value.delivery_mode()).transpose()?;
        let properties = Properties {
            delivery_mode,
            priority: self.priority.map(|value| value.parse("priority", property::priority)).transpose()?,
            expiration: self
                .expiration
                .map(|value| value.parse("expiration", property::expiration))
                .transpose()?,
            timestamp: self
                .timestamp
                .map(|value| value.parse("timestamp", property::timestamp))
                .transpose()?,
            content_type: text(self.content_type),
            content_encoding: text(self.content_encoding),
            correlation_id: text(self.correlation_id),
            reply_to: text(self.reply_to),
            kind: text(self.r#type),
            user_id: text(self.user_id),
            app_id: text(self.app_id),
            cluster_id: text(self.cluster_id),
        };
        Ok((text(self.message_id), properties))
    }
}
