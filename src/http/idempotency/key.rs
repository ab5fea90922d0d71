//! An idempotency key: how a request writes it, and its scope.
//!
//! The header is the key itself, or the key as a quoted string of RFC 9651, as the IETF draft writes it. Both forms of a key are the
//! same key.

use axum::http::HeaderMap;

use super::hashing::Hashing;
use crate::domain::message::MessageId;
use crate::domain::names::{ExchangeName, ShortText};
use crate::http::header_names::IDEMPOTENCY_KEY;
use crate::http::problem::Problem;

/// The name of the header, as messages to callers write it.
const NAME: &str = "Idempotency-Key";

/// The key of a request, as the id of its message; `None` without the header.
///
/// # Errors
/// 400: several keys, not 1 to 255 bytes, a control character, or a quoted string that is malformed.
pub(in crate::http) fn key_of(headers: &HeaderMap) -> Result<Option<MessageId>, Problem> {
    let Some(value) = headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    if headers.get_all(&IDEMPOTENCY_KEY).iter().nth(1).is_some() {
        return Err(Problem::malformed(NAME, "is given more than once: give it once"));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Problem::malformed(NAME, "is not UTF-8"))?;
    let key = unquoted(text).map_err(|why| Problem::malformed(NAME, why))?;
    if key.is_empty() {
        return Err(Problem::malformed(NAME, "must not be empty: give a text that is unique to the message"));
    }
    let key = ShortText::parse(key).map_err(|error| Problem::malformed(NAME, error))?;
    Ok(Some(MessageId::from(key)))
}

/// The key without its quotes and escapes.
fn unquoted(text: &str) -> Result<String, &'static str> {
    let Some(quoted) = text.strip_prefix('"') else { return Ok(text.to_owned()) };
    let mut key = String::with_capacity(quoted.len());
    let mut letters = quoted.chars();
    loop {
        match letters.next() {
            None => {
                return Err(
                    "begins with a quote and does not end with one: quote the whole key, or leave the quotes out",
                );
            }
            Some('"') if letters.as_str().is_empty() => return Ok(key),
            Some('"') => {
                return Err("has text after the closing quote: write a quote inside a quoted key as \\\"");
            }
            Some('\\') => match letters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => {
                    return Err(
                        "has a backslash before another letter than \\ and \": write a backslash inside a quoted key as \\\\",
                    );
                }
            },
            Some(letter) => key.push(letter),
        }
    }
}

/// A key in its scope: the same key on another path is another key. It is a hash, so it takes the same memory for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ScopedKey([u8; 32]);

impl ScopedKey {
    /// The key of a publish of a principal to this exchange. One operation keeps keys, so the method does not count.
    pub(super) fn new(principal: &str, exchange: &ExchangeName, key: &MessageId) -> Self {
        let mut hashing = Hashing::default();
        hashing.bytes(b"POST /publish");
        hashing.bytes(principal.as_bytes());
        hashing.bytes(exchange.as_str().as_bytes());
        hashing.bytes(key.as_bytes());
        Self(hashing.finish())
    }

    /// The key of a number, for tests of the table.
    #[cfg(test)]
    pub(super) fn of_number(number: u8) -> Self {
        Self([number; 32])
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(values: &[&str]) -> Result<Option<String>, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let key = key_of(&headers).map_err(|problem| problem.detail().to_owned())?;
        Ok(key.map(|key| key.to_string()))
    }

    #[test]
    fn a_bare_key_and_a_quoted_key_are_the_same() {
        assert_eq!(key(&[]), Ok(None));
        for (bare, quoted) in [
            ("k", "\"k\""),
            ("order 7, second try", "\"order 7, second try\""),
            ("a\"b", "\"a\\\"b\""),
            ("a\\b", "\"a\\\\b\""),
            ("ключ", "\"ключ\""),
        ] {
            assert_eq!(key(&[bare]), Ok(Some(bare.to_owned())));
            assert_eq!(key(&[quoted]), Ok(Some(bare.to_owned())));
        }
    }

    #[test]
    fn the_limit_of_255_bytes_counts_the_key_without_quotes_and_escapes() {
        let longest = "\\\"".repeat(255);
        assert_eq!(key(&[&format!("\"{longest}\"")]), Ok(Some("\"".repeat(255))));
        assert!(key(&[&"x".repeat(255)]).is_ok());
        for too_long in ["x".repeat(256), format!("\"{}\"", "x".repeat(256)), "é".repeat(128)] {
            assert!(key(&[&too_long]).is_err_and(|why| why.contains("at most 255 bytes")), "{too_long}");
        }
    }

    #[test]
    fn a_key_that_is_no_key_is_refused_and_the_reason_is_told() {
        for (values, told) in [
            (&[""][..], "must not be empty"),
            (&["\"\""], "must not be empty"),
            (&["k", "k"], "more than once"),
            (&["\""], "does not end with one"),
            (&["\"k"], "does not end with one"),
            (&["\"k\\\""], "does not end with one"),
            (&["\"k\", \"l\""], "after the closing quote"),
            (&["\"k\";a=1"], "after the closing quote"),
            (&["\"k\\n\""], "backslash"),
            (&["\"k\\"], "backslash"),
            (&["a\tb"], "control characters"),
            (&["a\u{85}b"], "control characters"),
        ] {
            assert!(key(values).is_err_and(|why| why.contains(told)), "{values:?}: {:?}", key(values));
        }
        let mut headers = HeaderMap::new();
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(key_of(&headers).is_err());
    }

    #[test]
    fn the_principal_and_the_exchange_are_the_scope_of_a_key_and_never_run_together() {
        let scoped = |principal: &str, exchange: &str, key: &str| {
            let exchange = ExchangeName::from_path(exchange).unwrap();
            ScopedKey::new(principal, &exchange, &MessageId::from(key.to_owned()))
        };
        assert_eq!(scoped("shop", "orders", "k"), scoped("shop", "orders", "k"));
        assert_ne!(scoped("shop", "orders", "k"), scoped("shop", "invoices", "k"));
        assert_ne!(scoped("shop", "orders", "k"), scoped("acme", "orders", "k"));
        assert_ne!(scoped("shop", "orders", "k"), scoped("shop", "order", "sk"));
        assert_ne!(scoped("shop", "orders", "k"), scoped("shopo", "rders", "k"));
    }
}
