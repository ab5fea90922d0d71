//! A CloudEvent that is checked, and the message that it becomes.

use bytes::Bytes;

use super::attribute::Attributes;
use super::mapping::EventMapping;
use crate::domain::field::FieldTable;
use crate::domain::names::ShortText;
use crate::http::codec::parsed_message::ParsedMessage;
use crate::http::codec::raw::AmqpHeaders;
use crate::http::problem::Problem;
use crate::http::quote::cut;

/// Media type of an event as one JSON document.
pub(in crate::http::codec) const STRUCTURED: &str = "application/cloudevents+json";

/// One event. Its attributes do not contain `datacontenttype`.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) attributes: Attributes,
    pub(super) content_type: Option<ShortText>,
    pub(super) data: Bytes,
}

impl Event {
    /// The message in binary mode: the attributes are headers, the data is the body.
    pub(super) fn into_binary(
        self,
        beside: AmqpHeaders,
        mapping: &EventMapping<'_>,
    ) -> Result<ParsedMessage, Problem> {
        let routing_key = mapping.routing_key(&self.attributes)?;
        let AmqpHeaders { id, mut properties, mut headers } = beside;
        properties.content_type = self.content_type;
        add_attributes(&mut headers, self.attributes, mapping)?;
        Ok(ParsedMessage { routing_key, ..ParsedMessage::new(id, properties, headers, self.data) })
    }

    /// The message in structured mode: the body is the document of this event.
    pub(super) fn into_structured(
        self,
        document: Bytes,
        beside: AmqpHeaders,
        mapping: &EventMapping<'_>,
    ) -> Result<ParsedMessage, Problem> {
        let routing_key = mapping.routing_key(&self.attributes)?;
        let AmqpHeaders { id, mut properties, headers } = beside;
        properties.content_type = ShortText::parse(STRUCTURED).ok();
        Ok(ParsedMessage { routing_key, ..ParsedMessage::new(id, properties, headers, document) })
    }
}

/// Adds the attributes to the headers. Refuses one that the caller sets beside the event too; HTTP does not keep the case of its
/// name.
fn add_attributes(
    headers: &mut FieldTable,
    attributes: Attributes,
    mapping: &EventMapping<'_>,
) -> Result<(), Problem> {
    let (place, attributes) = attributes.into_parts();
    let mut added = FieldTable::default();
    for (attribute, value) in attributes {
        let name = mapping.header_name(&attribute);
        if let Some(other) = headers.0.keys().find(|other| other.as_str().eq_ignore_ascii_case(&name)) {
            let why = format!("is the header of the event's attribute {}: leave it out", cut(&attribute));
            return Err(Problem::malformed(&format!("x-amqp-header-{other}"), why));
        }
        let name = ShortText::parse(name).map_err(|error| {
            Problem::malformed(&place.field(&attribute), format!("makes a header whose name {error}"))
        })?;
        added.insert(name, value.into());
    }
    headers.0.append(&mut added.0);
    Ok(())
}
