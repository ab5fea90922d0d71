//! Reads durations in JSON: text such as `5s`, or a number of seconds.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};

use crate::domain::duration;
use crate::http::quote::quoted;

/// Reads a duration, or null.
///
/// # Errors
/// When it is neither a text of this form nor a whole number of seconds.
pub(in crate::http) fn duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_any(DurationVisitor)
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let parsed = duration::parse(text);
        parsed.map(Some).map_err(|error| E::custom(format!("{} {error}", quoted(text))))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Self::Value, E> {
        duration::parse(&seconds.to_string()).map(Some).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Self::Value, E> {
        match u64::try_from(seconds) {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::custom(format!("{seconds} {}", duration::DurationError::Malformed))),
        }
    }

    /// `5.0` is a whole number too: some programs write all numbers in this form.
    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Self::Value, E> {
        if seconds.fract() == 0.0 && seconds >= 0.0 {
            return duration::parse(&format!("{seconds:.0}")).map(Some).map_err(E::custom);
        }
        Err(E::custom(format!("{seconds} {}", duration::DurationError::Malformed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<Duration>, String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        duration(&mut deserializer).map_err(|error| error.to_string())
    }

    #[test]
    fn a_duration_is_a_text_or_a_number_of_seconds() {
        for (json, milliseconds) in [
            (r#""500ms""#, 500),
            (r#""1m30s""#, 90_000),
            (r#""5""#, 5_000),
            ("5", 5_000),
            ("5.0", 5_000),
            ("0", 0),
        ] {
            assert_eq!(read(json), Ok(Some(Duration::from_millis(milliseconds))), "{json}");
        }
        assert_eq!(read("null"), Ok(None));
    }

    #[test]
    fn another_value_is_refused_and_quoted() {
        for (json, said) in [
            (r#""soon""#, r#""soon" must be a duration"#),
            ("-5", "-5 must be a duration"),
            ("1.5", "1.5 must be a duration"),
            ("1e300", "must be at most 24h"),
            ("86401", "must be at most 24h"),
            (r#""86401""#, r#""86401" must be at most 24h"#),
            ("true", "expected a duration"),
        ] {
            let refused = read(json).expect_err(json);
            assert!(refused.contains(said), "{json}: {refused}");
        }
    }
}
