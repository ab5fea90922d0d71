//! The rules of the whole configuration, from a look-up in memory.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::broker::Login;

fn read(values: &[(&str, &str)]) -> Result<Config, Mistakes> {
    Config::from_lookup(|name| {
        values.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
    })
}

fn good(values: &[(&str, &str)]) -> Config {
    read(values).unwrap_or_else(|mistakes| panic!("{values:?}: {mistakes}"))
}

fn bad(values: &[(&str, &str)]) -> String {
    read(values).err().unwrap_or_default().to_string()
}

const CERTIFICATE: [(&str, &str); 2] = [("RABBITMQ_SSL_CLIENT_CERT", "c"), ("RABBITMQ_SSL_CLIENT_KEY", "k")];

#[test]
fn the_defaults_are_those_of_the_table() {
    let config = good(&[]);
    assert_eq!(config.broker.addresses[0].host, "localhost");
    assert_eq!(config.broker.addresses[0].port, 5672);
    assert_eq!(config.broker.vhost, "/");
    assert_eq!((config.broker.publish.pool_size, config.broker.publish.connections), (2, 2));
    assert_eq!(config.broker.heartbeat, 10);
    assert_eq!(config.broker.blocked_timeout, None);
    assert!(config.broker.tls.is_none());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.limits.max_body_bytes, 8 << 20);
    assert_eq!(config.http.limits.max_header_bytes, 32 << 10);
    assert_eq!(config.http.limits.publish.max, Duration::from_mins(1));
    assert!(config.http.access.allowed_origins.is_empty() && config.http.health_queues.is_empty());
    assert_eq!(
        (config.drain_delay, config.shutdown_timeout),
        (Duration::from_secs(3), Duration::from_secs(25))
    );
}

#[test]
fn a_pull_waits_no_longer_by_default_than_it_may() {
    assert_eq!(good(&[]).http.limits.pull.default_wait, Duration::from_secs(20));
    let wait = [("GATEWAY_PULL_WAIT_MAX", "5s")];
    assert_eq!(good(&wait).http.limits.pull.default_wait, Duration::from_secs(5));
}

#[test]
fn messages_have_the_name_of_a_principal_only_where_there_are_principals() {
    assert!(!good(&[]).http.stamp_principal);
    let stamp = ("GATEWAY_STAMP_PRINCIPAL", "true");
    assert!(bad(&[stamp]).contains("GATEWAY_STAMP_PRINCIPAL and GATEWAY_PRINCIPALS: the first needs a file"));
    assert!(good(&[stamp, ("GATEWAY_PRINCIPALS", "[principals.shop]")]).http.stamp_principal);
}

#[test]
fn a_listener_needs_no_authentication_on_loopback_only() {
    for (listen, is_good) in [
        ("127.0.0.1:0", true),
        ("[::1]:0", true),
        ("[::ffff:127.0.0.1]:0", true),
        ("[::ffff:10.0.0.1]:0", false),
        ("[::]:0", false),
    ] {
        let text = bad(&[("GATEWAY_LISTEN", listen)]);
        assert_eq!(text.is_empty(), is_good, "{listen}: {text}");
    }
}

#[test]
fn all_mistakes_are_reported_together_with_setting_form_and_value() {
    let text = bad(&[("RABBITMQ_HOST", "a b"), ("RABBITMQ_HEARTBEAT", "soon"), ("GATEWAY_LISTEN", "8080")]);
    assert_eq!(
        text,
        "RABBITMQ_HOST: wants host name or IP address, got \"a b\"\n\
         RABBITMQ_HEARTBEAT: wants whole seconds from 0 to 65535, got \"soon\"\n\
         GATEWAY_LISTEN: wants IP address and port, got \"8080\"\n"
    );
}

#[test]
fn every_setting_of_the_table_is_read() {
    for setting in table::SETTINGS {
        let was_asked = std::cell::Cell::new(false);
        let _ = Config::from_lookup(|name| {
            was_asked.set(was_asked.get() || name == setting.name);
            None
        });
        let is_for_sources = setting.name == table::CONFIG_FILE || setting.name.ends_with(table::FILE_SUFFIX);
        assert_eq!(was_asked.get(), !is_for_sources, "{}", setting.name);
    }
}

#[test]
fn an_empty_value_counts_as_unset() {
    assert_eq!(good(&[("RABBITMQ_HOST", ""), ("AMQP_URL", "")]).broker.addresses[0].host, "localhost");
}

#[test]
fn tls_moves_the_port_unless_one_is_given() {
    let port = |values: &[(&str, &str)]| good(values).broker.addresses[0].port;
    let tls = ("RABBITMQ_SSL_ENABLED", "true");
    assert_eq!(port(&[tls]), 5671);
    assert_eq!(port(&[tls, ("RABBITMQ_PORT", "7")]), 7);
    assert_eq!(port(&[("RABBITMQ_PORT", "tcp://10.0.0.1:5673")]), 5673);
}

#[test]
fn an_address_beside_a_setting_that_it_contains_is_refused_and_both_are_named() {
    for name in broker::SAID_BY_URL {
        let value = if name == "RABBITMQ_PORT" { "1" } else { "true" };
        let text = bad(&[("AMQP_URL", "amqp://h"), (name, value)]);
        assert_eq!(text, format!("AMQP_URL and {name}: are mutually exclusive: give one of them\n"));
    }
    let url = ("AMQP_URL", "amqp://h?heartbeat=1&connection_timeout=5");
    for name in ["RABBITMQ_HEARTBEAT", "RABBITMQ_CONNECTION_TIMEOUT"] {
        assert!(bad(&[url, (name, "3s")]).starts_with(&format!("AMQP_URL and {name}: ")));
    }
}

#[test]
fn a_variable_that_kubernetes_sets_does_not_contradict_an_address() {
    assert_eq!(
        good(&[("AMQP_URL", "amqp://h:1"), ("RABBITMQ_PORT", "tcp://10.0.0.1:5672")]).broker.addresses[0]
            .port,
        1
    );
}

#[test]
fn an_address_sets_all_its_parts() {
    let config = good(&[("AMQP_URL", "amqps://u:p@a,b:1/v?heartbeat=0&connection_timeout=1500")]).broker;
    assert_eq!(config.addresses.iter().map(|it| it.port).collect::<Vec<_>>(), [5671, 1]);
    assert_eq!((config.vhost.as_str(), config.heartbeat), ("v", 0));
    assert_eq!(config.connection_timeout, Duration::from_millis(1_500));
    assert!(config.tls.is_some());
}

#[test]
fn a_client_certificate_is_the_login_unless_a_user_is_given() {
    let is_external = |more: &[(&str, &str)]| {
        let values = [&CERTIFICATE[..], more].concat();
        matches!(good(&values).broker.login, Login::External)
    };
    let tls = ("RABBITMQ_SSL_ENABLED", "true");
    assert!(is_external(&[tls]));
    assert!(is_external(&[("AMQP_URL", "amqps://h")]));
    assert!(!is_external(&[tls, ("RABBITMQ_USER", "u")]));
    assert!(!is_external(&[tls, ("RABBITMQ_PASSWORD", "p")]));
    assert!(!is_external(&[("AMQP_URL", "amqps://u:p@h")]));
}

#[test]
fn an_address_in_the_place_of_a_virtual_host_is_refused_without_its_password() {
    let text = bad(&[("RABBITMQ_VHOST", "amqp://u:hunter2@h/v")]);
    assert!(text.contains("set an address as AMQP_URL") && !text.contains("hunter2"), "{text}");
}

#[test]
fn the_error_about_contradicting_settings_names_both() {
    let tls = ("RABBITMQ_SSL_ENABLED", "true");
    for (values, words) in [
        (&[tls, CERTIFICATE[0]][..], "RABBITMQ_SSL_CLIENT_CERT and RABBITMQ_SSL_CLIENT_KEY: "),
        (&[tls, CERTIFICATE[1]], "RABBITMQ_SSL_CLIENT_CERT and RABBITMQ_SSL_CLIENT_KEY: "),
        (&[("RABBITMQ_SSL_CA_CERT", "ca")], "RABBITMQ_SSL_CA_CERT: needs TLS"),
        (&[("RABBITMQ_POOL_SIZE", "4095")], "RABBITMQ_POOL_SIZE and RABBITMQ_PUBLISH_CONNECTIONS: "),
        (&[("GATEWAY_MAX_BODY_BYTES", "129MiB")], "GATEWAY_MAX_BODY_BYTES and GATEWAY_MAX_BYTES_IN_FLIGHT: "),
        (&[("GATEWAY_PUBLISH_TIMEOUT", "61s")], "GATEWAY_PUBLISH_TIMEOUT and GATEWAY_PUBLISH_TIMEOUT_MAX: "),
        (&[("RABBITMQ_PREFETCH_COUNT", "251")], "RABBITMQ_PREFETCH_COUNT and GATEWAY_PULL_MAX: "),
        (&[("GATEWAY_LEASE", "26m")], "GATEWAY_LEASE and GATEWAY_LEASE_MAX: "),
        (&[("GATEWAY_MAX_LEASES", "249")], "GATEWAY_PULL_MAX and GATEWAY_MAX_LEASES: "),
        (
            &[("GATEWAY_TOPOLOGY_TIMEOUT_MAX", "9")],
            "GATEWAY_TOPOLOGY_TIMEOUT and GATEWAY_TOPOLOGY_TIMEOUT_MAX: ",
        ),
    ] {
        let text = bad(values);
        assert!(text.starts_with(words) && text.lines().count() == 1, "{values:?}: {text}");
    }
}

#[test]
fn a_wrong_value_is_reported_once_and_not_also_as_a_contradiction() {
    let text = bad(&[("GATEWAY_PUBLISH_TIMEOUT", "soon"), ("GATEWAY_PUBLISH_TIMEOUT_MAX", "5s")]);
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn bounds_that_protect_the_process_are_kept() {
    for (name, value) in [
        ("GATEWAY_MAX_HEADER_BYTES", "4KiB"),
        ("GATEWAY_MAX_AMQP_HEADER_BYTES", "65KiB"),
        ("GATEWAY_MAX_AMQP_HEADER_DEPTH", "33"),
        ("GATEWAY_MAX_CONNECTIONS", "0"),
        ("GATEWAY_HEADER_TIMEOUT", "0"),
        ("GATEWAY_LOG", "a=b=c"),
        ("GATEWAY_LOG_FORMAT", "xml"),
        ("GATEWAY_SETTLE_TIMEOUT", "61s"),
        ("GATEWAY_PULL_MAX", "65536"),
        ("GATEWAY_MAX_LEASE_QUEUES", "2001"),
    ] {
        assert!(bad(&[(name, value)]).starts_with(&format!("{name}: wants ")), "{name}");
    }
}

proptest! {
    #[test]
    fn no_password_is_ever_printed(
        password in "QZX[A-Z0-9:/@?#%,&= \n]{0,6}", vhost in "[a-z/%]{0,3}", host in "[a-z:,]{0,4}"
    ) {
        let url = format!("amqp://user:{password}@{host}/{vhost}");
        for values in [
            vec![("AMQP_URL", url.as_str())],
            vec![("AMQP_URL", &password)],
            vec![("AMQP_URL", &url), ("RABBITMQ_PASSWORD", &password)],
            vec![("RABBITMQ_HOST", &url), ("RABBITMQ_PASSWORD", &password)],
            vec![("RABBITMQ_PASSWORD", &password)],
        ] {
            let printed = match read(&values) {
                Ok(config) => format!("{config:?} {config:#?}"),
                Err(mistakes) => format!("{mistakes} {mistakes:?}"),
            };
            prop_assert!(!printed.contains("QZX"), "{}", printed);
        }
    }
}
