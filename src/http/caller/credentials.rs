//! Reads the credentials of a request (RFC 6750): an API key in `Authorization: Bearer`.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, Entry};

use crate::domain::access::{ApiKey, KeyDigest};
use crate::http::problem::Problem;

/// The scheme of API keys. Its case does not count (RFC 9110, 11.1).
const BEARER: &str = "bearer";

/// The credentials of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// The request has none.
    None,
    /// A text with the form of an API key.
    Key(KeyDigest),
    /// Something else in the scheme of API keys. It never counts as no credentials.
    Wrong,
    /// Credentials of another scheme. They never count as none.
    OtherScheme,
}

/// Takes all credentials out of a header, so that no later part of the gateway sees them.
///
/// # Errors
/// 400 when there are two: another program may have added one, and the gateway must not choose.
pub(super) fn take(headers: &mut HeaderMap) -> Result<Credentials, Problem> {
    let Entry::Occupied(given) = headers.entry(AUTHORIZATION) else { return Ok(Credentials::None) };
    let (_, mut values) = given.remove_entry_mult();
    let (given, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(Problem::malformed("Authorization", "is given more than once: give it once"));
    }
    let text = given.as_ref().and_then(|given| given.to_str().ok());
    Ok(match text.and_then(bearer).map(str::parse::<ApiKey>) {
        Some(Ok(key)) => Credentials::Key(key.digest()),
        Some(Err(_)) => Credentials::Wrong,
        None => Credentials::OtherScheme,
    })
}

/// The text after the scheme `Bearer`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    scheme.eq_ignore_ascii_case(BEARER).then(|| rest.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Option<Credentials> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().expect("a header"));
        }
        let taken = take(&mut headers).ok();
        assert!(headers.is_empty(), "{values:?}");
        taken
    }

    #[test]
    fn a_key_is_read_in_the_scheme_bearer_and_everything_else_is_wrong() {
        let key = ApiKey::generate();
        let (text, digest) = (key.reveal(), key.digest());
        for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
            assert_eq!(of(&[&format!("{scheme} {text}")]), Some(Credentials::Key(digest)), "{scheme}");
        }
        assert_eq!(of(&[]), Some(Credentials::None));
        let long = "x".repeat(9 << 10);
        for other in ["", text, &format!("Basic {text}"), &format!("Bearer{text}")] {
            assert_eq!(of(&[other]), Some(Credentials::OtherScheme), "{other}");
        }
        for wrong in [
            "Bearer",
            "Bearer ",
            &format!("Bearer {text} "),
            &format!("Bearer {text}, Bearer {text}"),
            &format!("Bearer {}", &text[1..]),
            &format!("Bearer {long}"),
        ] {
            assert_eq!(of(&[wrong]), Some(Credentials::Wrong), "{wrong}");
        }
        let value = format!("Bearer {text}");
        assert_eq!(of(&[&value, &value]), None);
    }
}
