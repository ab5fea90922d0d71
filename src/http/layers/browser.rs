//! The browser rules: refuse the requests of pages of a foreign origin, unless the configuration allows that origin.
//!
//! Owns the checks of `Sec-Fetch-Site` and `Origin`, the check of `Host` against DNS rebinding, and CORS for the allowed origins.
//! Guarantees that a refusal names the setting that would allow the request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

use super::settings::LayerSettings;
use crate::http::problem::{Problem, ProblemType};
use crate::http::routes::Traits;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// How long a browser may cache the answer to a preflight request.
const PREFLIGHT_AGE: Duration = Duration::from_mins(10);

/// The pages that may call the gateway, and the hosts that a request may name.
#[derive(Debug, Clone)]
pub struct Origins {
    allowed: Arc<[String]>,
    /// The hosts that a request may name, if the gateway listens on loopback only.
    loopback: Option<Loopback>,
}

#[derive(Debug, Clone)]
struct Loopback {
    /// The usual values of `Host`, for a fast comparison.
    common: [String; 2],
    allowed: Arc<[String]>,
}

impl Origins {
    /// Takes them from the settings.
    pub fn new(settings: &LayerSettings) -> Self {
        let LayerSettings { listen, access, .. } = settings;
        let loopback = listen.ip().to_canonical().is_loopback().then(|| Loopback {
            common: [listen.to_string(), format!("localhost:{}", listen.port())],
            allowed: access.allowed_hosts.clone().into(),
        });
        Self { allowed: access.allowed_origins.clone().into(), loopback }
    }

    /// Checks that the page may call the gateway, and that the request may name its host.
    ///
    /// # Errors
    /// The problem of a refused request. The answer varies with the origin, see [`refusal`].
    pub fn check(&self, request: &Request, traits: Traits) -> Result<(), Problem> {
        if let Some(loopback) = self.loopback.as_ref().filter(|_| !traits.answers_any_host) {
            loopback.check(request.uri(), request.headers())?;
        }
        let mut sites = request.headers().get_all(SEC_FETCH_SITE).iter();
        match sites.next() {
            None => self.check_origin(request),
            Some(site) if is_own_site(site) && sites.all(is_own_site) => Ok(()),
            Some(site) => self.check_foreign(request, site, traits),
        }
    }

    /// Checks a request without `Sec-Fetch-Site`: of a browser that does not send it, or of another client.
    fn check_origin(&self, request: &Request) -> Result<(), Problem> {
        let (uri, headers) = (request.uri(), request.headers());
        let host = || hosts(uri, headers).next().unwrap_or_default();
        let foreign = |origin: &&HeaderValue| !is_own(origin.as_bytes(), host()) && !self.is_allowed(origin);
        match headers.get_all(ORIGIN).iter().find(foreign) {
            None => Ok(()),
            Some(origin) => Err(cross_origin(format!(
                "the page's origin is {} and the request's Host is {}: name the origin in GATEWAY_ALLOWED_ORIGINS, \
                 or let the proxy in front pass on the browser's Host unchanged",
                quoted(origin.as_bytes()),
                quoted(host().as_bytes())
            ))),
        }
    }

    /// Checks a request of a page that the browser declares to be foreign.
    fn check_foreign(&self, request: &Request, site: &HeaderValue, traits: Traits) -> Result<(), Problem> {
        let mut origins = request.headers().get_all(ORIGIN).iter().peekable();
        let origin = origins.peek().copied();
        if origin.is_some() && origins.all(|origin| self.is_allowed(origin)) {
            return Ok(());
        }
        if traits.is_page && is_followed_link(request) {
            return Ok(());
        }
        let page = origin.map_or_else(String::new, |origin| format!(" {}", quoted(origin.as_bytes())));
        Err(cross_origin(format!(
            "the request comes from a page of another origin{page} (Sec-Fetch-Site: {}): name that origin in \
             GATEWAY_ALLOWED_ORIGINS",
            site.as_bytes().escape_ascii()
        )))
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        self.allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }
}

impl Loopback {
    /// Checks the host that the request names, because the host name of a foreign page may resolve to this machine (DNS
    /// rebinding).
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        match hosts(uri, headers).find(|host| !self.serves(host)) {
            None => Ok(()),
            Some(host) => Err(cross_origin(format!(
                "the gateway listens on loopback only, and the request names the host {}: name it in \
                 GATEWAY_ALLOWED_HOSTS, or call the gateway as localhost",
                quoted(host.as_bytes())
            ))),
        }
    }

    fn serves(&self, host: &str) -> bool {
        if self.common.iter().any(|name| name == host) {
            return true;
        }
        let Some(name) = name_of(host) else { return false };
        is_loopback(&name)
            || self.allowed.iter().any(|allowed| without_last_dot(allowed).eq_ignore_ascii_case(&name))
    }
}

/// CORS for the allowed origins; `None` if there are none.
pub fn cors_layer(allowed: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = allowed.iter().filter_map(|origin| origin.parse().ok()).collect();
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            // A reply's headers are named by its server, so there is no list of them. No credentials are allowed.
            .expose_headers(ExposeHeaders::any())
            .max_age(PREFLIGHT_AGE)
    })
}

/// Whether the CORS layer handles the request. That layer answers preflights and names the allowed origin in every answer.
/// tower-http treats every OPTIONS request as a preflight, but one without `Access-Control-Request-Method` asks for the allowed
/// methods.
pub fn is_for_cors(request: &Request) -> bool {
    request.method() != Method::OPTIONS || request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a refused page.
pub fn refusal(problem: Problem) -> Response {
    ([(VARY, HeaderValue::from_static("origin, sec-fetch-site"))], problem).into_response()
}

fn cross_origin(detail: String) -> Problem {
    Problem::new(ProblemType::CrossOrigin, detail)
}

fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", text.escape_ascii())
}

/// Whether the request is of the gateway's own page, or of the user (`none`), who typed the address or opened a bookmark.
fn is_own_site(site: &HeaderValue) -> bool {
    matches!(site.as_bytes(), b"same-origin" | b"none")
}

/// Whether the user followed a link on a foreign page. That page does not see the answer.
fn is_followed_link(request: &Request) -> bool {
    let says = |name, value: &str| request.headers().get(name).is_some_and(|it| it == value);
    matches!(*request.method(), Method::GET | Method::HEAD)
        && says(SEC_FETCH_MODE, "navigate")
        && says(SEC_FETCH_DEST, "document")
}

/// All hosts that the request names, the most significant one first. A value that is not text counts as a foreign host.
fn hosts<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
    let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or("?"));
    uri.authority().map(Authority::as_str).into_iter().chain(named)
}

/// The host without its port, an IPv6 address without its brackets.
fn name_of(host: &str) -> Option<String> {
    let authority = Authority::try_from(host).ok()?;
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    Some(address.unwrap_or_else(|| without_last_dot(name)).to_owned())
}

/// A fully qualified name may end with a dot.
fn without_last_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether a page's origin and a request's `Host` have the same host and port. The schemes may differ, because a proxy may end
/// TLS. So a `Host` without a port stands for the default port of either scheme.
fn is_own(origin: &[u8], host: &str) -> bool {
    let Some((scheme, origin)) = std::str::from_utf8(origin).ok().and_then(|it| it.split_once("://")) else {
        return false;
    };
    let default_port = match scheme {
        "https" => HTTPS_PORT,
        "http" => HTTP_PORT,
        _ => return false,
    };
    let (Ok(origin), Ok(host)) = (Authority::try_from(origin), Authority::try_from(host)) else {
        return false;
    };
    let port = origin.port_u16().unwrap_or(default_port);
    let same_port = match host.port_u16() {
        Some(host_port) => host_port == port,
        None => matches!(port, HTTP_PORT | HTTPS_PORT),
    };
    same_port && origin.host().eq_ignore_ascii_case(host.host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised_by_the_whole_name() {
        let is_loopback = |host| name_of(host).is_some_and(|name| is_loopback(&name));
        for host in [
            "localhost",
            "LOCALHOST:80",
            "127.0.0.1",
            "127.9.9.9:8080",
            "[::1]",
            "[::1]:8080",
            "localhost.:80",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", "0.0.0.0", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn an_origin_is_compared_by_host_and_port_and_not_by_scheme() {
        for (origin, host) in [
            ("http://localhost:8080", "LocalHost:8080"),
            ("http://gateway", "gateway:80"),
            ("http://gateway", "gateway"),
            ("https://gateway:8443", "gateway:8443"),
            ("https://gateway", "gateway"),
            ("https://gateway", "gateway:443"),
            ("https://[::1]:8443", "[::1]:8443"),
        ] {
            assert!(is_own(origin.as_bytes(), host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "gateway"),
            ("http://evil", "gateway"),
            ("http://localhost:8081", "localhost:8080"),
            ("http://localhost", "localhost:8080"),
            ("https://gateway", "gateway:80"),
            ("https://gateway:8443", "gateway"),
            ("https://gateway.evil.example", "gateway"),
            ("ftp://gateway", "gateway"),
            ("https://gateway", ""),
        ] {
            assert!(!is_own(origin.as_bytes(), host), "{origin} {host}");
        }
    }
}
