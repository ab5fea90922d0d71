//! The forms of values. Each function parses one text, or returns the reason why the text does not have the form.
//!
//! The reason is empty where the name of the form is enough: the error text always names the form.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::{duration, names::QueueName, names::ShortText, path_prefix::PathPrefix};
use crate::http::AuditLevel;

pub(super) type Parsed<T> = Result<T, String>;

/// Semaphores count bytes in 32 bits.
pub(super) const MAX_SIZE: usize = 4_095 << 20;

const MAX_HEALTH_QUEUES: usize = 20;

pub(super) fn nothing<T>() -> Parsed<T> {
    Err(String::new())
}

pub(super) fn positive_duration(text: &str) -> Parsed<Duration> {
    pause(text).and_then(|it| if it.is_zero() { nothing() } else { Ok(it) })
}

pub(super) fn pause(text: &str) -> Parsed<Duration> {
    duration::parse(text).map_err(|error| match error {
        duration::DurationError::Malformed => String::new(),
        duration::DurationError::TooLong => error.to_string(),
    })
}

/// A duration above 0, at most `max`.
pub(super) fn duration_up_to(max: Duration) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| positive_duration(text).and_then(|it| if it > max { nothing() } else { Ok(it) })
}

pub(super) fn duration_or_off(text: &str) -> Parsed<Option<Duration>> {
    if text.eq_ignore_ascii_case("off") { Ok(None) } else { positive_duration(text).map(Some) }
}

pub(super) fn whole_seconds(text: &str) -> Parsed<u16> {
    let duration = pause(text)?;
    match (u16::try_from(duration.as_secs()), duration.subsec_nanos()) {
        (Ok(seconds), 0) => Ok(seconds),
        _ => nothing(),
    }
}

/// A whole number from 1 to `max`.
pub(super) fn count(max: usize) -> impl Fn(&str) -> Parsed<usize> {
    move |text| match whole_number(text) {
        Some(number) if (1..=max).contains(&number) => Ok(number),
        _ => nothing(),
    }
}

/// A whole number from 0 to `max`.
pub(super) fn count_or_none(max: usize) -> impl Fn(&str) -> Parsed<usize> {
    move |text| whole_number(text).filter(|number| *number <= max).map_or_else(nothing, Ok)
}

pub(super) fn size(text: &str) -> Parsed<usize> {
    size_between(1, MAX_SIZE)(text)
}

/// A number of bytes, plain or with `KiB`, `MiB` or `GiB`.
pub(super) fn size_between(min: usize, max: usize) -> impl Fn(&str) -> Parsed<usize> {
    move |text| {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = match unit {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return nothing(),
        };
        let Some(number) = whole_number(number) else { return nothing() };
        let bytes = number.checked_mul(unit).filter(|bytes| *bytes <= max && *bytes >= min);
        bytes.ok_or_else(|| format!("from {min} to {max} bytes"))
    }
}

pub(super) fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().or_else(|_| nothing())
}

pub(super) fn audit_level(text: &str) -> Parsed<AuditLevel> {
    match text {
        "off" => Ok(AuditLevel::Off),
        "changes" => Ok(AuditLevel::Changes),
        "all" => Ok(AuditLevel::All),
        _ => nothing(),
    }
}

/// The one word of a setting that switches something off.
pub(super) fn none(text: &str) -> Parsed<()> {
    if text.eq_ignore_ascii_case("none") { Ok(()) } else { nothing() }
}

pub(super) fn switch(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => nothing(),
    }
}

/// A path. Does not check that the file exists.
pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.contains(['\0', '\n', '\r']) { nothing() } else { Ok(PathBuf::from(text)) }
}

/// A port, or the address of a Service as Kubernetes writes it.
pub(super) fn port(text: &str) -> Parsed<u16> {
    let port = match text.strip_prefix("tcp://") {
        Some(address) => address.rsplit_once(':').ok_or_else(String::new)?.1,
        None => text,
    };
    match whole_number(port).and_then(|port| u16::try_from(port).ok()) {
        Some(port) if port > 0 => Ok(port),
        _ => nothing(),
    }
}

/// A host name or an IP address. Removes the brackets of an IPv6 address.
pub(super) fn host(text: &str) -> Parsed<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bare.unwrap_or(text).parse::<Ipv6Addr>().is_ok() {
        return Ok(bare.unwrap_or(text).to_owned());
    }
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    let is_number = text.rsplit('.').next().is_some_and(|last| whole_number(last).is_some());
    match text.len() {
        1..=253 if is_name && (!is_number || text.parse::<IpAddr>().is_ok()) => Ok(text.to_owned()),
        _ => nothing(),
    }
}

/// A user name or a password. SASL PLAIN separates the two by NUL, so neither may contain NUL.
pub(super) fn credential(text: &str) -> Parsed<String> {
    if text.contains('\0') { Err("must not contain NUL".to_owned()) } else { Ok(text.to_owned()) }
}

/// A user name or a password from a variable or a file, which may hold a line break by mistake.
pub(super) fn plain_credential(text: &str) -> Parsed<String> {
    no_line_break(text)?;
    credential(text)
}

/// Refuses a line break, as `echo` and editors write at the end of a file.
pub(super) fn no_line_break(text: &str) -> Parsed<()> {
    const IS: &str = "remove the line break, or write it as %0A in AMQP_URL if it is a part of the password";
    match text.find(['\n', '\r']) {
        None => Ok(()),
        Some(at) if text[at..].trim_matches(['\n', '\r']).is_empty() => {
            Err(format!("it ends with a line break: {IS}"))
        }
        Some(_) => Err(format!("it contains a line break: {IS}")),
    }
}

pub(super) fn vhost(text: &str) -> Parsed<String> {
    ShortText::parse(text).map(|text| text.as_str().to_owned()).map_err(|error| error.to_string())
}

/// The virtual host in its own setting. Refuses an address, because the gateway logs the virtual host and an address may hold
/// a password.
pub(super) fn plain_vhost(text: &str) -> Parsed<String> {
    if text.contains("://") { Err("set an address as AMQP_URL".to_owned()) } else { vhost(text) }
}

/// Web origins, without a path.
pub(super) fn origins(text: &str) -> Parsed<Vec<String>> {
    items(text).map(origin).collect()
}

fn origin(text: &str) -> Parsed<String> {
    let url = url::Url::parse(text).map_err(|_| String::new())?;
    let origin = url.origin().ascii_serialization();
    let bare = url.as_str() == format!("{origin}/");
    if bare && matches!(url.scheme(), "http" | "https") { Ok(origin) } else { nothing() }
}

pub(super) fn hosts(text: &str) -> Parsed<Vec<String>> {
    items(text).map(host).collect()
}

/// IP addresses, and networks such as `10.0.0.0/8`. Reads an IPv4 address that is written as IPv6 as the IPv4 address.
pub(super) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    items(text).map(network).collect()
}

fn network(text: &str) -> Parsed<IpNet> {
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    address.or_else(|_| text.parse()).map_err(|_| String::new())
}

pub(super) fn path_prefix(text: &str) -> Parsed<PathPrefix> {
    PathPrefix::parse(text).ok_or_else(String::new)
}

pub(super) fn queues(text: &str) -> Parsed<Vec<QueueName>> {
    let names: Vec<_> = items(text).collect();
    if names.len() > MAX_HEALTH_QUEUES {
        return Err(format!("{} names are too many", names.len()));
    }
    names.into_iter().map(|name| QueueName::parse(name).map_err(|error| error.to_string())).collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// The beginning of names of AMQP headers.
pub(super) fn header_prefix(text: &str) -> Parsed<ShortText> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if is_plain && (1..=32).contains(&text.len()) {
        ShortText::parse(text).map_err(|error| error.to_string())
    } else {
        nothing()
    }
}

/// A number of digits only, without a sign or a space.
pub(super) fn whole_number(text: &str) -> Option<usize> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
