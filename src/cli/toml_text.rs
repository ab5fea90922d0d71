//! Writes parts of a file of principals.

use crate::domain::access::toml_text;

/// A line with a list of texts; nothing without texts.
pub(super) fn list_of_toml<'a>(key: &str, texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.map(toml_text).collect();
    if texts.is_empty() { String::new() } else { format!("{key} = [{}]\n", texts.join(", ")) }
}

/// A name as a key of TOML.
pub(super) fn key_of_toml(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { toml_text(name) }
}
