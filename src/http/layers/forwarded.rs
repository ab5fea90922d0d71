//! Finds the path prefix of a request: `X-Forwarded-Prefix` of a trusted proxy, else the configured prefix.
//!
//! Never believes the header of another peer: a cache could store the answer and give it to other clients.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::domain::path_prefix::PathPrefix;
use crate::http::Access;

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The sources of path prefixes.
#[derive(Debug)]
pub struct Prefixes {
    configured: PathPrefix,
    trusted: Arc<[IpNet]>,
}

impl Prefixes {
    /// Takes them from the settings.
    pub fn new(access: &Access) -> Self {
        Self { configured: access.path_prefix.clone(), trusted: access.trusted_proxies.clone().into() }
    }

    /// The prefix of an answer that does not depend on the request.
    pub fn configured(&self) -> &PathPrefix {
        &self.configured
    }

    /// The prefix of a request from `peer`.
    pub fn of(&self, headers: &HeaderMap, peer: IpAddr) -> PathPrefix {
        let forwarded = if self.trusts(peer) { forwarded(headers) } else { None };
        forwarded.unwrap_or_else(|| self.configured.clone())
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        !self.trusted.is_empty() && {
            let peer = peer.to_canonical();
            self.trusted.iter().any(|network| network.contains(&peer))
        }
    }
}

/// The prefixes of all proxies, the outermost first, as one path; `None` if there are none or one is malformed.
fn forwarded(headers: &HeaderMap) -> Option<PathPrefix> {
    let mut values = headers.get_all(X_FORWARDED_PREFIX).iter().peekable();
    values.peek()?;
    let mut whole = PathPrefix::default();
    for value in values {
        for prefix in value.to_str().ok()?.split(',') {
            whole = whole.join(&PathPrefix::parse(prefix.trim())?)?;
        }
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(given: &[&str], peer: &str) -> String {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(X_FORWARDED_PREFIX, value.parse().expect("a value"));
        }
        let prefixes = Prefixes {
            configured: PathPrefix::parse("/set").expect("a prefix"),
            trusted: ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().expect("a network")).into(),
        };
        prefixes.of(&headers, peer.parse().expect("an address")).as_str().to_owned()
    }

    #[test]
    fn the_header_of_a_trusted_proxy_wins_over_the_setting() {
        for peer in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
            assert_eq!(prefix(&["/mq"], peer), "/mq", "{peer}");
            assert_eq!(prefix(&[], peer), "/set", "{peer}");
        }
        assert_eq!(prefix(&["/"], "10.1.2.3"), "");
    }

    #[test]
    fn the_header_of_another_peer_is_ignored() {
        assert_eq!(prefix(&["/evil"], "192.0.2.1"), "/set");
    }

    #[test]
    fn prefixes_of_several_proxies_are_one_path() {
        assert_eq!(prefix(&["/a", "/b"], "10.1.2.3"), "/a/b");
        assert_eq!(prefix(&["/a, /b/"], "10.1.2.3"), "/a/b");
    }

    #[test]
    fn a_malformed_prefix_is_ignored() {
        for given in ["//evil.example", "evil", "/a, ", "/a,//b"] {
            assert_eq!(prefix(&[given], "10.1.2.3"), "/set", "{given}");
        }
    }
}
