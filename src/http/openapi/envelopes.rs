//! Makes the schema of a call's envelope: the envelope of a publish without the members that the gateway sets itself.

use utoipa::openapi::{Components, Object, Ref, RefOr, Schema};

/// Adds the envelope of a call to the schemas.
pub(super) fn add_envelope(components: &mut Components) {
    let of_call = [
        ("Envelope", "CallEnvelope", &["routing_key", "mandatory"][..]),
        ("MessageProperties", "CallProperties", &["reply_to", "correlation_id", "expiration"]),
    ];
    for (name, of_call, own) in of_call {
        if let Some(RefOr::T(Schema::Object(schema))) = components.schemas.get(name) {
            let schema = without(schema.clone(), own);
            components.schemas.insert(of_call.to_owned(), schema.into());
        }
    }
}

fn without(mut schema: Object, members: &[&str]) -> Object {
    schema.properties.retain(|name, _| !members.contains(&name.as_str()));
    if let Some(RefOr::Ref(properties)) = schema.properties.get_mut("properties") {
        properties.ref_location = Ref::from_schema_name("CallProperties").ref_location;
    }
    schema.example = None;
    schema
}
