//! Adds to the whole document the parts that the annotations of handlers cannot express.
//!
//! A header of a request, and a member of an answer, is absent or has a value. Only `reply_delivered` may be null.

use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{Object, OpenApi, RefOr, Required, Schema};

use super::schemas::forbid_null;
use super::security::{self, Protection};
use super::{envelopes, example, named, parameters, pulled, schemas, shared_problems};
use crate::http::problem::FURTHER_MEMBERS;

/// Media type of a batch of CloudEvents.
const EVENTS: &str = "application/cloudevents-batch+json";
/// Schemas of answers, which have no null. In schemas of requests, null means absent.
const OF_ANSWERS: [&str; 11] = [
    "BrokerFields",
    "Check",
    "Health",
    "ItemProblem",
    "Problem",
    "PublishResult",
    "PulledMessage",
    "ReceivedEnvelope",
    "ReceivedProperties",
    "SettleResult",
    "StreamSummary",
];

/// The one member of an answer whose null has a meaning: whether a reply was delivered is unknown.
const OR_UNKNOWN: &str = "reply_delivered";

/// Finishes every operation and every schema. Requests to the paths `carrying` carry a message; those to the paths `open` need no
/// permission.
pub(super) fn finish(document: &mut OpenApi, carrying: &[String], open: &[String]) {
    document.security = Some(Vec::new());
    for (path, item) in &mut document.paths.paths {
        let carries_message = carrying.contains(path);
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        let protection = if open.contains(path) { Protection::Open } else { Protection::Closed };
        operations
            .into_iter()
            .flatten()
            .for_each(|operation| finish_operation(operation, carries_message, protection));
    }
    if let Some(components) = &mut document.components {
        security::add_scheme(components);
        for (name, schema) in &mut components.schemas {
            if let RefOr::T(Schema::Object(schema)) = schema {
                finish_schema(name, schema);
            }
        }
        envelopes::add(components);
        named::add_batch_item(components);
        named::add_items(components);
        pulled::complete_message(components);
    }
}

fn finish_operation(operation: &mut Operation, carries_message: bool, protection: Protection) {
    shared_problems::add_ranges(operation, protection);
    operation.security = (protection == Protection::Closed).then(security::requirement);
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && !body.content.contains_key("application/json")
    {
        // A message and a reply may be empty, and a stream may have no lines. A document is not empty.
        body.required = Some(Required::False);
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(RefOr::T(events)) = body.content.get_mut(EVENTS)
    {
        // With two arrays, generated Python clients ask whether the body is an instance of `list[CloudEvent]`, which fails.
        events.schema = None;
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            example::show_problem(status, response, carries_message);
        }
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            parameters::state_form(parameter);
        }
    }
}

fn finish_schema(name: &str, schema: &mut Object) {
    match name {
        "Problem" => add_further_members(schema),
        "Envelope" => schema.extensions = Some(schemas::exactly_one_body()),
        "MessageProperties" | "ExchangeDeclaration" => limit_texts(schema),
        // A reader in the order of the document has no derived schema.
        "SettleRequest" => {
            schema.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
        "CloudEvent" => complete_event(schema),
        "BindingItem" => schema.extensions = Some(schemas::queue_or_exchange()),
        "DeadLetterDetail" => {
            limit_texts(schema);
            schema.extensions = Some(schemas::exchange_or_queue());
        }
        _ => {}
    }
    if OF_ANSWERS.contains(&name) {
        let never_null = schema.properties.iter_mut().filter(|(name, _)| *name != OR_UNKNOWN);
        never_null.for_each(|(_, member)| forbid_null(member));
    }
}

fn add_further_members(problem: &mut Object) {
    for (name, schema) in FURTHER_MEMBERS {
        problem.properties.insert(name.to_owned(), schema().into());
    }
}

/// Adds the bounds of the attributes of an event, its extension attributes, and the rule about its data.
fn complete_event(event: &mut Object) {
    for (name, member) in &mut event.properties {
        let RefOr::T(Schema::Object(member)) = member else { continue };
        match name.as_str() {
            "data" => {}
            "datacontenttype" => schemas::limit_short_text(member),
            _ if member.pattern.is_none() && member.format.is_none() => schemas::limit_attribute(member),
            _ => {}
        }
    }
    event.property_names = Some(Box::new(schemas::attribute_name().into()));
    event.additional_properties = Some(Box::new(Schema::from(schemas::attribute_value()).into()));
    event.extensions = Some(schemas::one_kind_of_data());
}

/// Limits the strings that have neither a pattern nor a format.
fn limit_texts(schema: &mut Object) {
    for (name, member) in &mut schema.properties {
        let RefOr::T(Schema::Object(member)) = member else { continue };
        let has_form = member.pattern.is_some() || member.format.is_some();
        match name.as_str() {
            _ if has_form => {}
            "queue" | "alternate_exchange" => schemas::limit_name(member),
            "user_id" => schemas::name_format(member, "user"),
            _ => schemas::limit_short_text(member),
        }
    }
}
