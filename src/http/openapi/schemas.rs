//! Schemas that no derive macro can write: values that have several forms in a request, and strings with a form.
//!
//! A form that no keyword of JSON Schema can express has a `format` that only the gateway defines: `timeout`, `timestamp`,
//! `rfc3339` (a time), `user`, `arguments` (a JSON object of arguments), `percent-encoded` (the value of a `ce-*` header). Programs
//! ignore a format that they do not know.

use serde_json::{Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{AdditionalProperties, KnownFormat, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema};
use utoipa::{Number, ToSchema};

use crate::domain::duration;
use crate::domain::message::{DeliveryMode, MAX_EXPIRATION, MAX_TIMESTAMP};
use crate::domain::names::SHORT_STRING_MAX;

/// No control characters, neither of ASCII nor of Unicode.
const NO_CONTROLS: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";
/// The same without noncharacters of Unicode. Those beyond U+FFFF would need a syntax that not all programs know.
const ATTRIBUTE: &str = r"^[^\u0000-\u001F\u007F-\u009F\uFDD0-\uFDEF\uFFFE\uFFFF]*$";
/// Standard base64 with padding; the unused bits of the last letter are zero.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";
const UP_TO_255: &str = "^0*(?:[0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])$";
const UP_TO_TEN_YEARS: &str = "^0*(?:[0-9]{1,11}|[12][0-9]{11}|30[0-9]{10}|31[0-4][0-9]{9}|315[0-2][0-9]{8}|3153[0-5][0-9]{7}|315360000000)$";

/// Adds the bounds of a short string of AMQP. AMQP limits its bytes, and a schema limits characters.
pub(super) fn limit_short_text(schema: &mut Object) {
    schema.max_length = Some(SHORT_STRING_MAX);
    schema.pattern = Some(NO_CONTROLS.to_owned());
}

/// Adds the bounds of a name.
pub(super) fn limit_name(schema: &mut Object) {
    limit_short_text(schema);
    schema.min_length = Some(1);
}

/// Names the format of a string. A program may know the format by this name.
pub(super) fn name_format(schema: &mut Object, format: &str) {
    schema.format = Some(SchemaFormat::Custom(format.to_owned()));
}

/// `headers` of a message.
pub(in crate::http) fn headers() -> Object {
    table(
        "Headers of any AMQP type. Types that JSON lacks are written `{\"$amqp\": \"int32\", \"value\": 5}`.",
    )
}

/// `arguments` of a queue.
pub(in crate::http) fn arguments() -> Object {
    table("Any other arguments. Types that JSON lacks are written `{\"$amqp\": \"int32\", \"value\": 5}`.")
}

fn table(description: &str) -> Object {
    let mut name = ObjectBuilder::new().schema_type(Type::String).build();
    limit_short_text(&mut name);
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(description))
        .property_names(Some(name))
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
        .build()
}

/// `body_base64` of an envelope.
pub(in crate::http) fn base64() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("Any bytes, as base64."))
        .content_encoding("base64")
        .pattern(Some(BASE64))
        .build()
}

/// `delivery_mode` of a message that is published.
pub(in crate::http) fn delivery_mode() -> Schema {
    let numbers = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .enum_values(Some(DeliveryMode::ALL.map(DeliveryMode::number)))
        .extensions(Some(names_of_values(DeliveryMode::ALL.map(DeliveryMode::name))))
        .build();
    OneOfBuilder::new()
        .description(Some("Delivery mode by name, or by AMQP's number: `transient` is 1, `persistent` is 2."))
        .item(Ref::from_schema_name(<DeliveryMode as ToSchema>::name()))
        .item(numbers)
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .build()
        .into()
}

/// The names of the values of an enum in generated clients, where the values are not valid names.
pub(in crate::http) fn names_of_values(names: impl IntoIterator<Item = &'static str>) -> Extensions {
    let names = names.into_iter().map(|name| name.replace('-', "_").to_uppercase());
    Extensions::from_iter([("x-enum-varnames", names.collect::<Vec<_>>())])
}

/// `priority` of a message that is published.
pub(in crate::http) fn priority() -> Object {
    number_or_text("0 to 255, as a number or as a string.", u8::MAX.into(), UP_TO_255)
}

/// `expiration` of a message that is published.
pub(in crate::http) fn expiration() -> Object {
    let said = "Milliseconds that the message may wait in a queue, as a number or as a string; 0: RabbitMQ delivers it at once or drops it.";
    number_or_text(said, MAX_EXPIRATION, UP_TO_TEN_YEARS)
}

fn number_or_text(description: &str, maximum: u64, pattern: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::String, Type::Null]))
        .description(Some(description))
        .minimum(Some(Number::UInt(0)))
        .maximum(Some(number(maximum)))
        .pattern(Some(pattern))
        .build()
}

/// `timestamp` of a message that is published.
pub(in crate::http) fn timestamp() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::String, Type::Null]))
        .format(Some(SchemaFormat::Custom("timestamp".to_owned())))
        .description(Some("RFC 3339, or seconds since 1970, not later than the year 9999."))
        .minimum(Some(Number::UInt(0)))
        .maximum(Some(number(MAX_TIMESTAMP)))
        .build()
}

/// `field` of a problem.
pub(in crate::http) fn field() -> Schema {
    let said = "The part of the request that is wrong, such as `timeout` or `properties.priority`.";
    ObjectBuilder::new().schema_type(Type::String).description(Some(said)).build().into()
}

/// `attempts` of a problem.
pub(in crate::http) fn attempts() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)))
        .description(Some("How often the gateway wrote the message to RabbitMQ."))
        .minimum(Some(Number::UInt(0)))
        .build()
        .into()
}

/// `by` of a problem `forbidden`.
pub(in crate::http) fn refused_by() -> Schema {
    let said = "Who refuses: the gateway, over the permissions of the caller; or the broker, over those of the gateway's user.";
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(said))
        .enum_values(Some(["gateway", "broker"]))
        .build()
        .into()
}

/// `missing` of a problem `forbidden`.
pub(in crate::http) fn missing_permissions() -> Schema {
    ArrayBuilder::new()
        .items(ObjectBuilder::new().schema_type(Type::String))
        .description(Some(
            "The permissions that the caller lacks, as scopes, such as `write:%2F/orders/us.new`.",
        ))
        .build()
        .into()
}

/// `limit` of a problem: a number, or a duration.
pub(in crate::http) fn limit() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Integer, Type::String]))
        .description(Some("The limit that the request exceeds: a number, or a duration such as `1m`."))
        .build()
        .into()
}

/// `settled_as` of a problem of a lease.
pub(in crate::http) fn settled_as() -> Schema {
    let said = "The outcome that the lease has, or is about to have.";
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(said))
        .enum_values(Some(["acked", "released", "rejected", "retried", "dead_lettered", "replied"]))
        .build()
        .into()
}

/// The id of a lease.
pub(in crate::http) fn lease_id() -> Object {
    let mut id = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The `lease_id` of a pulled message."))
        .build();
    name_format(&mut id, "lease-id");
    id
}

/// The ids of leases that are settled in the same way.
pub(in crate::http) fn lease_ids() -> Schema {
    ArrayBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
        .items(lease_id())
        .max_items(Some(1_000))
        .build()
        .into()
}

/// `wait` of a pull.
pub(in crate::http) fn pull_wait() -> Object {
    optional_duration(
        0,
        "How long to wait for the first message: `500ms`, `5s`, or a number of seconds; 20 s by default, at most 60 s unless the gateway is configured otherwise.",
    )
}

/// `lease` of a pull.
pub(in crate::http) fn pull_lease() -> Object {
    optional_duration(
        1,
        "The time to settle the messages: `5s`, `2m`, or a number of seconds, above 0; 60 s by default, at most 25 minutes unless the gateway is configured otherwise.",
    )
}

/// `delay` of a retry.
pub(in crate::http) fn retry_delay() -> Object {
    optional_duration(
        0,
        "How long the copy waits: `5s`, `2m`, or a number of seconds, rounded up to one of 29 steps from 1s to 24h; without it the copy goes to the end of the queue.",
    )
}

/// `lease` of an extension.
pub(in crate::http) fn extension() -> Object {
    let said = "The time that the lease gets, counted from now: `5s`, `2m`, or a number of seconds, above 0.";
    span(SchemaType::from_iter([Type::Integer, Type::String]), said, 1)
}

fn optional_duration(minimum: usize, description: &str) -> Object {
    span(SchemaType::from_iter([Type::Integer, Type::String, Type::Null]), description, minimum)
}

fn span(types: SchemaType, description: &str, minimum: usize) -> Object {
    ObjectBuilder::new()
        .schema_type(types)
        .format(Some(SchemaFormat::Custom("timeout".to_owned())))
        .description(Some(description))
        .minimum(Some(Number::UInt(minimum)))
        .maximum(Some(number(duration::MAX.as_secs())))
        .build()
}

/// `results` of a problem of a topology document.
pub(in crate::http) fn results() -> Schema {
    ArrayBuilder::new()
        .items(Ref::from_schema_name("AppliedItem"))
        .description(Some(
            "The result of each item of the document, where the gateway had made objects before the problem.",
        ))
        .build()
        .into()
}

/// `observedValue` of a health check.
pub(in crate::http) fn observed_value() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Number, Type::Boolean, Type::String]))
        .description(Some("A count, a time or a state; `observedUnit` is its unit."))
        .build()
}

fn number(value: u64) -> Number {
    usize::try_from(value).map_or(Number::UInt(usize::MAX), Number::UInt)
}

/// States that an envelope has exactly one of its three bodies. It is a `not`, which generators of clients ignore: from a `oneOf`
/// they would make three types of envelopes.
pub(super) fn exactly_one_body() -> Extensions {
    let any = json!({ "required": ["body"], "properties": { "body": {} } });
    let (text, base64) = (has_text("body_text"), has_text("body_base64"));
    wrong_if_any(&[
        json!({ "allOf": [any, text] }),
        json!({ "allOf": [any, base64] }),
        json!({ "allOf": [text, base64] }),
        json!({ "not": { "anyOf": [any, text, base64] } }),
    ])
}

/// The name of a member of a CloudEvent: an attribute, or the data as base64.
pub(super) fn attribute_name() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some("^(?:[a-z0-9]+|data_base64)$"))
        .max_length(Some(64))
        .build()
}

/// Adds the bounds of an attribute of a CloudEvent that is a string.
pub(super) fn limit_attribute(schema: &mut Object) {
    schema.pattern = Some(ATTRIBUTE.to_owned());
}

/// The value of an extension attribute of a CloudEvent.
pub(super) fn attribute_value() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer, Type::Boolean, Type::Null]))
        .pattern(Some(ATTRIBUTE))
        .minimum(Some(Number::Int(i32::MIN as isize)))
        .maximum(Some(Number::Int(i32::MAX as isize)))
        .build()
}

/// States that a CloudEvent has one kind of data at most.
pub(super) fn one_kind_of_data() -> Extensions {
    let any = json!({ "required": ["data"], "properties": { "data": {} } });
    wrong_if_any(&[json!({ "allOf": [any, has_text("data_base64")] })])
}

/// States that the details of dead lettering name an exchange or a queue, and not the default exchange together with a queue.
pub(super) fn exchange_or_queue() -> Extensions {
    let (exchange, queue) = (has_text("exchange"), has_text("queue"));
    let default = json!({ "required": ["exchange"], "properties": { "exchange": { "const": "" } } });
    wrong_if_any(&[json!({ "not": { "anyOf": [exchange, queue] } }), json!({ "allOf": [default, queue] })])
}

/// States that a binding names a queue or an exchange, and not both.
pub(super) fn queue_or_exchange() -> Extensions {
    let (queue, exchange) = (has_text("queue"), has_text("exchange"));
    wrong_if_any(&[json!({ "allOf": [queue, exchange] }), json!({ "not": { "anyOf": [queue, exchange] } })])
}

fn has_text(member: &str) -> Value {
    json!({ "required": [member], "properties": { member: { "type": "string" } } })
}

fn wrong_if_any(wrong: &[Value]) -> Extensions {
    Extensions::from_iter([("not", json!({ "anyOf": wrong }))])
}

/// Removes null from the types of a value, and from a choice between null and a named schema.
pub(super) fn forbid_null(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(Object { schema_type, .. })) => {
            if let SchemaType::Array(types) = schema_type {
                types.retain(|one| *one != Type::Null);
                if let [only] = &types[..] {
                    *schema_type = SchemaType::Type(only.clone());
                }
            }
        }
        RefOr::T(Schema::OneOf(choice)) => {
            let named = choice.items.iter().find(|item| matches!(item, RefOr::Ref(_))).cloned();
            *schema = named.unwrap_or_else(|| schema.clone());
        }
        _ => {}
    }
}
