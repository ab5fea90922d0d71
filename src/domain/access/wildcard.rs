//! A pattern for a whole text, in which `*` is any run of bytes.

use std::fmt::{self, Write};

/// The most stars of a pattern, so that a comparison stays short.
const MAX_STARS: usize = 8;
/// The characters that a pattern spells with an escape.
const ESCAPES: [(&str, char); 5] = [("2A", '*'), ("2F", '/'), ("25", '%'), ("2B", '+'), ("7B", '{')];
/// Stands for the name of the principal.
const PRINCIPAL: &str = "{principal}";

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The name part is empty.
    #[error("must begin with a name or a pattern for names")]
    Empty,
    /// It has more than 8 stars.
    #[error("must have at most {MAX_STARS} stars")]
    TooManyStars,
    /// It has a percent sign that begins none of the escapes.
    #[error(
        "has a % that is no escape: write %25 for a percent sign, %2A for a star, %2F for a slash, %2B for a plus sign and \
         %7B for an opening brace"
    )]
    Escape,
    /// It has a plus sign, which RabbitMQ takes as a space in scopes.
    #[error("has a +, which is a space in RabbitMQ's scopes: write %2B for a plus sign")]
    Plus,
    /// It has a slash behind the one before the routing key.
    #[error("has a second slash: write %2F for a slash in a name or a routing key")]
    Slash,
    /// It has a routing key where the operation has none.
    #[error("has a routing key, and a call has none: write %2F for a slash in the name of a queue")]
    Key,
    /// It has a control character.
    #[error("must not have control characters")]
    ControlCharacter,
}

/// A pattern for a whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    /// The text before the first star.
    start: Box<str>,
    /// The texts between stars and behind the last one; empty if the pattern has no star.
    rest: Box<[Box<str>]>,
}

impl Wildcard {
    /// Reads a pattern. `{principal}` in it stands for this name as it is, stars included.
    ///
    /// # Errors
    /// Any [`PatternError`] but [`PatternError::Empty`] and [`PatternError::Key`].
    pub fn parse(text: &str, principal: &str) -> Result<Self, PatternError> {
        if text.contains('/') {
            return Err(PatternError::Slash);
        }
        if text.chars().any(char::is_control) {
            return Err(PatternError::ControlCharacter);
        }
        if text.contains('+') {
            return Err(PatternError::Plus);
        }
        let mut parts = text.split('*').map(|part| literal(part, principal));
        let start = parts.next().unwrap_or_else(|| Ok(Box::default()))?;
        let rest = parts.collect::<Result<Box<[_]>, _>>()?;
        if rest.len() > MAX_STARS {
            return Err(PatternError::TooManyStars);
        }
        Ok(Self { start, rest })
    }

    /// Whether the pattern matches the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((end, middle)) = self.rest.split_last() else { return *self.start == *text };
        let Some(mut text) = text.as_bytes().strip_prefix(self.start.as_bytes()) else { return false };
        // The earliest place of each part leaves the most bytes for the parts behind it.
        for part in middle {
            let Some(at) = memchr::memmem::find(text, part.as_bytes()) else { return false };
            text = &text[at + part.len()..];
        }
        text.ends_with(end.as_bytes())
    }

    /// Whether the pattern matches every text.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        !self.rest.is_empty()
            && self.literal_start().is_empty()
            && self.rest.iter().all(|part| part.is_empty())
    }

    /// The bytes with which every text begins that the pattern matches.
    #[must_use]
    pub fn literal_start(&self) -> &str {
        &self.start
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        push_literal(&mut text, &self.start);
        for part in &self.rest {
            text.push('*');
            push_literal(&mut text, part);
        }
        f.write_str(&text)
    }
}

/// The text between two stars, without escapes.
fn literal(part: &str, principal: &str) -> Result<Box<str>, PatternError> {
    let mut pieces = part.split('%');
    let mut text = with_principal(pieces.next().unwrap_or_default(), principal);
    for piece in pieces {
        let unescape = |(hex, character): &(&str, char)| {
            let (given, rest) = piece.split_at_checked(2)?;
            given.eq_ignore_ascii_case(hex).then_some((*character, rest))
        };
        let (character, rest) = ESCAPES.iter().find_map(unescape).ok_or(PatternError::Escape)?;
        text.push(character);
        text.push_str(&with_principal(rest, principal));
    }
    Ok(text.into())
}

fn with_principal(text: &str, principal: &str) -> String {
    text.replace(PRINCIPAL, principal)
}

/// Appends a text as a pattern that matches this text only.
pub(super) fn push_literal(out: &mut String, text: &str) {
    for character in text.chars() {
        match ESCAPES.iter().find(|(_, escaped)| *escaped == character) {
            Some((hex, _)) => {
                // Writing to a string cannot fail.
                let _written = write!(out, "%{hex}");
            }
            None => out.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Wildcard::parse(pattern, "shop").expect(pattern).matches(text)
    }

    #[test]
    fn a_star_is_any_run_of_bytes_and_everything_else_is_itself() {
        for (pattern, text, expected) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("orders", "Orders", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*.eu", "x.eu", true),
            ("*.eu", "x.eu.eu", true),
            ("*.eu", "x.eux", false),
            ("a*b", "ab", true),
            ("a*a", "a", false),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "a.c.b", false),
            ("a**c", "ac", true),
            ("{principal}.*", "shop.new", true),
            ("{principal}.*", "{principal}.new", false),
            ("%7Bprincipal}.*", "{principal}.new", true),
            ("%7bprincipal}.*", "shop.new", false),
            ("%2A%2f%25", "*/%", true),
            ("a%2Bb", "a+b", true),
            ("a%2bb", "a b", false),
            ("%2A", "x", false),
            ("x*ü", "xü", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_wrong_pattern_says_why() {
        for (pattern, error) in [
            ("a/b", PatternError::Slash),
            ("100%", PatternError::Escape),
            ("%2", PatternError::Escape),
            ("%2ü", PatternError::Escape),
            ("%41", PatternError::Escape),
            ("*********", PatternError::TooManyStars),
            ("a\nb", PatternError::ControlCharacter),
            ("a+b", PatternError::Plus),
        ] {
            assert_eq!(Wildcard::parse(pattern, ""), Err(error), "{pattern}");
        }
        assert!(Wildcard::parse("********", "").is_ok());
    }

    #[test]
    fn the_name_of_a_principal_is_never_a_pattern() {
        let own = Wildcard::parse("{principal}.*", "*").expect("a pattern");
        assert!(own.matches("*.a") && !own.matches("b.a"));
        let escaped = Wildcard::parse("{principal}", "%2A").expect("a pattern");
        assert!(escaped.matches("%2A") && !escaped.matches("*"));
        assert!(Wildcard::parse("%2A{principal}", "a").expect("a pattern").matches("*a"));
    }

    #[test]
    fn only_stars_match_every_text() {
        let all = |pattern| Wildcard::parse(pattern, "").expect("a pattern").matches_all();
        assert!(all("*") && all("***"));
        assert!(!all("") && !all("a*") && !all("*a") && !all("*a*"));
        assert_eq!(Wildcard::parse("amq.*x", "").expect("a pattern").literal_start(), "amq.");
    }

    /// The definition of the language, byte by byte.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) if model(rest, text) => true,
            (Some((b'*', _)), Some((_, tail))) => model(pattern, tail),
            (Some((one, rest)), Some((other, tail))) => one == other && model(rest, tail),
            (Some(_) | None, _) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_its_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_literal_matches_its_own_text_only(text in "([a*/%+]|[{]principal[}]){0,6}", other in "[a*/%+]{0,6}") {
            let mut pattern = String::new();
            push_literal(&mut pattern, &text);
            prop_assert!(matches(&pattern, &text));
            prop_assert_eq!(matches(&pattern, &other), text == other);
        }

        #[test]
        fn no_text_makes_the_reader_panic(pattern in "\\PC{0,40}", text in "\\PC{0,40}") {
            if let Ok(wildcard) = Wildcard::parse(&pattern, &text) {
                prop_assert!(!wildcard.matches_all() || wildcard.matches(&text));
            }
        }
    }
}
