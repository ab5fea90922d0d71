//! Texts of the file of principals.

use std::fmt::Write;

/// A text as a basic string of TOML. Characters that cannot be seen, or that change the direction of a line, are escaped.
#[must_use]
pub fn toml_text(text: &str) -> String {
    let mut out = "\"".to_owned();
    for character in text.chars() {
        let is_seen = character == '\'' || character.escape_debug().len() == 1;
        // Writing to a string cannot fail.
        let _written = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            _ if is_seen => write!(out, "{character}"),
            _ => write!(out, "\\U{:08X}", u32::from(character)),
        };
    }
    out + "\""
}
