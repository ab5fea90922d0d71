//! AMQP field values as JSON.
//!
//! What JSON can say is said plainly: text, true and false, whole numbers (`int64`), numbers with a
//! fraction (`float64`), arrays, objects, null (void). Everything else has one tagged form,
//! `{"$amqp": "<type>", "value": …}`, with the types `int8`, `uint8`, `int16`, `uint16`, `int32`,
//! `uint32`, `int64`, `float32`, `float64` (also as text: "NaN"), `decimal` (`{"scale", "value"}`),
//! `timestamp` (seconds or RFC 3339), `bytes` and `longstr` (base64), `table`, `void`.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::property;
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::ShortText;

/// The member that marks a tagged value.
const TAG: &str = "$amqp";
/// The member that holds a tagged value.
const VALUE: &str = "value";

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
        let name = ShortText::parse(name).map_err(|error| A::Error::custom(format!("a name {error}")))?;
        let Value(value) = map.next_value()?;
        if members.insert(name.clone(), value).is_some() {
            return Err(A::Error::custom(format!("duplicate name \"{name}\"")));
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
        i64::try_from(value).map(FieldValue::I64).map_err(|_| E::custom("the number does not fit int64"))
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
            _ => return Err(A::Error::custom(format!("\"{TAG}\" must be text"))),
        };
        if let Some(other) = members.keys().next() {
            return Err(A::Error::custom(format!("a tagged value has no member \"{other}\"")));
        }
        tagged(name, value.unwrap_or(FieldValue::Void)).map_err(A::Error::custom)
    }
}

/// The value of that type; `plain` is how JSON said it.
fn tagged(name: &str, plain: FieldValue) -> Result<FieldValue, String> {
    let wrong = || format!("the value is no {name}");
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
        "timestamp" => timestamp(&plain),
        "bytes" => base64(&plain).map(FieldValue::Bytes),
        "longstr" => base64(&plain).map(FieldValue::Text),
        "table" => matches!(plain, FieldValue::Table(_)).then_some(plain),
        "void" => (plain == FieldValue::Void).then_some(FieldValue::Void),
        _ => return Err(format!("there is no type \"{name}\"")),
    }
    .ok_or_else(wrong)
}

fn integer<T: TryFrom<i64>>(plain: &FieldValue) -> Option<T> {
    match plain {
        FieldValue::I64(value) => T::try_from(*value).ok(),
        _ => None,
    }
}

/// By way of the decimal text, which is how JSON wrote it: the nearest value of the wanted width.
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

fn timestamp(plain: &FieldValue) -> Option<FieldValue> {
    let seconds = match plain {
        FieldValue::I64(seconds) => u64::try_from(*seconds).ok()?,
        FieldValue::Text(text) => property::timestamp(std::str::from_utf8(text).ok()?).ok()?,
        _ => return None,
    };
    Some(FieldValue::Timestamp(seconds))
}

fn base64(plain: &FieldValue) -> Option<Vec<u8>> {
    match plain {
        FieldValue::Text(text) => BASE64_STANDARD.decode(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<FieldValue, String> {
        let Table(table) = serde_json::from_str(&format!("{{\"h\":{json}}}")).map_err(|e| e.to_string())?;
        Ok(table.get("h").cloned().expect("the value under test"))
    }

    #[test]
    fn every_amqp_type_can_be_said() {
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
    fn what_does_not_fit_its_type_is_refused() {
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
