//! Completes the schemas of a pulled message: the message has the members of an envelope beside its lease, and `broker` may have
//! some of the properties.

use utoipa::openapi::{Components, Object, RefOr, Schema};

/// The properties that `broker` may have. A publish accepts every delivery mode and every priority.
const NEVER_REFUSED: [&str; 2] = ["delivery_mode", "priority"];

/// Adds these members to the schemas.
pub(super) fn complete_message(components: &mut Components) {
    add_members(components, "ReceivedEnvelope", "PulledMessage");
    add_members(components, "ReceivedProperties", "BrokerFields");
    if let Some(RefOr::T(Schema::Object(fields))) = components.schemas.get_mut("BrokerFields") {
        fields.properties.retain(|name, _| !NEVER_REFUSED.contains(&name.as_str()));
    }
}

/// Adds the members of `from` that `to` does not have.
fn add_members(components: &mut Components, from: &str, to: &str) {
    let Some(RefOr::T(Schema::Object(Object { properties, required, .. }))) = components.schemas.get(from)
    else {
        return;
    };
    let (properties, required) = (properties.clone(), required.clone());
    if let Some(RefOr::T(Schema::Object(to))) = components.schemas.get_mut(to) {
        for (name, member) in properties {
            to.properties.entry(name).or_insert(member);
        }
        to.required.extend(required);
    }
}
