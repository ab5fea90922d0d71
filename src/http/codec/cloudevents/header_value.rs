//! Decodes the value of a `ce-*` header: first a quoted string, then one round of percent-decoding (HTTP Protocol Binding for
//! CloudEvents 1.0.2, section 3.1.3.2).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The reason why a value cannot be decoded; completes the sentence that begins with the header.
type Wrong = &'static str;

/// The text that the value stands for.
///
/// # Errors
/// A quoted string that does not end with the value, a percent sign without two digits, or bytes that are not UTF-8.
pub(super) fn decode(value: &str) -> Result<String, Wrong> {
    let value = unquoted(value)?;
    if has_lone_percent(&value) {
        return Err("has a % without two hexadecimal digits after it: write % as %25");
    }
    let text = percent_decode_str(&value).decode_utf8();
    text.map(Cow::into_owned).map_err(|_| "is not UTF-8 after percent-decoding")
}

/// The value without its quotes and its backslashes (RFC 9110, 5.6.4), if it begins with a quote.
fn unquoted(value: &str) -> Result<Cow<'_, str>, Wrong> {
    let Some(quoted) = value.strip_prefix('"') else { return Ok(Cow::Borrowed(value)) };
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if characters.as_str().is_empty() => return Ok(Cow::Owned(text)),
            '"' => break,
            '\\' => text.extend(characters.next()),
            character => text.push(character),
        }
    }
    Err("begins with a quote and is no quoted string: end it with a quote, or write \" as %22")
}

fn has_lone_percent(text: &str) -> bool {
    let mut parts = text.split('%').skip(1);
    parts.any(|after| !after.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    /// The characters that the binding demands to encode; characters beyond ASCII are encoded always.
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

    #[test]
    fn values_are_decoded_as_the_binding_says() {
        for (value, text) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("%41%62c", "Abc"),
            ("Euro € 😀", "Euro € 😀"),
            ("%2541", "%41"),
            ("a+b", "a+b"),
            ("", ""),
            (r#""""#, ""),
            (r#""Euro % 20""#.replace("% ", "%").as_str(), "Euro  "),
            (r#""say \"hi\" \\ \a""#, r#"say "hi" \ a"#),
            (r#"a"b"#, r#"a"b"#),
            (r"a\b", r"a\b"),
            (r#""%22\"""#, r#""""#),
        ] {
            assert_eq!(decode(value).as_deref(), Ok(text), "{value}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_decoded_is_refused() {
        for value in ["%C0%A0", "%ff", "100%", "%2", "%zz", "%%41", r#"""#, r#""a"#, r#""a" b"#, r#""a\""#] {
            assert!(decode(value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC{0,40}") {
            let value = utf8_percent_encode(&text, ENCODED).to_string();
            prop_assert_eq!(decode(&value), Ok(text));
        }
    }
}
