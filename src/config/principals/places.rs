//! The values of the file by their places, and the mistakes in them.

use toml::{Table, Value};

use crate::domain::access::{ApiKey, NoKeyDigest};

/// The mistakes of a file, each a sentence that begins with the place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Places(pub(super) Vec<String>);

impl Places {
    /// Notes a mistake at a place, such as `principals.shop.write[0]`.
    pub(super) fn about(&mut self, place: &str, why: impl std::fmt::Display) {
        self.0.push(format!("{place} {why}"));
    }
}

/// Refuses the members of a table that are not among these.
pub(super) fn known_members(table: &Table, known: &[&str], place: &str, mistakes: &mut Places) {
    for name in table.keys().filter(|name| !known.contains(&name.as_str())) {
        let place = format!("{place}.{}", shown(name));
        mistakes.about(&place, format!("is not a known member; known are {}", known.join(", ")));
    }
}

/// The table at a place, if there is one.
pub(super) fn table<'a>(value: Option<&'a Value>, place: &str, mistakes: &mut Places) -> Option<&'a Table> {
    let value = value?;
    if value.as_table().is_none() {
        mistakes.about(place, "must be a table");
    }
    value.as_table()
}

/// The items of an array with their places; none if there is no array.
pub(super) fn array<'a>(
    value: Option<&'a Value>,
    place: &str,
    mistakes: &mut Places,
) -> Vec<(String, &'a Value)> {
    match value {
        None => Vec::new(),
        Some(Value::Array(items)) => {
            items.iter().enumerate().map(|(n, item)| (format!("{place}[{n}]"), item)).collect()
        }
        Some(_) => {
            mistakes.about(place, "must be an array");
            Vec::new()
        }
    }
}

/// The texts of an array with their places.
pub(super) fn texts<'a>(
    value: Option<&'a Value>,
    place: &str,
    mistakes: &mut Places,
) -> Vec<(String, &'a str)> {
    let items = array(value, place, mistakes).into_iter();
    let texts = items.filter_map(|(place, item)| {
        let text = item.as_str();
        if text.is_none() {
            mistakes.about(&place, "must be a string");
        }
        if text.is_some_and(ApiKey::is_like) {
            mistakes.about(&place, NoKeyDigest::Key);
            return None;
        }
        Some((place, text?))
    });
    texts.collect()
}

/// A name as a message shows it. It may be a key that was pasted to the wrong place.
pub(super) fn shown(name: &str) -> String {
    if ApiKey::is_like(name) {
        return "(a key)".to_owned();
    }
    name.chars().take(64).flat_map(char::escape_debug).collect()
}
