//! Refuses integers that do not fit an AMQP integer. `serde_json` reads an integer beyond 64 bits as a floating point number,
//! without an error.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::field::{TAG, VALUE};
use crate::domain::field::{FieldTable, FieldValue};
use crate::http::problem::Problem;
use crate::http::request;

/// 2^63. A number that `serde_json` reads as less than this is less in the document too.
const BEYOND_INT64: f64 = 9_223_372_036_854_775_808.0;

/// Refuses such an integer in `member` of `document`, from which `table` was read. Looks at the document only if the table holds
/// a number that is large enough. The depth of the table must have been checked.
///
/// # Errors
/// 400 naming the field.
pub(in crate::http) fn check_integers(
    table: &FieldTable,
    document: &[u8],
    member: &str,
) -> Result<(), Problem> {
    if !table.0.values().any(is_suspect) {
        return Ok(());
    }
    let document: BTreeMap<String, &RawValue> = request::json(document)?;
    let field = document.get(member).and_then(|json| find(json.get(), member.to_owned()));
    field.map_or(Ok(()), |field| {
        Err(Problem::malformed(&field, "is an integer that does not fit int64: write it as a string"))
    })
}

fn is_suspect(value: &FieldValue) -> bool {
    match value {
        FieldValue::F64(value) => value.abs() >= BEYOND_INT64,
        FieldValue::Array(values) => values.iter().any(is_suspect),
        FieldValue::Table(FieldTable(members)) => members.values().any(is_suspect),
        _ => false,
    }
}

/// The path of the first plain integer below `path` that does not fit.
fn find(json: &str, path: String) -> Option<String> {
    match json.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            match members.get(TAG).map(|tag| tag.get()) {
                Some(r#""table""#) => find(members.get(VALUE)?.get(), path),
                // A tagged number names its own type.
                Some(_) => None,
                None => members.iter().find_map(|(name, json)| find(json.get(), format!("{path}.{name}"))),
            }
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            items.iter().enumerate().find_map(|(n, json)| find(json.get(), format!("{path}[{n}]")))
        }
        b'-' | b'0'..=b'9' => {
            let is_integer = !json.contains(['.', 'e', 'E']);
            (is_integer && json.parse::<i64>().is_err()).then_some(path)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::codec::Table;

    fn check(value: &str) -> Result<(), String> {
        let document = format!(r#"{{"other":18446744073709551616,"h":{{"a":{value}}}}}"#);
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(&document).expect("JSON");
        let Table(table) = serde_json::from_str(members["h"].get()).expect("a table");
        check_integers(&table, document.as_bytes(), "h").map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn an_integer_beyond_64_bits_is_refused() {
        for (value, field) in [
            ("18446744073709551616", "h.a"),
            ("-9223372036854775809", "h.a"),
            (r#"[1, {"b": -100000000000000000000}]"#, "h.a[1].b"),
            (r#"{"$amqp": "table", "value": [["$amqp", 100000000000000000000]]}"#, "h.a[0][1]"),
        ] {
            let refused = check(value).expect_err(value);
            assert!(refused.starts_with(&format!("{field} is an integer")), "{value}: {refused}");
        }
    }

    #[test]
    fn a_number_with_a_fraction_an_exponent_or_a_tag_may_be_a_double() {
        for value in [
            "1e300",
            "-1E+20",
            "18446744073709551616.0",
            r#"["18446744073709551616"]"#,
            r#"{"$amqp": "float64", "value": 18446744073709551616}"#,
        ] {
            assert_eq!(check(value), Ok(()), "{value}");
        }
    }
}
