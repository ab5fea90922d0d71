//! Adds the form of parameters, such as names, headers and `timeout`. The annotations say only that they are strings.

use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{ArrayItems, Type};
use utoipa::openapi::{Array, Object, RefOr, Schema};

use super::schemas::{self, forbid_null};
use crate::domain::names::SHORT_STRING_MAX;

/// Strings of characters that every HTTP client sends without a change.
const VISIBLE: &str = "^[ -~]*$";

/// An idempotency key, bare or quoted, of such characters. A quoted key has a backslash before each quote and each backslash.
const KEY: &str = r#"^(?:[!#-~](?:[ -~]{0,253}[!-~])?|"(?:[ !#-\[\]-~]|\\["\\]){1,255}")$"#;

/// Adds the form of a parameter that is a string or a list of names.
pub(super) fn state_form(parameter: &mut Parameter) {
    let Some(schema) = &mut parameter.schema else { return };
    forbid_null(schema);
    match schema {
        RefOr::T(Schema::Object(schema)) if schema.schema_type == Type::String.into() => {
            state_text(&parameter.name, &parameter.parameter_in, schema);
        }
        RefOr::T(Schema::Array(Array { items: ArrayItems::RefOrSchema(items), .. })) => {
            if let RefOr::T(Schema::Object(name)) = &mut **items {
                schemas::limit_name(name);
            }
        }
        _ => {}
    }
}

fn state_text(name: &str, location: &ParameterIn, schema: &mut Object) {
    match (location, name) {
        (ParameterIn::Path, "lease_id") => schemas::name_format(schema, "lease-id"),
        (ParameterIn::Path, _) | (ParameterIn::Query, "exchange") => schemas::limit_name(schema),
        (ParameterIn::Query, "arguments") => schemas::name_format(schema, "arguments"),
        (ParameterIn::Query, "timeout" | "wait" | "lease" | "delay") => {
            schemas::name_format(schema, "timeout");
        }
        // A reason may have any length and any characters. A preference that is not understood is ignored (RFC 7240, 2).
        (ParameterIn::Query, "reason") | (ParameterIn::Header, "Prefer") => {}
        (ParameterIn::Query, _) => schemas::limit_short_text(schema),
        (ParameterIn::Header, "Idempotency-Key") => schema.pattern = Some(KEY.to_owned()),
        (ParameterIn::Header, "X-Amqp-Timestamp") => schemas::name_format(schema, "timestamp"),
        (ParameterIn::Header, "ce-time") => schemas::name_format(schema, "rfc3339"),
        (ParameterIn::Header, name) if name.starts_with("ce-") => {
            schemas::name_format(schema, "percent-encoded");
        }
        _ => {
            schema.pattern = Some(VISIBLE.to_owned());
            schema.max_length = Some(SHORT_STRING_MAX);
        }
    }
}
