//! A CloudEvent in structured mode as the contract describes it. `http/openapi/finish.rs` adds the rules that no derive macro can write.

use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::schemas;

/// The version of the specification.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CloudEventsVersion)]
#[expect(dead_code, reason = "only describes a value in the contract")]
pub(in crate::http) enum SpecVersion {
    /// 1.0
    #[serde(rename = "1.0")]
    V1,
}

/// A CloudEvent in structured mode. Members that are not listed are extension attributes: strings, booleans or integers of 32 bits.
/// `data` and `data_base64` are mutually exclusive.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only describes the body in the contract")]
#[schema(example = json!({"specversion": "1.0", "id": "7c2f", "source": "urn:example:shop", "type": "org.example.order.created", "data": {"order": 42}}))]
pub(in crate::http) struct CloudEvent {
    specversion: SpecVersion,
    /// Identity of the event within its source.
    #[schema(min_length = 1)]
    id: String,
    /// Origin of the event, a URI reference.
    #[schema(min_length = 1)]
    source: String,
    /// Kind of the event.
    #[schema(min_length = 1)]
    r#type: String,
    /// Object of the event within its source.
    #[schema(min_length = 1)]
    subject: Option<String>,
    /// Time of the event (RFC 3339).
    #[schema(format = DateTime)]
    time: Option<String>,
    /// Media type of the data; `application/json` if `data` is given without it.
    #[schema(min_length = 1)]
    datacontenttype: Option<String>,
    /// Schema of the data, a URI.
    #[schema(min_length = 1)]
    dataschema: Option<String>,
    /// Any JSON where `datacontenttype` is JSON, and the gateway sends the text without a change; else a string, and the gateway sends
    /// its content as UTF-8.
    #[schema(value_type = serde_json::Value, required = false)]
    data: Option<serde_json::Value>,
    /// Any bytes, as base64.
    #[schema(schema_with = schemas::base64)]
    data_base64: Option<String>,
}
