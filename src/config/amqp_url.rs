//! Parses `AMQP_URL`: several nodes, percent-encoding, IPv6 addresses in brackets.
//!
//! The form is `amqp://user:password@a:5672,b:5672/vhost`, or several whole addresses, comma-separated, which may differ in the
//! node only. No path and the path `/` both mean the virtual host `/`; the clients of Erlang and Java read `/` as the virtual
//! host "". An error text never repeats a part of `AMQP_URL`: where a `/` in the password is not encoded, each part of the
//! address may hold the password.

use std::time::Duration;

use super::forms::{self, Parsed};
use crate::broker::Address;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The parsed address. It has no `Debug`, because it holds the password.
pub(super) struct AmqpUrl {
    pub(super) addresses: Vec<Address>,
    pub(super) target: Target,
}

impl AmqpUrl {
    /// The address with `***` in place of the password.
    pub(super) fn redacted(&self) -> String {
        let Target { tls, login, vhost, heartbeat, connection_timeout } = &self.target;
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let login = login.as_ref().map(|(user, _)| format!("{}:***@", encoded(user)));
        let parameters = [
            heartbeat.map(|seconds| format!("heartbeat={seconds}")),
            connection_timeout.map(|timeout| format!("connection_timeout={}", timeout.as_millis())),
        ];
        let parameters = parameters.into_iter().flatten().collect::<Vec<_>>().join("&");
        format!(
            "{}://{}{}/{}{}{parameters}",
            if *tls { "amqps" } else { "amqp" },
            login.unwrap_or_default(),
            self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            encoded(vhost),
            if parameters.is_empty() { "" } else { "?" },
        )
    }
}

/// The address without the nodes.
#[derive(PartialEq)]
pub(super) struct Target {
    pub(super) tls: bool,
    /// User and password.
    pub(super) login: Option<(String, String)>,
    pub(super) vhost: String,
    pub(super) heartbeat: Option<u16>,
    pub(super) connection_timeout: Option<Duration>,
}

/// The characters that are percent-encoded in user and vhost.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Parameters of other clients. The gateway refuses them by name.
const FOREIGN_PARAMETERS: [&str; 12] = [
    "auth_mechanism",
    "blocked_connection_timeout",
    "cacertfile",
    "certfile",
    "channel_max",
    "connection_attempts",
    "frame_max",
    "keyfile",
    "locale",
    "retry_delay",
    "server_name_indication",
    "verify",
];

/// Parses the whole setting.
pub(super) fn parse(text: &str) -> Parsed<AmqpUrl> {
    forms::no_line_break(text)?;
    let mut urls = split(text).into_iter().map(one);
    let mut first = urls.next().unwrap_or_else(forms::nothing)?;
    for (at, url) in urls.enumerate() {
        let url = url.map_err(|why| format!("address {}: {why}", at + 2))?;
        if url.target != first.target {
            return Err("the addresses must agree in scheme, user, password, vhost and parameters".to_owned());
        }
        first.addresses.extend(url.addresses);
    }
    Ok(first)
}

/// Cuts the text at each comma that a scheme follows, with or without spaces between them.
fn split(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut start = 0;
    for (comma, _) in text.match_indices(',') {
        let next = text[comma + 1..].trim_start();
        if scheme(next).is_some() {
            urls.push(&text[start..comma]);
            start = text.len() - next.len();
        }
    }
    urls.push(&text[start..]);
    urls
}

/// Whether the scheme asks for TLS, and the text after the scheme.
fn scheme(text: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "amqp" => Some((false, rest)),
        "amqps" => Some((true, rest)),
        _ => None,
    }
}

fn one(text: &str) -> Parsed<AmqpUrl> {
    let (tls, rest) = scheme(text).ok_or("must begin with amqp:// or amqps://")?;
    if rest.contains('#') {
        return Err("write # as %23".to_owned());
    }
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.contains(['/', '@', ',']) {
        return Err("write / as %2F, @ as %40 and a comma as %2C in user, password and vhost".to_owned());
    }
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(self::login(login)?), hosts),
        None => (None, authority),
    };
    let port = if tls { 5671 } else { 5672 };
    let addresses = hosts.split(',').map(|host| address(host, port)).collect::<Parsed<_>>()?;
    let vhost = forms::vhost(&decoded(path)?).map_err(|why| format!("the vhost {why}"))?;
    let vhost = if vhost.is_empty() { "/".to_owned() } else { vhost };
    let mut target = Target { tls, login, vhost, heartbeat: None, connection_timeout: None };
    query.split('&').filter(|pair| !pair.is_empty()).try_for_each(|pair| parameter(pair, &mut target))?;
    Ok(AmqpUrl { addresses, target })
}

fn login(text: &str) -> Parsed<(String, String)> {
    if text.contains('@') {
        return Err("write @ as %40 in user and password".to_owned());
    }
    let (user, password) = text.split_once(':').ok_or("the user has no password: write user:password@")?;
    let [user, password] = [user, password].map(|it| decoded(it).and_then(|it| forms::credential(&it)));
    match user? {
        user if user.is_empty() => Err("the user's name is empty".to_owned()),
        user => Ok((user, password?)),
    }
}

fn address(text: &str, default_port: u16) -> Parsed<Address> {
    let end_of_host = text.find(']').map_or_else(|| text.find(':').unwrap_or(text.len()), |at| at + 1);
    let (host, port) = text.split_at(end_of_host);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => Ok(default_port),
        Some(port) if port.contains(':') => return Err("write an IPv6 address in brackets".to_owned()),
        Some(port) if !port.contains('/') => forms::port(port),
        _ => forms::nothing(),
    };
    let host = forms::host(host).map_err(|_| "a host is missing or is neither a name nor an IP address")?;
    Ok(Address { host, port: port.map_err(|_| "a port is not a number from 1 to 65535")? })
}

fn parameter(pair: &str, target: &mut Target) -> Parsed<()> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let number = forms::whole_number(value);
    let given_twice = match name {
        "heartbeat" => {
            let seconds = number
                .and_then(|it| u16::try_from(it).ok())
                .ok_or("heartbeat must be whole seconds from 0 to 65535")?;
            target.heartbeat.replace(seconds).is_some()
        }
        "connection_timeout" => {
            let timeout = number.and_then(|it| forms::positive_duration(&format!("{it}ms")).ok());
            let timeout =
                timeout.ok_or("connection_timeout must be whole milliseconds, above 0 and at most a day")?;
            target.connection_timeout.replace(timeout).is_some()
        }
        _ if FOREIGN_PARAMETERS.contains(&name) => {
            return Err(format!("the gateway does not know the parameter {name}"));
        }
        _ => {
            return Err("the only parameters are heartbeat and connection_timeout; write ? as %3F".to_owned());
        }
    };
    if given_twice { Err(format!("{name} is given twice")) } else { Ok(()) }
}

/// Decodes percent-encoding. Refuses a `%` without two hexadecimal digits after it.
fn decoded(text: &str) -> Parsed<String> {
    let is_encoded =
        |tail: &str| tail.len() >= 2 && tail.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if text.split('%').skip(1).any(|tail| !is_encoded(tail)) {
        return Err("a % is not followed by two hexadecimal digits: write % as %25".to_owned());
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| "percent-encoded bytes must be UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
