//! The path under which a proxy serves the gateway, such as `/mq` in `https://example.org/mq/docs/`.
//!
//! It begins with a slash and ends without one. Its characters need no escaping in a URL, in JSON or in HTML. No segment
//! is empty or consists of dots only. So an address that begins with a prefix always stays on the host of the request.

use std::sync::Arc;

/// Longest prefix, in bytes.
const MAX_BYTES: usize = 255;

/// A prefix; the default is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathPrefix(Option<Arc<str>>);

impl PathPrefix {
    /// Reads `/mq`, `/mq/`, `/a/b`, or `/` for no prefix. `None` if the text is not a valid prefix.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "/" {
            return Some(Self::default());
        }
        let path = text.strip_suffix('/').unwrap_or(text);
        let segments = path.strip_prefix('/')?;
        let is_valid = path.len() <= MAX_BYTES && segments.split('/').all(is_segment);
        is_valid.then(|| Self(Some(path.into())))
    }

    /// This prefix followed by another one; `None` if the result is too long.
    #[must_use]
    pub fn join(self, other: &Self) -> Option<Self> {
        if self.is_none() { Some(other.clone()) } else { Self::parse(&self.before(other.as_str())) }
    }

    /// The text, which is empty if there is no prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is no prefix.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The path of a gateway's page as the browser must request it.
    #[must_use]
    pub fn before(&self, path: &str) -> String {
        [self.as_str(), path].concat()
    }
}

fn is_segment(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !segment.trim_matches('.').is_empty() && segment.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<String> {
        PathPrefix::parse(text).map(|prefix| prefix.as_str().to_owned())
    }

    #[test]
    fn a_prefix_begins_with_a_slash_and_ends_without_one() {
        for (text, prefix) in [("/mq", "/mq"), ("/mq/", "/mq"), ("/a/b-c_1.2~/", "/a/b-c_1.2~"), ("/", "")] {
            assert_eq!(parse(text).as_deref(), Some(prefix), "{text}");
        }
    }

    #[test]
    fn a_prefix_never_leads_to_another_host_or_out_of_a_text() {
        let long = format!("/{}", "a".repeat(255));
        for text in [
            "",
            "mq",
            "//evil.example",
            "/a//b",
            "/..",
            "/a/./b",
            "/%2e%2e",
            "/\"",
            "/<b>",
            "/a b",
            "/\\evil",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn prefixes_are_joined_in_their_order() {
        let prefix = |text| PathPrefix::parse(text).expect("a prefix");
        assert_eq!(prefix("/a").join(&prefix("/b")), Some(prefix("/a/b")));
        assert_eq!(prefix("/").join(&prefix("/b")), Some(prefix("/b")));
        assert_eq!(prefix("/a").join(&prefix("/")), Some(prefix("/a")));
        let long = prefix(&format!("/{}", "a".repeat(200)));
        assert_eq!(long.clone().join(&long), None);
    }
}
