//! Checks a JSON value against a schema of the contract, with the keywords that the schemas of answers use.
//!
//! Stricter than JSON Schema: a member that the schema does not name is an error, because a generated client does not have it.

use serde_json::{Map, Value};

use super::contract::DOCUMENT;

/// Each way in which the value does not fit the schema, with its place in the value; empty when it fits.
pub fn mistakes(value: &Value, schema: &Value, at: &str) -> Vec<String> {
    let schema = resolved(schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| mistakes(value, choice, at).is_empty()).count();
        let exactly_one = fitting == 1;
        return if exactly_one { Vec::new() } else { vec![format!("{at}: {value} fits {fitting} choices")] };
    }
    if !is_of_type(value, &schema["type"]) {
        return vec![format!("{at}: {value} is not of type {}", schema["type"])];
    }
    if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
        return vec![format!("{at}: {value} is not one of {}", schema["enum"])];
    }
    match value {
        // A schema without a type and without members documents any JSON, such as the body of a message.
        _ if schema.is_object() && schema["type"].is_null() && schema["properties"].is_null() => Vec::new(),
        Value::Object(members) => of_members(members, schema, at),
        Value::Array(items) => {
            items.iter().flat_map(|item| mistakes(item, &schema["items"], &format!("{at}[]"))).collect()
        }
        _ => Vec::new(),
    }
}

fn of_members(members: &Map<String, Value>, schema: &Value, at: &str) -> Vec<String> {
    let required = schema["required"].as_array().into_iter().flatten();
    let names = required.filter_map(Value::as_str).filter(|name| !members.contains_key(*name));
    let missing = names.map(|name| format!("{at}.{name} is missing"));
    let wrong = members.iter().flat_map(|(name, member)| {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(true)) => Vec::new(),
            (Value::Null, Value::Object(_)) => mistakes(member, &schema["additionalProperties"], &at),
            (Value::Null, _) => vec![format!("{at} is not documented")],
            (known, _) => mistakes(member, known, &at),
        }
    });
    missing.chain(wrong).collect()
}

/// Without a type any value fits.
fn is_of_type(value: &Value, types: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("null") => value.is_null(),
        _ => false,
    };
    match types {
        Value::Null => true,
        Value::Array(types) => types.iter().any(is),
        one => is(one),
    }
}

/// The schema that a reference leads to.
pub fn resolved(schema: &Value) -> &Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    DOCUMENT.pointer(reference.trim_start_matches('#')).expect("a reference leads to a schema")
}
