//! Reads JSON as AMQP field values.
//!
//! Stops at more values than any table may have, so that a large document of small values costs no more memory than a small one.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{TAG, VALUE};
use crate::domain::field::{FieldTable, FieldValue};
use crate::domain::names::ShortText;
use crate::http::codec::property;
use crate::http::quote::quoted;

/// The types that a tagged value may name.
const TYPES: &str = "int8, uint8, int16, uint16, int32, uint32, int64, float32, float64, decimal, timestamp, bytes, longstr, \
    table, void";

/// The most values of a table, nested ones included. Each takes at least a byte, and the largest limit on the bytes of a table is
/// 64 KiB.
const MOST_VALUES: usize = 64 * 1024;

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
                members(map, &Room(Cell::new(MOST_VALUES))).map(|members| Table(FieldTable(members)))
            }
        }
        deserializer.deserialize_map(TableVisitor)
    }
}

/// The number of further values that the table may have.
struct Room(Cell<usize>);

impl Room {
    fn take<E: Error>(&self) -> Result<(), E> {
        let left = self.0.get().checked_sub(1);
        let left =
            left.ok_or_else(|| E::custom(format!("has more than {MOST_VALUES} values: send fewer")))?;
        self.0.set(left);
        Ok(())
    }
}

fn members<'de, A: MapAccess<'de>>(
    mut map: A,
    room: &Room,
) -> Result<BTreeMap<ShortText, FieldValue>, A::Error> {
    let mut members = BTreeMap::new();
    while let Some(name) = map.next_key::<String>()? {
        let name = ShortText::parse(name)
            .map_err(|error| A::Error::custom(format!("contains a name that {error}")))?;
        let value = map.next_value_seed(ValueSeed(room))?;
        if members.insert(name.clone(), value).is_some() {
            return Err(A::Error::custom(format!("duplicate field `{name}`")));
        }
    }
    Ok(members)
}

/// Reads a value of a table with this room.
#[derive(Clone, Copy)]
struct ValueSeed<'a>(&'a Room);

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = FieldValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FieldValue, D::Error> {
        self.0.take()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
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
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(FieldValue::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FieldValue, A::Error> {
        let mut members = members(map, self.0)?;
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
