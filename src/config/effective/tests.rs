//! The value of each setting, and the text about its source.

use std::ffi::OsString;
use std::fs;

use proptest::prelude::*;

use super::super::sources::load;
use super::*;
use crate::config::broker::SAID_BY_URL;

/// The lines, without the spaces that align the columns.
fn shown(flags: &[(&str, &str)], environment: &[(&str, &str)]) -> Vec<String> {
    let flag = |name: &str| flags.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let (config, given) = load(flag, environment.collect()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let lines = given.effective(&config);
    lines.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn assert_shown(lines: &[String], expected: &[&str]) {
    for line in expected {
        assert!(lines.iter().any(|it| it == line), "{line} in:\n{}", lines.join("\n"));
    }
}

#[test]
fn every_setting_has_a_line_with_its_default() {
    let lines = shown(&[], &[]);
    assert_eq!(lines.len(), SETTINGS.len());
    assert_shown(
        &lines,
        &[
            "AMQP_URL none (default)",
            "RABBITMQ_HOST \"localhost\" (default)",
            "RABBITMQ_PORT \"5672\" (default)",
            "RABBITMQ_PASSWORD \"***\" (default)",
            "RABBITMQ_SSL_CA_CERT the system's (default)",
        ],
    );
}

#[test]
fn each_value_says_where_it_comes_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file is written");
        path.to_str().expect("a plain path").to_owned()
    };
    let (toml, secret) = (file("gateway.toml", "[rabbitmq]\nvhost = 'v'\n"), file("secret", "hunter2"));
    let lines = shown(
        &[("GATEWAY_DRAIN_DELAY", "7s")],
        &[
            ("GATEWAY_CONFIG", &toml),
            ("RABBITMQ_PASSWORD_FILE", &secret),
            ("RABBITMQ_PORT", "tcp://10.0.0.1:5673"),
            ("RABBITMQ_SSL_ENABLED", "yes"),
        ],
    );
    assert_shown(
        &lines,
        &[
            "GATEWAY_DRAIN_DELAY \"7s\" (command line, --gateway-drain-delay)",
            &format!("RABBITMQ_VHOST \"v\" (file {toml:?}, rabbitmq.vhost)"),
            &format!("RABBITMQ_PASSWORD \"***\" (file {secret:?}, named by RABBITMQ_PASSWORD_FILE)"),
            "RABBITMQ_PORT \"5673\" (environment variable RABBITMQ_PORT)",
            "RABBITMQ_SSL_ENABLED \"yes\" (environment variable RABBITMQ_SSL_ENABLED)",
        ],
    );
}

#[test]
fn an_address_is_shown_without_its_password_beside_all_that_it_sets() {
    let url = "amqps://app:hunter2@a,b:1/v?heartbeat=7&connection_timeout=1500";
    let lines = shown(&[], &[("AMQP_URL", url)]);
    assert_shown(
        &lines,
        &[
            "AMQP_URL \"amqps://app:***@a:5671,b:1/v?heartbeat=7&connection_timeout=1500\" (environment variable AMQP_URL)",
            "RABBITMQ_HOST \"a,b\" (AMQP_URL)",
            "RABBITMQ_PORT \"5671,1\" (AMQP_URL)",
            "RABBITMQ_USER \"app\" (AMQP_URL)",
            "RABBITMQ_PASSWORD \"***\" (AMQP_URL)",
            "RABBITMQ_VHOST \"v\" (AMQP_URL)",
            "RABBITMQ_SSL_ENABLED \"true\" (AMQP_URL)",
            "RABBITMQ_HEARTBEAT \"7s\" (AMQP_URL, parameter heartbeat)",
            "RABBITMQ_CONNECTION_TIMEOUT \"1.5s\" (AMQP_URL, parameter connection_timeout)",
        ],
    );
    for name in SAID_BY_URL {
        assert!(lines.iter().any(|line| line.starts_with(name) && line.ends_with("(AMQP_URL)")), "{name}");
    }
    assert!(!lines.join("").contains("hunter2"));
}

proptest! {
    #[test]
    fn no_password_is_shown(password in "QZX[A-Z0-9:!$()*+;=.~_-]{0,6}") {
        let url = format!("amqp://user:{password}@host/vhost");
        for variable in [("AMQP_URL", url.as_str()), ("RABBITMQ_PASSWORD", &password)] {
            let lines = shown(&[], &[variable]);
            prop_assert!(!lines.join("").contains("QZX"), "{:?}", lines);
        }
    }
}

#[test]
fn a_part_that_an_address_does_not_name_has_its_default() {
    let lines = shown(&[], &[("AMQP_URL", "amqp://h")]);
    assert_shown(&lines, &["RABBITMQ_USER \"guest\" (default)", "RABBITMQ_HEARTBEAT \"10s\" (default)"]);
}

#[test]
fn a_client_certificate_takes_the_place_of_user_and_password() {
    let certificate = [("RABBITMQ_SSL_CLIENT_CERT", "c"), ("RABBITMQ_SSL_CLIENT_KEY", "k")];
    let lines = shown(&[], &[&certificate[..], &[("AMQP_URL", "amqps://h")]].concat());
    assert_shown(
        &lines,
        &[
            "RABBITMQ_USER none (the client certificate is the login)",
            "RABBITMQ_PASSWORD none (the client certificate is the login)",
        ],
    );
}
