//! Splits a JSON array into its items, without reading them.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Document, refuse_byte_order_mark};
use crate::http::problem::Problem;

/// The text of each item of a body that is an array, and the number of items. Keeps at most `limit` texts, so that many small
/// items cost no memory.
///
/// # Errors
/// 400.
pub(in crate::http) fn array(body: &[u8], limit: usize) -> Result<(Vec<&RawValue>, usize), Problem> {
    refuse_byte_order_mark("body", body)?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let items = Items { limit }.deserialize(&mut deserializer);
    let items = items.and_then(|items| deserializer.end().map(|()| items));
    items.map_err(|error| Document::named("body").problem("", &error))
}

struct Items {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for Items {
    type Value = (Vec<&'de RawValue>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.limit {
            let Some(item) = array.next_element()? else {
                let count = items.len();
                return Ok((items, count));
            };
            items.push(item);
        }
        let mut count = items.len();
        while array.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((items, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_first_items_and_the_number_of_all_are_returned() {
        let (items, count) = array(br#" [1, {"a":[2]}, "x" ] "#, 2).expect("an array");
        assert_eq!(items.iter().map(|item| item.get()).collect::<Vec<_>>(), ["1", r#"{"a":[2]}"#]);
        assert_eq!(count, 3);
        assert_eq!(array(b"[]", 2).expect("an empty array").1, 0);
    }

    #[test]
    fn the_problem_of_another_body_says_what_is_wrong() {
        for (body, detail) in [
            ("{}", "body must be an array, not an object"),
            ("5", "body must be an array, not 5"),
            ("[1,", "body is not complete JSON: it ends at line 1 column 3"),
            ("[1] 2", "body is not valid JSON at line 1 column 5: more text follows the document"),
            ("\u{feff}[]", "body begins with a byte order mark: send UTF-8 without one"),
        ] {
            assert_eq!(array(body.as_bytes(), 2).expect_err(body).detail(), detail);
        }
    }
}
