//! Writes AMQP field values as JSON.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{TAG, VALUE};
use crate::domain::field::{FieldTable, FieldValue};

/// A table that is written as JSON.
#[derive(Debug)]
pub(in crate::http::codec) struct JsonTable(FieldTable);

/// A value that is written as JSON: plain where [`Table`](super::Table) reads it back as the same type, else tagged.
pub(in crate::http::codec) struct JsonValue<'a>(pub(super) &'a FieldValue);

impl JsonValue<'_> {
    pub(in crate::http::codec) fn table(table: FieldTable) -> JsonTable {
        JsonTable(table)
    }
}

impl Serialize for JsonTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        plain_table(&self.0, serializer)
    }
}

fn plain_table<S: Serializer>(table: &FieldTable, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(table.0.iter().map(|(name, value)| (name.as_str(), JsonValue(value))))
}

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = |name, bytes: &[u8], serializer| tag(serializer, name, &BASE64_STANDARD.encode(bytes));
        match self.0 {
            FieldValue::Bool(value) => serializer.serialize_bool(*value),
            FieldValue::I64(value) => serializer.serialize_i64(*value),
            FieldValue::F64(value) if value.is_finite() => serializer.serialize_f64(*value),
            FieldValue::F64(value) => tag(serializer, "float64", &value.to_string()),
            FieldValue::F32(value) if value.is_finite() => tag(serializer, "float32", value),
            FieldValue::F32(value) => tag(serializer, "float32", &value.to_string()),
            FieldValue::I8(value) => tag(serializer, "int8", value),
            FieldValue::U8(value) => tag(serializer, "uint8", value),
            FieldValue::I16(value) => tag(serializer, "int16", value),
            FieldValue::U16(value) => tag(serializer, "uint16", value),
            FieldValue::I32(value) => tag(serializer, "int32", value),
            FieldValue::U32(value) => tag(serializer, "uint32", value),
            FieldValue::Decimal { scale, value } => {
                tag(serializer, "decimal", &serde_json::json!({"scale": scale, "value": value}))
            }
            FieldValue::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => serializer.serialize_str(text),
                Err(_) => bytes("longstr", text, serializer),
            },
            FieldValue::Bytes(value) => bytes("bytes", value, serializer),
            FieldValue::Array(values) => serializer.collect_seq(values.iter().map(JsonValue)),
            FieldValue::Timestamp(value) => match i64::try_from(*value) {
                Ok(value) => tag(serializer, "timestamp", &value),
                Err(_) => tag(serializer, "timestamp", &value.to_string()),
            },
            FieldValue::Table(table) if table.get(TAG).is_some() => {
                let pairs = table.0.iter().map(|(name, value)| (name.as_str(), JsonValue(value)));
                tag(serializer, "table", &pairs.collect::<Vec<_>>())
            }
            FieldValue::Table(table) => plain_table(table, serializer),
            FieldValue::Void => serializer.serialize_unit(),
        }
    }
}

fn tag<S: Serializer, T: Serialize>(serializer: S, name: &str, value: &T) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(2))?;
    map.serialize_entry(TAG, name)?;
    map.serialize_entry(VALUE, value)?;
    map.end()
}
