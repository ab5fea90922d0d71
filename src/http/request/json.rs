//! Reads JSON documents of callers.
//!
//! serde's error texts name Rust types, so this module translates each into words of JSON. For an error text that it does not
//! know, it names the field only.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::{Category, Error};

use crate::http::problem::Problem;
use crate::http::quote::{cut, quoted};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a body that is an object.
///
/// # Errors
/// 400 naming the field.
pub(in crate::http) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    Document::named("body").read(body)
}

/// A document, as the texts of problems describe it.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Document<'n> {
    name: &'n str,
    refused: &'n [&'n str],
    is_within_another: bool,
}

impl<'n> Document<'n> {
    /// A document that the texts call `name`.
    pub(in crate::http) fn named(name: &'n str) -> Self {
        Self { name, refused: &[], is_within_another: false }
    }

    /// The same document. Its reader refuses these members later, so the texts do not list them among the known ones.
    pub(in crate::http) fn without(self, refused: &'n [&'n str]) -> Self {
        Self { refused, ..self }
    }

    /// The same document, which is a part of a larger one. The texts state no line and column, which would not be those of the
    /// larger one.
    pub(in crate::http) fn within_another(self) -> Self {
        Self { is_within_another: true, ..self }
    }

    /// Reads the document, which is an object.
    ///
    /// # Errors
    /// 400 naming the field.
    pub(in crate::http) fn read<'a, T: Deserialize<'a>>(self, json: &'a [u8]) -> Result<T, Problem> {
        refuse_byte_order_mark(self.name, json)?;
        // The same check as in [`object`], which does not fit here because the object may be null.
        if json.trim_ascii_start().starts_with(b"[") {
            return Err(Problem::malformed(self.name, "must be an object, not an array"));
        }
        serde_json::from_slice(json).or_else(|_mistake| self.with_path(json))
    }

    /// Reads an object, and follows the path to a mistake in it. That takes as long again, so only an object with a mistake
    /// is read this way.
    fn with_path<'a, T: Deserialize<'a>>(self, json: &'a [u8]) -> Result<T, Problem> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let value = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| self.problem(&error.path().to_string(), error.inner()))?;
        deserializer.end().map_err(|error| self.problem("", &error))?;
        Ok(value)
    }

    /// The problem of an error at this path.
    pub(super) fn problem(self, path: &str, error: &Error) -> Problem {
        let position = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        let said = text.strip_suffix(&position).unwrap_or(&text);
        let parent = path.trim_end_matches(['?', '.']);
        let place = if parent.is_empty() { self.name } else { parent };
        let position = if self.is_within_another { "" } else { &position };
        match error.classify() {
            Category::Data => self.wrong_value(parent, said),
            Category::Eof => Problem::malformed(place, format!("is not complete JSON: it ends{position}")),
            Category::Syntax | Category::Io => {
                Problem::malformed(place, format!("is not valid JSON{position}: {}", syntax(said)))
            }
        }
    }

    /// The problem of valid JSON that does not have the expected form.
    fn wrong_value(self, parent: &str, said: &str) -> Problem {
        let place = if parent.is_empty() { self.name } else { parent };
        if let Some((_, known)) = named(said, "unknown field") {
            let known: Vec<_> = known.into_iter().filter(|name| !self.refused.contains(name)).collect();
            let why = format!("is not a known member; known are {}", known.join(", "));
            return Problem::malformed(&cut(parent), why);
        }
        if let Some((name, _)) = named(said, "duplicate field") {
            let field = if parent.is_empty() { cut(name) } else { cut(&format!("{parent}.{name}")) };
            return Problem::malformed(&field, "is given more than once: give it once");
        }
        if let Some((name, _)) = named(said, "missing field") {
            let field = if parent.is_empty() { cut(name) } else { cut(&format!("{parent}.{name}")) };
            return Problem::malformed(&field, "is missing");
        }
        if let Some((name, known)) = named(said, "unknown variant") {
            let why = format!("must be one of {}, not {}", known.join(", "), quoted(name));
            return Problem::malformed(place, why);
        }
        Problem::malformed(place, kind(said))
    }
}

pub(super) fn refuse_byte_order_mark(name: &str, json: &[u8]) -> Result<(), Problem> {
    if json.starts_with(BYTE_ORDER_MARK) {
        return Err(Problem::malformed(name, "begins with a byte order mark: send UTF-8 without one"));
    }
    Ok(())
}

/// Reads a member that is an object. A derived reader would also accept an array, as the members in their order.
pub(in crate::http) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ObjectVisitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    deserializer.deserialize_map(ObjectVisitor(PhantomData))
}

/// Reads one word of a list, or null. serde's own reader would report a number as invalid JSON.
///
/// # Errors
/// When it is no string, or a string that is not in the list.
pub(in crate::http) fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let word = Option::<String>::deserialize(deserializer)?;
    word.map(|word| T::deserialize(word.into_deserializer())).transpose()
}

/// The name in an error text of serde of this kind, and the allowed names.
fn named<'a>(said: &'a str, kind: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = said.strip_prefix(kind)?.strip_prefix(" `")?;
    let (name, known) = match rest.rsplit_once("`, expected ") {
        Some(both) => both,
        None => (rest.strip_suffix('`').unwrap_or(rest), ""),
    };
    Some((name, known.split('`').skip(1).step_by(2).collect()))
}

/// The text about a value of the wrong kind. An error text of the gateway's own readers stays as it is.
fn kind(said: &str) -> String {
    let is_of_serde = |kind: &&str| said.starts_with(kind);
    if !["invalid ", "unknown ", "missing ", "data did "].iter().any(is_of_serde) {
        return said.to_owned();
    }
    match said.rsplit_once(", expected ").and_then(|(given, wanted)| Some((given, wanted_kind(wanted)?))) {
        Some((given, wanted)) => format!("must be {wanted}, not {}", given_value(given)),
        None => "has a value of the wrong kind".to_owned(),
    }
}

fn wanted_kind(wanted: &str) -> Option<&'static str> {
    Some(match wanted {
        "a boolean" => "true or false",
        "a string" | "a borrowed string" => "a string",
        "u8" => "a whole number from 0 to 255",
        "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
        "i8" | "i16" | "i32" | "i64" | "a whole number" => "a whole number",
        "a sequence" => "an array",
        "a duration" => "a duration such as 500ms, 5s or 1m30s",
        "true, false or an object" => "true, false or an object",
        object if object.starts_with("struct ") || object == "a map" || object == "an object" => "an object",
        _ => return None,
    })
}

fn given_value(given: &str) -> String {
    let (_, value) = given.split_once(": ").unwrap_or(("", given));
    let numbers = ["integer `", "floating point `", "boolean `"];
    let number = numbers.iter().find_map(|kind| value.strip_prefix(kind));
    if let Some(number) = number.and_then(|number| number.strip_suffix('`')) {
        return number.to_owned();
    }
    match (value.strip_prefix("string "), value) {
        (Some(text), _) => cut(text),
        (None, "map") => "an object".to_owned(),
        (None, "null" | "unit value") => "null".to_owned(),
        (None, _) => "an array".to_owned(),
    }
}

/// The text about a syntax error, in more words than serde's.
fn syntax(said: &str) -> &str {
    match said {
        "expected value" => "a value is missing, or a string has no quotes",
        "expected ident" => "a word other than true, false and null needs quotes",
        "key must be a string" => "the name of a member needs quotes",
        "trailing comma" => "a comma follows the last member",
        "trailing characters" => "more text follows the document",
        "recursion limit exceeded" => "it has too many nested levels",
        "number out of range" => "a number is too large",
        "expected `:`" => "a colon is missing",
        "expected `,` or `]`" => "a comma or ] is missing",
        "expected `,` or `}`" => "a comma or } is missing",
        text if text.starts_with("control character") => {
            "a string contains a control character: escape it, as in \\n"
        }
        "invalid unicode code point" => "a string is not UTF-8",
        "invalid number" => "a number is not in a form of JSON",
        "invalid escape" | "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            "a string has an escape that JSON does not know"
        }
        _ => "the syntax is wrong",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct TestDocument {
        switch: Option<bool>,
        small: Option<u8>,
        text: Option<String>,
        inner: Option<Box<TestDocument>>,
        number: Option<i64>,
    }

    fn detail_of(body: &str) -> String {
        json::<TestDocument>(body.as_bytes()).expect_err(body).detail().to_owned()
    }

    #[test]
    fn the_error_about_a_value_of_the_wrong_kind_uses_the_words_of_json() {
        for (body, detail) in [
            (r#"{"switch":"yes"}"#, r#"switch must be true or false, not "yes""#),
            (r#"{"small":300}"#, "small must be a whole number from 0 to 255, not 300"),
            (r#"{"small":-1}"#, "small must be a whole number from 0 to 255, not -1"),
            (r#"{"small":1.5}"#, "small must be a whole number from 0 to 255, not 1.5"),
            (r#"{"number":true}"#, "number must be a whole number, not true"),
            (r#"{"text":{}}"#, "text must be a string, not an object"),
            (r#"{"text":[]}"#, "text must be a string, not an array"),
            (r#"{"inner":"x, expected y"}"#, r#"inner must be an object, not "x, expected y""#),
            (r#"{"inner":{"text":5}}"#, "inner.text must be a string, not 5"),
            ("[]", "body must be an object, not an array"),
            ("5", "body must be an object, not 5"),
        ] {
            assert_eq!(detail_of(body), detail);
        }
    }

    #[test]
    fn the_error_about_an_unknown_name_lists_the_known_names() {
        let known = "is not a known member; known are switch, small, text, inner, number";
        assert_eq!(detail_of(r#"{"swich":true}"#), format!("swich {known}"));
        assert_eq!(
            detail_of(r#"{"inner":{"`x`, expected `y":1}}"#),
            format!("inner.`x`, expected `y {known}")
        );
        assert_eq!(detail_of(r#"{"small":1,"small":2}"#), "small is given more than once: give it once");
    }

    #[test]
    fn the_error_about_a_part_of_a_document_lists_no_refused_member_and_states_no_line() {
        let part = Document::named("item").without(&["text", "small"]).within_another();
        let detail_of =
            |json: &str| part.read::<TestDocument>(json.as_bytes()).expect_err(json).detail().to_owned();
        let known = "is not a known member; known are switch, inner, number";
        assert_eq!(detail_of(r#"{"inner":{"colour":1}}"#), format!("inner.colour {known}"));
        assert_eq!(
            detail_of(r#"{"inner":x}"#),
            "inner is not valid JSON: a value is missing, or a string has no quotes"
        );
        assert_eq!(detail_of("[]"), "item must be an object, not an array");
        assert_eq!(detail_of("5"), "item must be an object, not 5");
    }

    #[test]
    fn the_error_about_invalid_json_names_the_place() {
        for (body, detail) in [
            ("", "body is not complete JSON: it ends at line 1 column 0"),
            ("{\"text\":\n", "text is not complete JSON: it ends at line 2 column 0"),
            (
                "{\"text\":x}",
                "text is not valid JSON at line 1 column 9: a value is missing, or a string has no quotes",
            ),
            ("{text:1}", "body is not valid JSON at line 1 column 2: the name of a member needs quotes"),
            ("{} x", "body is not valid JSON at line 1 column 4: more text follows the document"),
            ("\u{feff}{}", "body begins with a byte order mark: send UTF-8 without one"),
        ] {
            assert_eq!(detail_of(body), detail);
        }
    }

    #[test]
    fn the_error_about_a_long_value_shows_only_its_beginning() {
        let long = "x".repeat(10_000);
        assert!(detail_of(&format!(r#"{{"switch":"{long}"}}"#)).len() < 300);
        assert!(detail_of(&format!(r#"{{"{long}":1}}"#)).len() < 300);
    }
}
