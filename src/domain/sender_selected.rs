//! Sender-selected distribution: RabbitMQ routes a message by the texts in its headers `CC` and `BCC` too, and removes `BCC`.
//!
//! Source: <https://www.rabbitmq.com/docs/sender-selected>. RabbitMQ closes the channel if the value is no array of texts.

use super::field::{FieldTable, FieldValue};

/// The headers, as RabbitMQ spells them.
pub const HEADERS: [&str; 2] = ["CC", "BCC"];
/// The largest routing key, in bytes.
pub const MAX_BYTES: usize = 255;

/// The routing keys in these headers. Values that [`is_valid`] refuses have none.
pub fn routing_keys(headers: &FieldTable) -> impl Iterator<Item = &str> {
    let values = HEADERS.into_iter().filter_map(|name| headers.0.get(name));
    let items =
        values.filter_map(|value| if let FieldValue::Array(items) = value { Some(items) } else { None });
    items.flatten().filter_map(text)
}

/// Whether RabbitMQ takes the value: an array of texts, each a routing key of at most [`MAX_BYTES`].
#[must_use]
pub fn is_valid(value: &FieldValue) -> bool {
    let FieldValue::Array(items) = value else { return false };
    items.iter().all(|item| text(item).is_some_and(|key| key.len() <= MAX_BYTES))
}

fn text(item: &FieldValue) -> Option<&str> {
    if let FieldValue::Text(text) = item { str::from_utf8(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::names::ShortText;

    #[test]
    fn only_arrays_of_texts_have_routing_keys() {
        let texts =
            |texts: &[&str]| FieldValue::Array(texts.iter().map(|text| FieldValue::from(*text)).collect());
        let long = "é".repeat(128);
        let not_text = FieldValue::Array(vec![FieldValue::Text(vec![0xff])]);
        for (value, expected) in [
            (texts(&["a", ""]), true),
            (texts(&[]), true),
            (texts(&[&long]), false),
            (not_text, false),
            (FieldValue::Array(vec![FieldValue::from("a"), FieldValue::I8(1)]), false),
            (FieldValue::Array(vec![FieldValue::Bytes(b"a".to_vec())]), false),
            (FieldValue::from("a"), false),
            (FieldValue::Void, false),
        ] {
            assert_eq!(is_valid(&value), expected, "{value:?}");
        }
        let name = |name: &str| ShortText::parse(name).expect("short");
        let headers = [
            ("BCC", texts(&["c"])),
            ("CC", texts(&["a", "b"])),
            ("cc", texts(&["x"])),
            ("other", texts(&["y"])),
        ];
        let headers = FieldTable(headers.map(|(key, value)| (name(key), value)).into());
        assert_eq!(routing_keys(&headers).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(routing_keys(&FieldTable::default()).next(), None);
    }
}
