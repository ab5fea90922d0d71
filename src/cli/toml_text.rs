//! Writes parts of a file of principals.

use std::fmt::Write;

/// A line with a list of texts; nothing without texts.
pub(super) fn list_of_toml<'a>(key: &str, texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<_> = texts.map(text_of_toml).collect();
    if texts.is_empty() { String::new() } else { format!("{key} = [{}]\n", texts.join(", ")) }
}

/// A name as a key of TOML.
pub(super) fn key_of_toml(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { text_of_toml(name) }
}

/// A text as a basic string of TOML.
pub(super) fn text_of_toml(text: &str) -> String {
    let mut written = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => written.extend(['\\', character]),
            control if control.is_control() => {
                // Writing to a text does not fail.
                let _written = write!(written, "\\u{:04X}", u32::from(control));
            }
            other => written.push(other),
        }
    }
    written.push('"');
    written
}
