//! The settings of the broker side: `AMQP_URL` or `RABBITMQ_*`, TLS and login.

use secrecy::SecretString;

use super::amqp_url::{self, Target};
use super::forms;
use super::reader::Reader;
use super::warning::Warning;
use crate::broker::{Address, ClientCertificate, ConsumeSettings, Login, PublishSettings, Settings, Tls};

const URL: &str = "AMQP_URL";
const CHANNELS_A_CONNECTION: usize = 2_047;
/// A larger window makes publishing no faster, and RabbitMQ may close a channel over one message of all those in flight on it.
const MAX_WINDOW: usize = 100_000;

/// The settings that `AMQP_URL` sets too: the gateway refuses one of these beside `AMQP_URL`.
pub(super) const SAID_BY_URL: [&str; 6] = [
    "RABBITMQ_HOST",
    "RABBITMQ_PORT",
    "RABBITMQ_USER",
    "RABBITMQ_PASSWORD",
    "RABBITMQ_VHOST",
    "RABBITMQ_SSL_ENABLED",
];

pub(super) fn read(from: &mut Reader<'_>, max_header_bytes: usize, consume: ConsumeSettings) -> Settings {
    let (addresses, target) = place(from);
    let tls = tls(from, target.tls);
    let has_certificate = tls.as_ref().is_some_and(|tls| tls.client.is_some());
    let settings = Settings {
        addresses,
        vhost: target.vhost,
        login: login(from, target.login, has_certificate),
        tls,
        heartbeat: once(from, "RABBITMQ_HEARTBEAT", target.heartbeat, forms::whole_seconds),
        connection_timeout: once(
            from,
            "RABBITMQ_CONNECTION_TIMEOUT",
            target.connection_timeout,
            forms::positive_duration,
        ),
        retry_delay: from.read("RABBITMQ_RETRY_DELAY", forms::positive_duration),
        refused_delay: from.read("RABBITMQ_REFUSED_DELAY", forms::positive_duration),
        blocked_timeout: from.read("RABBITMQ_BLOCKED_TIMEOUT", forms::duration_or_off),
        publish: publish(from, max_header_bytes),
        consume,
        topology_connections: from.read("RABBITMQ_TOPOLOGY_CONNECTIONS", forms::count(256)),
        max_pending_replies: from.read("GATEWAY_MAX_PENDING_REPLIES", forms::count(1_000_000)),
        topology_file: None,
    };
    from.refuse_if(
        settings.publish.pool_size > settings.publish.connections * CHANNELS_A_CONNECTION,
        ["RABBITMQ_POOL_SIZE", "RABBITMQ_PUBLISH_CONNECTIONS"],
        "a connection has at most 2047 channels",
    );
    settings
}

fn publish(from: &mut Reader<'_>, max_header_bytes: usize) -> PublishSettings {
    PublishSettings {
        connections: from.read("RABBITMQ_PUBLISH_CONNECTIONS", forms::count(256)),
        pool_size: from.read("RABBITMQ_POOL_SIZE", forms::count(1_000_000)),
        channel_window: from
            .read("RABBITMQ_CHANNEL_WINDOW", forms::count(MAX_WINDOW))
            .try_into()
            .unwrap_or(u32::MAX),
        channel_window_bytes: from.read("RABBITMQ_CHANNEL_WINDOW_BYTES", forms::size),
        max_header_bytes,
        isolated_connections: from.read("RABBITMQ_ISOLATED_CONNECTIONS", forms::count(256)),
        isolated_channels: from.read("RABBITMQ_ISOLATED_CHANNELS", forms::count(CHANNELS_A_CONNECTION)),
        slow_connections: from.read("RABBITMQ_SLOW_CONNECTIONS", forms::count_or_none(256)),
        slow_after: from.read("RABBITMQ_SLOW_AFTER", forms::positive_duration),
        slow_window: from
            .read("RABBITMQ_SLOW_WINDOW", forms::count(MAX_WINDOW))
            .try_into()
            .unwrap_or(u32::MAX),
    }
}

/// Warns of settings that are given and have no effect any more. A malformed value of them is a mistake nevertheless.
pub(super) fn without_effect(from: &mut Reader<'_>) -> Vec<Warning> {
    const NAME: &str = "RABBITMQ_CONNECTION_ATTEMPTS";
    let text = "this setting has no effect any more and can be removed";
    let is_set = from.read_optional(NAME, forms::count(1_000_000)).is_some();
    is_set.then(|| Warning { name: NAME.to_owned(), text: text.to_owned() }).into_iter().collect()
}

/// Nodes and target, from `AMQP_URL` or from `RABBITMQ_*`.
fn place(from: &mut Reader<'_>) -> (Vec<Address>, Target) {
    if !from.is_given(URL) {
        return place_by_names(from);
    }
    let url = from.read_optional(URL, amqp_url::parse);
    for name in SAID_BY_URL {
        if from.given(name).is_some_and(|value| !is_set_by_kubernetes(name, &value)) {
            from.mistakes.conflict(&[URL, name], "are mutually exclusive: give one of them");
        }
    }
    let nowhere =
        Target { tls: true, login: None, vhost: String::new(), heartbeat: None, connection_timeout: None };
    url.map_or((Vec::new(), nowhere), |url| (url.addresses, url.target))
}

fn place_by_names(from: &mut Reader<'_>) -> (Vec<Address>, Target) {
    let tls = from.read("RABBITMQ_SSL_ENABLED", forms::switch);
    let host = from.read("RABBITMQ_HOST", forms::host);
    let port = from.read_optional("RABBITMQ_PORT", forms::port).unwrap_or(if tls { 5671 } else { 5672 });
    let vhost = from.read("RABBITMQ_VHOST", forms::plain_vhost);
    let user = from.read("RABBITMQ_USER", forms::plain_credential);
    let password = from.read("RABBITMQ_PASSWORD", forms::plain_credential);
    let login =
        (from.is_given("RABBITMQ_USER") || from.is_given("RABBITMQ_PASSWORD")).then_some((user, password));
    let target = Target { tls, login, vhost, heartbeat: None, connection_timeout: None };
    (vec![Address { host, port }], target)
}

/// Kubernetes sets `RABBITMQ_PORT=tcp://…` in every pod beside a Service called rabbitmq. Such a value does not contradict
/// `AMQP_URL`.
fn is_set_by_kubernetes(name: &str, value: &str) -> bool {
    name == "RABBITMQ_PORT" && value.starts_with("tcp://")
}

fn tls(from: &mut Reader<'_>, enabled: bool) -> Option<Tls> {
    const CERTIFICATE: &str = "RABBITMQ_SSL_CLIENT_CERT";
    const KEY: &str = "RABBITMQ_SSL_CLIENT_KEY";
    let ca_cert = from.read_optional("RABBITMQ_SSL_CA_CERT", forms::path);
    let client = match (from.read_optional(CERTIFICATE, forms::path), from.read_optional(KEY, forms::path)) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        _ => {
            from.mistakes.conflict(&[CERTIFICATE, KEY], "need each other: give both or neither");
            None
        }
    };
    for name in ["RABBITMQ_SSL_CA_CERT", CERTIFICATE, KEY] {
        let is_idle = !enabled && from.is_given(name) && !from.mistakes.concern("RABBITMQ_SSL_ENABLED");
        if is_idle {
            from.mistakes
                .about(name, "needs TLS: set RABBITMQ_SSL_ENABLED=true or write amqps:// in AMQP_URL");
        }
    }
    enabled.then_some(Tls { ca_cert, client })
}

/// The login: the user that the settings name, with the password; else the client certificate; else the default user.
fn login(from: &mut Reader<'_>, named: Option<(String, String)>, has_certificate: bool) -> Login {
    let (user, password) = match named {
        Some(named) => named,
        None if has_certificate => return Login::External,
        None => <(String, String)>::from(
            ["RABBITMQ_USER", "RABBITMQ_PASSWORD"].map(|name| from.read(name, forms::plain_credential)),
        ),
    };
    Login::Plain { user, password: SecretString::from(password) }
}

/// A setting that may also be a parameter of `AMQP_URL`. Refuses both together.
fn once<T>(
    from: &mut Reader<'_>,
    name: &'static str,
    in_url: Option<T>,
    form: fn(&str) -> forms::Parsed<T>,
) -> T {
    let value = from.read(name, form);
    if in_url.is_some() && from.is_given(name) {
        from.mistakes.conflict(&[URL, name], "are mutually exclusive: give one of them");
    }
    in_url.unwrap_or(value)
}
