//! Refuses malformed HTTP, and requests over the limits, by the header of the request alone.
//!
//! hyper accepts all of these requests, and no later layer checks them again.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, Version};
use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::http::problem::{Problem, ProblemType};

/// The limits on the size of a request.
#[derive(Debug, Clone, Copy)]
pub struct Validation {
    /// Bytes of the header.
    pub max_header_bytes: usize,
    /// Bytes of the body, as the header announces them.
    pub max_body_bytes: usize,
}

impl Validation {
    /// Checks the header of a request, whose body may be endless.
    ///
    /// # Errors
    /// The problem of a refused request.
    pub fn check(self, request: &Request, has_endless_body: bool) -> Result<(), Problem> {
        let headers = request.headers();
        header_size(request, self.max_header_bytes)?;
        host(request.version(), request.uri(), headers)?;
        path(request.uri().path())?;
        transfer_encoding(headers)?;
        expect(headers)?;
        content_length(headers, if has_endless_body { usize::MAX } else { self.max_body_bytes })
    }
}

fn malformed(detail: &str, field: &str) -> Problem {
    Problem::new(ProblemType::MalformedRequest, detail).with("field", field)
}

fn header_size(request: &Request, limit: usize) -> Result<(), Problem> {
    let uri = request.uri();
    let line = uri.path().len() + uri.query().map_or(0, str::len);
    let bytes =
        request.headers().iter().fold(line, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4);
    if bytes <= limit {
        return Ok(());
    }
    let detail = format!("the header has {bytes} bytes, and the limit is {limit} bytes");
    Err(Problem::new(ProblemType::HeadersTooLarge, detail).with("limit", limit))
}

/// Checks the host: one valid `Host` in HTTP/1.1 (RFC 9112, 3.2); the authority in HTTP/2, with the same `Host` or none
/// (RFC 9113, 8.3.1).
fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if uri.authority().is_some_and(|authority| !is_host(authority.as_str().as_bytes())) {
        return Err(malformed(
            "the target of the request is not a host with an optional port: correct the address",
            "target",
        ));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(malformed("the request has more than one Host header: send one", "Host")),
        (None, None) if version == Version::HTTP_11 => {
            return Err(malformed("the request has no Host header, which HTTP/1.1 needs: send one", "Host"));
        }
        (None, None) => return Ok(()),
        (Some(host), None) => host.as_bytes(),
    };
    if !is_host(host) {
        return Err(malformed("the Host header is not a host with an optional port: correct it", "Host"));
    }
    match uri.authority() {
        Some(authority) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) => Err(malformed(
            "the Host header names another host than the target of the request: send the same in both",
            "Host",
        )),
        _ => Ok(()),
    }
}

/// Whether it is a host with an optional port (RFC 9110, 7.2), which may be empty (RFC 3986, 3.2.3).
fn is_host(host: &[u8]) -> bool {
    let (name, port) = match memchr(b':', host) {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, &[][..]),
    };
    let is_common = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if !name.is_empty() && name.iter().all(is_common) {
        return is_port(port);
    }
    let Ok(authority) = Authority::try_from(host) else { return false };
    // An authority with user information does not begin with the host.
    let Some(port) = authority.as_str().strip_prefix(authority.host()) else { return false };
    port.is_empty() || port.strip_prefix(':').is_some_and(|port| is_port(port.as_bytes()))
}

fn is_port(port: &[u8]) -> bool {
    let parsed = || std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    port.is_empty() || port.iter().all(u8::is_ascii_digit) && parsed()
}

fn path(path: &str) -> Result<(), Problem> {
    if !path.contains('%') {
        return Ok(());
    }
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let escape = byte != b'%'
            || [bytes.next(), bytes.next()].iter().all(|x| x.is_some_and(|x| x.is_ascii_hexdigit()));
        if !escape {
            return Err(malformed(
                "the path has a percent sign without two hexadecimal digits: write it as %25",
                "path",
            ));
        }
    }
    match percent_decode_str(path).decode_utf8() {
        Ok(_) => Ok(()),
        Err(_) => Err(malformed(
            "the decoded path is not UTF-8: encode names as UTF-8 before percent-encoding",
            "path",
        )),
    }
}

fn transfer_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Problem::new(
            ProblemType::TransferCodingNotSupported,
            "the gateway supports no transfer coding but chunked: send the body chunked or with a Content-Length",
        )),
    }
}

fn expect(headers: &HeaderMap) -> Result<(), Problem> {
    let known = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(|value| known(value.as_bytes())) {
        return Ok(());
    }
    Err(Problem::new(
        ProblemType::ExpectationFailed,
        "the gateway supports no expectation but 100-continue: send that or no Expect header",
    ))
}

fn content_length(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let Some(length) = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    match length.trim().parse::<u64>() {
        Ok(length) if usize::try_from(length).is_ok_and(|length| length <= limit) => Ok(()),
        Ok(_) => Err(Problem::too_large(limit)),
        Err(_) => Err(malformed("the Content-Length is not a number of bytes: correct it", "Content-Length")),
    }
}
