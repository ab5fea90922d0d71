//! Converts AMQP field values to JSON and back.
//!
//! Values of types that JSON has are plain JSON: strings, true and false, whole numbers (`int64`), numbers with a fraction
//! (`float64`), arrays, objects, null (void). All other values have a tagged form, `{"$amqp": "<type>", "value": …}`, with the
//! types `int8`, `uint8`, `int16`, `uint16`, `int32`, `uint32`, `int64`, `float32`, `float64` (also as a string: "NaN"),
//! `decimal` (`{"scale", "value"}`), `timestamp` (seconds or RFC 3339), `bytes` and `longstr` (base64), `table` (pairs of name
//! and value, for a table with a member called `$amqp`), `void`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::property;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::ShortText;
use crate::http::quote::quoted;

/// The member that marks a tagged value.
pub(super) const TAG: &str = "$amqp";
/// The member that holds a tagged value.
pub(super) const VALUE: &str = "value";

/// The types that a tagged value may name.
const TYPES: &str = "int8, uint8, int16, uint16, int32, uint32, int64, float32, float64, decimal, timestamp, bytes, longstr, \
    table, void";

/// A header or argument table read from JSON.
#[derive(Debug, Default)]
pub(in crate::http) struct Table(pub(in crate::http) FieldTable);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TableVisitor;
        impl<'de> Visitor<'de> for TableVisitor {
            type Value = Table;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table, A::Error> {
                members(map).map(|members| Table(FieldTable(members)))
            }
        }
        deserializer.deserialize_map(TableVisitor)
    }
}

fn members<'de, A: MapAccess<'de>>(mut map: A) -> Result<BTreeMap<ShortText, FieldValue>, A::Error> {
    let mut members = BTreeMap::new();
    while let Some(name) = map.next_key::<String>()? {
        let name = ShortText::parse(name)
            .map_err(|error| A::Error::custom(format!("contains a name that {error}")))?;
        let Value(value) = map.next_value()?;
        if members.insert(name.clone(), value).is_some() {
            return Err(A::Error::custom(format!("duplicate field `{name}`")));
        }
    }
    Ok(members)
}

struct Value(FieldValue);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Value)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = FieldValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<FieldValue, E> {
        Ok(FieldValue::Void)
    }

    fn visit_bool<E>(self, value: bool) -> Result<FieldValue, E> {
        Ok(FieldValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<FieldValue, E> {
        Ok(FieldValue::I64(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<FieldValue, E> {
        i64::try_from(value)
            .map(FieldValue::I64)
            .map_err(|_| E::custom("is an integer that does not fit int64: write it as a string"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<FieldValue, E> {
        Ok(FieldValue::F64(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<FieldValue, E> {
        Ok(FieldValue::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<FieldValue, E> {
        Ok(FieldValue::Text(value.into_bytes()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<FieldValue, A::Error> {
        let mut values = Vec::new();
        while let Some(Value(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(FieldValue::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldValue, A::Error> {
        let mut members = members(map)?;
        let Some(tag) = members.remove(TAG) else { return Ok(FieldValue::Table(FieldTable(members))) };
        let value = members.remove(VALUE);
        let name = match &tag {
            FieldValue::Text(name) => std::str::from_utf8(name).unwrap_or_default(),
            _ => return Err(A::Error::custom(format!("must name its type in \"{TAG}\" as a string"))),
        };
        if let Some(other) = members.keys().next() {
            return Err(A::Error::custom(format!(
                "has a member {} beside \"{TAG}\" and \"{VALUE}\"",
                quoted(other.as_str())
            )));
        }
        tagged(name, value.unwrap_or(FieldValue::Void)).map_err(A::Error::custom)
    }
}

/// The value of the type with this name; `plain` is its value in JSON.
fn tagged(name: &str, plain: FieldValue) -> Result<FieldValue, String> {
    let wrong = || format!("has a value that is not of type {name}");
    match name {
        "int8" => integer(&plain).map(FieldValue::I8),
        "uint8" => integer(&plain).map(FieldValue::U8),
        "int16" => integer(&plain).map(FieldValue::I16),
        "uint16" => integer(&plain).map(FieldValue::U16),
        "int32" => integer(&plain).map(FieldValue::I32),
        "uint32" => integer(&plain).map(FieldValue::U32),
        "int64" => integer(&plain).map(FieldValue::I64),
        "float32" => float::<f32>(&plain).map(FieldValue::F32),
        "float64" => float::<f64>(&plain).map(FieldValue::F64),
        "decimal" => decimal(&plain),
        "timestamp" => return timestamp(&plain),
        "bytes" => base64(&plain).map(FieldValue::Bytes),
        "longstr" => base64(&plain).map(FieldValue::Text),
        "table" => table_of_pairs(plain),
        "void" => (plain == FieldValue::Void).then_some(FieldValue::Void),
        _ => return Err(format!("has an unknown type: {} is not one of {TYPES}", quoted(name))),
    }
    .ok_or_else(wrong)
}

fn integer<T: TryFrom<i64>>(plain: &FieldValue) -> Option<T> {
    match plain {
        FieldValue::I64(value) => T::try_from(*value).ok(),
        _ => None,
    }
}

/// Parses the decimal text of the number, so that the result is the nearest value of this width.
fn float<T: std::str::FromStr>(plain: &FieldValue) -> Option<T> {
    match plain {
        FieldValue::F64(value) => value.to_string().parse().ok(),
        FieldValue::I64(value) => value.to_string().parse().ok(),
        FieldValue::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn decimal(plain: &FieldValue) -> Option<FieldValue> {
    let FieldValue::Table(table) = plain else { return None };
    let value =
        FieldValue::Decimal { scale: integer(table.get("scale")?)?, value: integer(table.get("value")?)? };
    (table.0.len() == 2).then_some(value)
}

/// A table as pairs of name and value, so that a member may be called `$amqp`.
fn table_of_pairs(plain: FieldValue) -> Option<FieldValue> {
    let FieldValue::Array(pairs) = plain else { return None };
    let mut table = FieldTable::default();
    for pair in pairs {
        let FieldValue::Array(pair) = pair else { return None };
        let [FieldValue::Text(name), value] = <[FieldValue; 2]>::try_from(pair).ok()? else { return None };
        table.insert(ShortText::parse(String::from_utf8(name).ok()?).ok()?, value);
    }
    Some(FieldValue::Table(table))
}

fn timestamp(plain: &FieldValue) -> Result<FieldValue, String> {
    let seconds = match plain {
        FieldValue::I64(seconds) => property::timestamp(&seconds.to_string()),
        FieldValue::Text(text) => property::timestamp(&String::from_utf8_lossy(text)),
        _ => Err("must be a string or a whole number"),
    };
    seconds.map(FieldValue::Timestamp).map_err(|wrong| format!("is a timestamp that {wrong}"))
}

fn base64(plain: &FieldValue) -> Option<Vec<u8>> {
    match plain {
        FieldValue::Text(text) => BASE64_STANDARD.decode(text).ok(),
        _ => None,
    }
}

/// A table that is written as JSON.
#[derive(Debug)]
pub(super) struct JsonTable(FieldTable);

/// A value that is written as JSON: plain where [`Table`] reads it back as the same type, else tagged.
pub(super) struct JsonValue<'a>(&'a FieldValue);

impl JsonValue<'_> {
    pub(super) fn table(table: FieldTable) -> JsonTable {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::message::MAX_TIMESTAMP;

    fn any_value() -> impl Strategy<Value = FieldValue> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(FieldValue::Bool),
            any::<i8>().prop_map(FieldValue::I8),
            any::<u8>().prop_map(FieldValue::U8),
            any::<i16>().prop_map(FieldValue::I16),
            any::<u16>().prop_map(FieldValue::U16),
            any::<i32>().prop_map(FieldValue::I32),
            any::<u32>().prop_map(FieldValue::U32),
            any::<i64>().prop_map(FieldValue::I64),
            any::<f32>().prop_filter("NaN", |f| !f.is_nan()).prop_map(FieldValue::F32),
            any::<f64>().prop_filter("NaN", |f| !f.is_nan()).prop_map(FieldValue::F64),
            any::<(u8, u32)>().prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
            (0..=MAX_TIMESTAMP).prop_map(FieldValue::Timestamp),
            any::<Vec<u8>>().prop_map(FieldValue::Text),
            any::<String>().prop_map(|text| FieldValue::Text(text.into_bytes())),
            any::<Vec<u8>>().prop_map(FieldValue::Bytes),
            Just(FieldValue::Void),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            let name = prop_oneof![Just("$amqp".to_owned()), Just("value".to_owned()), "[a-z$]{0,8}"];
            let member = (name.prop_map(|name| ShortText::parse(name).expect("short")), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(FieldValue::Array),
                prop::collection::vec(member, 0..4)
                    .prop_map(|members| FieldValue::Table(FieldTable(members.into_iter().collect()))),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_written_value_is_read_back_with_the_same_type(value in any_value()) {
            let json = serde_json::to_string(&JsonValue(&value)).expect("JSON");
            prop_assert_eq!(read(&json), Ok(value), "{}", json);
        }
    }

    fn read(json: &str) -> Result<FieldValue, String> {
        let Table(table) = serde_json::from_str(&format!("{{\"h\":{json}}}")).map_err(|e| e.to_string())?;
        Ok(table.get("h").cloned().expect("the value under test"))
    }

    #[test]
    fn every_amqp_type_can_be_written_in_json() {
        let cases = [
            ("true", FieldValue::Bool(true)),
            ("5", FieldValue::I64(5)),
            ("5.0", FieldValue::F64(5.0)),
            ("null", FieldValue::Void),
            (r#""é""#, FieldValue::from("é")),
            ("[1]", FieldValue::Array(vec![FieldValue::I64(1)])),
            (r#"{"$amqp":"int8","value":-128}"#, FieldValue::I8(-128)),
            (r#"{"$amqp":"uint8","value":255}"#, FieldValue::U8(255)),
            (r#"{"$amqp":"int16","value":-5}"#, FieldValue::I16(-5)),
            (r#"{"$amqp":"uint16","value":65535}"#, FieldValue::U16(65535)),
            (r#"{"$amqp":"int32","value":7}"#, FieldValue::I32(7)),
            (r#"{"$amqp":"uint32","value":4294967295}"#, FieldValue::U32(u32::MAX)),
            (r#"{"$amqp":"float32","value":1.5}"#, FieldValue::F32(1.5)),
            (r#"{"$amqp":"float64","value":"inf"}"#, FieldValue::F64(f64::INFINITY)),
            (
                r#"{"$amqp":"decimal","value":{"scale":2,"value":314}}"#,
                FieldValue::Decimal { scale: 2, value: 314 },
            ),
            (r#"{"$amqp":"timestamp","value":1}"#, FieldValue::Timestamp(1)),
            (r#"{"$amqp":"timestamp","value":"1970-01-01T00:00:02Z"}"#, FieldValue::Timestamp(2)),
            (r#"{"$amqp":"bytes","value":"AP8="}"#, FieldValue::Bytes(vec![0, 255])),
            (r#"{"$amqp":"longstr","value":"/w=="}"#, FieldValue::Text(vec![255])),
            (r#"{"$amqp":"void"}"#, FieldValue::Void),
            ("{}", FieldValue::Table(FieldTable::default())),
        ];
        for (json, value) in cases {
            assert_eq!(read(json), Ok(value), "{json}");
        }
    }

    #[test]
    fn a_value_that_does_not_fit_its_type_is_refused() {
        for json in [
            r#"{"$amqp":"int8","value":128}"#,
            r#"{"$amqp":"uint8","value":-1}"#,
            r#"{"$amqp":"bytes","value":"%"}"#,
            r#"{"$amqp":"int128","value":1}"#,
            r#"{"$amqp":"int8","value":1,"more":1}"#,
            r#"{"$amqp":5}"#,
            "18446744073709551615",
            r#"{"a":1,"a":2}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
