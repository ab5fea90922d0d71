//! Quotes texts of callers in the details of problems.

use serde_json::Value;

/// The most characters of a text that are shown. The caller knows the rest.
const SHOWN: usize = 100;

/// The text in quotes, escaped as in JSON. Cuts the end of a long text.
pub fn quoted(text: &str) -> String {
    Value::String(cut(text)).to_string()
}

/// A short text, or the beginning of a long text and three dots.
pub fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The end of a list that shows so many of all its items.
pub fn and_more(all: usize, shown: usize) -> String {
    let more = all.saturating_sub(shown);
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_a_line_break_escaped() {
        assert_eq!(quoted("a\n\u{7}b"), r#""a\n\u0007b""#);
        assert_eq!(cut(&"é".repeat(101)), "é".repeat(100) + "…");
        assert_eq!(cut(&"é".repeat(100)), "é".repeat(100));
        assert_eq!([2, 3, 5].map(|all| and_more(all, 3)), ["", "", " and 2 more"]);
    }
}
