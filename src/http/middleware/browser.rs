//! The browser rules: no page of a foreign origin reaches the gateway unless configuration allows it.
//!
//! Owns the check of `Origin`, the check of `Host` against DNS rebinding, and CORS for the allowed origins.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW, HOST, LOCATION, ORIGIN, RETRY_AFTER, VARY};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use super::{Rules, identify::X_REQUEST_ID};
use crate::http::problem::{Problem, ProblemType};

/// How long a browser may remember a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_mins(10);

/// Which origins and hosts may call.
#[derive(Debug, Clone)]
pub struct Origins {
    allowed: Arc<[String]>,
    /// Where only hosts on loopback may be named: how callers commonly name it.
    loopback: Option<[String; 2]>,
}

impl Origins {
    /// Reads them off the rules.
    pub fn new(rules: &Rules) -> Self {
        let loopback = rules.listen.ip().is_loopback().then(|| {
            let listen = rules.listen;
            [listen.to_string(), format!("localhost:{}", listen.port())]
        });
        Self { allowed: rules.allowed_origins.clone().into(), loopback }
    }

    /// Whether the page and the host that a request names may call.
    ///
    /// # Errors
    /// The problem of a request that may not; its answer varies with the origin, see [`refusal`].
    pub fn check(&self, request: &Request) -> Result<(), Problem> {
        let (uri, headers) = (request.uri(), request.headers());
        let is_named_well = |common: &[String; 2]| {
            hosts(uri, headers).all(|host| common.iter().any(|name| name == host) || is_loopback(host))
        };
        if !self.loopback.as_ref().is_none_or(is_named_well) {
            return Err(cross_origin(
                "the gateway listens on loopback only, the host of this request is another",
            ));
        }
        let own = |origin: &[u8]| {
            let scheme = uri.scheme_str().unwrap_or("http");
            hosts(uri, headers).next().is_some_and(|host| is_own(origin, scheme, host))
        };
        let allowed = |origin: &[u8]| self.allowed.iter().any(|allowed| allowed.as_bytes() == origin);
        if headers.get_all(ORIGIN).iter().all(|origin| own(origin.as_bytes()) || allowed(origin.as_bytes())) {
            return Ok(());
        }
        Err(cross_origin("pages of this origin may not call the gateway"))
    }
}

/// CORS for the allowed origins; `None` without any.
pub fn cors_layer(allowed: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = allowed.iter().filter_map(|origin| origin.parse().ok()).collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([X_REQUEST_ID, RETRY_AFTER, ALLOW, LOCATION])
            .max_age(PREFLIGHT_AGE)
    })
}

/// Whether it is for the CORS layer, which answers preflights and names the allowed origin in every answer. tower-http
/// takes every OPTIONS for a preflight; one that is not wants to know the methods.
pub fn is_for_cors(request: &Request) -> bool {
    request.method() != Method::OPTIONS || request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a foreign page.
pub fn refusal(problem: Problem) -> Response {
    ([(VARY, HeaderValue::from_static("origin"))], problem).into_response()
}

fn cross_origin(detail: &str) -> Problem {
    Problem::new(ProblemType::CrossOrigin, detail)
}

/// Every host that the request claims to be for, the one that counts first; what is no text counts as none of ours.
fn hosts<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
    let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    uri.authority().map(Authority::as_str).into_iter().chain(named)
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_own(origin: &[u8], scheme: &str, host: &str) -> bool {
    let Ok(origin) = std::str::from_utf8(origin) else { return false };
    let Some((its_scheme, its_host)) = origin.split_once("://") else { return false };
    let default_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let plain = |host: &str| host.strip_suffix(default_port).unwrap_or(host).to_ascii_lowercase();
    its_scheme.eq_ignore_ascii_case(scheme) && plain(its_host) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_the_whole_name() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1", "127.9.9.9:8080", "[::1]", "[::1]:8080"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "0.0.0.0", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_ours_with_scheme_host_and_port() {
        assert!(is_own(b"http://localhost:8080", "http", "LocalHost:8080"));
        assert!(is_own(b"http://gateway", "http", "gateway:80"));
        for origin in
            ["null", "https://localhost:8080", "http://localhost", "http://localhost:8081", "http://evil"]
        {
            assert!(!is_own(origin.as_bytes(), "http", "localhost:8080"), "{origin}");
        }
    }
}
