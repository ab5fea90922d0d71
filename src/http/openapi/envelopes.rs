//! Makes the schemas of the envelopes of calls and replies: the envelope of a publish without the members that the gateway sets itself.

use utoipa::openapi::{Components, Object, Ref, RefOr, Schema};

/// The names of the schemas of an envelope and of its properties, and the members that they lack.
struct Kind {
    envelope: &'static str,
    properties: &'static str,
    own: &'static [&'static str],
}

const CALL: Kind = Kind {
    envelope: "CallEnvelope",
    properties: "CallProperties",
    own: &["routing_key", "mandatory", "reply_to", "correlation_id", "expiration"],
};
const REPLY: Kind = Kind {
    envelope: "ReplyEnvelope",
    properties: "ReplyProperties",
    own: &["routing_key", "mandatory", "correlation_id", "user_id"],
};
/// The schema of a reply in a settle, which has a member beside those of its envelope.
const REPLY_ITEM: &str = "ReplyItem";

/// Adds the envelopes to the schemas.
pub(super) fn add(components: &mut Components) {
    for kind in [CALL, REPLY] {
        for (from, to) in [("Envelope", kind.envelope), ("MessageProperties", kind.properties)] {
            if let Some(schema) = object(components, from) {
                components.schemas.insert(to.to_owned(), without(schema, &kind).into());
            }
        }
    }
    let (item, envelope) = (object(components, REPLY_ITEM), object(components, REPLY.envelope));
    if let (Some(mut item), Some(envelope)) = (item, envelope) {
        item.properties.extend(envelope.properties);
        item.extensions = envelope.extensions;
        item.additional_properties = envelope.additional_properties;
        components.schemas.insert(REPLY_ITEM.to_owned(), item.into());
    }
}

fn object(components: &Components, name: &str) -> Option<Object> {
    match components.schemas.get(name) {
        Some(RefOr::T(Schema::Object(schema))) => Some(schema.clone()),
        _ => None,
    }
}

fn without(mut schema: Object, kind: &Kind) -> Object {
    schema.properties.retain(|name, _| !kind.own.contains(&name.as_str()));
    if let Some(RefOr::Ref(properties)) = schema.properties.get_mut("properties") {
        properties.ref_location = Ref::from_schema_name(kind.properties).ref_location;
    }
    schema.example = None;
    schema
}
