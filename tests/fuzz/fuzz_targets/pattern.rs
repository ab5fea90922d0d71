//! A pattern covers what a simple, slow comparison says, and its text in messages has the same meaning.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rabbitmq_gateway::config::principals::wrong_name;
use rabbitmq_gateway::domain::access::{Grant, Key};

/// A character of a pattern; `None` is a star.
type Part = Option<u8>;

fn parts(pattern: &str, principal: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("{principal}") {
            parts.extend(principal.bytes().map(Some));
            rest = behind;
        } else if first == '*' {
            parts.push(None);
            rest = &rest[1..];
        } else if first == '%' {
            parts.push(u8::from_str_radix(&rest[1..3], 16).ok());
            rest = &rest[3..];
        } else {
            let (character, behind) = rest.split_at(first.len_utf8());
            parts.extend(character.bytes().map(Some));
            rest = behind;
        }
    }
    parts
}

/// Whether the parts match the whole text: a table of all places, so without recursion.
fn matches(parts: &[Part], text: &[u8]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in parts {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = match part {
                None => reached[at] || (at > 0 && next[at - 1]),
                Some(byte) => at > 0 && reached[at - 1] && text[at - 1] == *byte,
            };
        }
        reached = next;
    }
    reached[text.len()]
}

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (text, principal, name, key) = input;
    if wrong_name(principal).is_some() {
        return;
    }
    let Ok(grant) = Grant::parse(text, principal) else { return };
    let covers = grant.covers(name, Key::One(key));
    let (name_part, key_part) = text.split_once('/').map_or((text, None), |(name, key)| (name, Some(key)));
    let name_matches = matches(&parts(name_part, principal), name.as_bytes());
    let key_matches = key_part.is_none_or(|part| matches(&parts(part, principal), key.as_bytes()));
    if name.starts_with("amq.") {
        // These names need more than a pattern that matches.
        assert!(!covers || (name_matches && key_matches), "{text:?} {name:?} {key:?}");
    } else {
        assert_eq!(covers, name_matches && key_matches, "{text:?} {name:?} {key:?}");
    }
    let again = Grant::parse(&grant.to_string(), "").expect("its own text");
    assert_eq!(again.covers(name, Key::One(key)), covers, "{text:?} became {grant}");
    assert!(!grant.covers(name, Key::Every) || grant.covers(name, Key::One(key)));
    assert!(!grant.covers(name, Key::One(key)) || grant.covers(name, Key::Some));
});
