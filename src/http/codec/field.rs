//! Converts AMQP field values to JSON and back.
//!
//! Values of types that JSON has are plain JSON: strings, true and false, whole numbers (`int64`), numbers with a fraction
//! (`float64`), arrays, objects, null (void). All other values have a tagged form, `{"$amqp": "<type>", "value": …}`, with the
//! types `int8`, `uint8`, `int16`, `uint16`, `int32`, `uint32`, `int64`, `float32`, `float64` (also as a string: "NaN"),
//! `decimal` (`{"scale", "value"}`), `timestamp` (seconds or RFC 3339), `bytes` and `longstr` (base64), `table` (pairs of name
//! and value, for a table with a member called `$amqp`), `void`.

mod read;
mod write;

pub(in crate::http) use self::read::Table;
pub(super) use self::write::{JsonTable, JsonValue};

/// The member that marks a tagged value.
pub(super) const TAG: &str = "$amqp";
/// The member that holds a tagged value.
pub(super) const VALUE: &str = "value";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::field::{FieldTable, FieldValue};
    use crate::domain::message::MAX_TIMESTAMP;
    use crate::domain::names::ShortText;

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

    #[test]
    fn more_values_than_any_table_may_have_are_refused_before_they_take_memory() {
        let nested = |each: usize| format!("[{}[]]", format!("[{}0],", "0,".repeat(each)).repeat(100));
        assert!(read(&nested(600)).is_ok());
        let refused = read(&nested(700)).expect_err("too many");
        assert!(refused.contains("has more than 65536 values"), "{refused}");
    }
}
