//! A text is an API key only as a whole, and no other text with one letter changed is one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rabbitmq_gateway::domain::access::{ApiKey, KeyDigest};

fuzz_target!(|input: (&str, usize, char)| {
    let (text, place, letter) = input;
    if let Ok(digest) = text.parse::<KeyDigest>() {
        assert_eq!(digest.to_string().to_lowercase(), text.to_lowercase());
    }
    // A random text is hardly ever a key, so each input also tries one.
    let key = text.parse::<ApiKey>().unwrap_or_else(|_| ApiKey::generate());
    assert_eq!(key.digest().to_string().parse::<KeyDigest>().ok(), Some(key.digest()));
    assert!(ApiKey::is_like(key.reveal()));
    let mut letters: Vec<char> = key.reveal().chars().collect();
    let place = place % letters.len();
    if std::mem::replace(&mut letters[place], letter) != letter {
        let other: String = letters.into_iter().collect();
        assert!(other.parse::<ApiKey>().is_err(), "another key");
    }
});
