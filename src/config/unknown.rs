//! Warns of variables that look like settings and are not: a misspelt setting has no effect.
//!
//! Does not warn of two kinds of variables: those that Kubernetes sets about each Service, such as `RABBITMQ_PORT` and
//! `GATEWAY_SERVICE_HOST`, and those that RabbitMQ's server reads.

use std::ffi::OsString;

use super::table::{SETTINGS, Setting};
use super::warning::Warning;

/// The beginnings of the names of settings.
const SECTIONS: [&str; 2] = ["GATEWAY_", "RABBITMQ_"];

/// The least similarity, from 0 to 1, at which the gateway suggests one name in place of another.
const ALIKE: f64 = 0.8;

/// Names, without `RABBITMQ_`, that RabbitMQ's server and its scripts read (3.10, `rabbit_env` and `rabbitmq-server`).
const OF_THE_SERVER: [&str; 32] = [
    "ADVANCED_CONFIG_FILE",
    "ALLOW_INPUT",
    "BASE",
    "BOOT_MODULE",
    "CONFIG_FILE",
    "CONFIG_FILES",
    "CONF_ENV_FILE",
    "DATA_DIR",
    "DBG",
    "DISTRIBUTION_BUFFER_SIZE",
    "DIST_PORT",
    "ENABLED_PLUGINS",
    "ENABLED_PLUGINS_FILE",
    "ENV_LOADED",
    "ERLANG_COOKIE",
    "FEATURE_FLAGS",
    "FEATURE_FLAGS_FILE",
    "HOME",
    "KEEP_PID_FILE_ON_EXIT",
    "LOGS",
    "MOTD_FILE",
    "NODENAME",
    "NODE_IP_ADDRESS",
    "NODE_ONLY",
    "NODE_PORT",
    "PGP_KEY_ID",
    "PID_FILE",
    "QUORUM_DIR",
    "STREAM_DIR",
    "UPGRADE_LOG",
    "USE_LONGNAME",
    "VERSION",
];

/// Beginnings of such names.
const FAMILIES_OF_THE_SERVER: [&str; 11] = [
    "CTL_",
    "DEFAULT_",
    "IGNORE_SIGINT",
    "LOG_",
    "MANAGEMENT_",
    "MAX_NUMBER_OF_",
    "MNESIA_",
    "PLUGINS_",
    "PRODUCT_",
    "SCHEDULER_",
    "SERVER_",
];

/// A warning for each variable that looks like a setting and is not, in the order of their names.
pub(super) fn warnings(environment: &[(OsString, OsString)]) -> Vec<Warning> {
    let variables = environment.iter().map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy()));
    let mut warnings: Vec<_> = variables.filter_map(|(name, value)| warning(&name, &value)).collect();
    warnings.sort_by(|a, b| a.name.cmp(&b.name));
    warnings
}

fn warning(name: &str, value: &str) -> Option<Warning> {
    let text = match Setting::formerly(name) {
        Some(setting) => {
            format!("this setting is called {} now; the gateway still reads this name", setting.name)
        }
        None if is_unknown(name, value) => {
            let nearest =
                nearest(name).map_or_else(String::new, |it| format!("; the nearest is {}", it.name));
            format!("no setting has this name, so it has no effect{nearest}")
        }
        None => return None,
    };
    Some(Warning { name: name.to_owned(), text })
}

fn is_unknown(name: &str, value: &str) -> bool {
    SECTIONS.iter().any(|section| name.starts_with(section))
        && Setting::named(name).is_none()
        && !is_of_the_server(name)
        && !is_of_kubernetes(name, value)
}

fn is_of_the_server(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("RABBITMQ_") else { return false };
    OF_THE_SERVER.contains(&rest) || FAMILIES_OF_THE_SERVER.iter().any(|family| rest.starts_with(family))
}

/// Whether Kubernetes sets such a variable about a Service. The name of the Service may have more words than the section.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_part = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| name.contains(&format!("{protocol}_")));
    let of_port = name.contains("_PORT") && (is_address || name.contains("_PORT_") && is_part);
    of_port
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
}

/// The setting with the most similar name, if one is similar enough.
pub(super) fn nearest(name: &str) -> Option<&'static Setting> {
    let (section, rest) = name.split_once('_').unwrap_or(("", name));
    let likeness = |setting: &'static Setting| {
        let (its_section, its_rest) = setting.name.split_once('_').unwrap_or(("", setting.name));
        (strsim::jaro(rest, its_rest), its_section == section, setting)
    };
    let alike = SETTINGS.iter().map(likeness).filter(|(alike, ..)| *alike >= ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map(|(.., setting)| setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> String {
        let environment: Vec<_> =
            variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        warnings(&environment).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_former_name_is_told_with_the_name_of_today() {
        let told = told(&[("RABBITMQ_QUARANTINE_SIZE", "8")]);
        assert!(told.contains("is called RABBITMQ_ISOLATED_CHANNELS now"), "{told}");
    }

    #[test]
    fn a_misspelt_setting_is_told_with_the_nearest_one() {
        for (name, nearest) in [
            ("GATEWAY_LISTN", "GATEWAY_LISTEN"),
            ("GATEWAY_LISTEN_ADDRESS", "GATEWAY_LISTEN"),
            ("RABBITMQ_USERNAME", "RABBITMQ_USER"),
            ("RABBITMQ_PASS", "RABBITMQ_PASSWORD"),
            ("RABBITMQ_HOSTNAME", "RABBITMQ_HOST"),
            ("RABBITMQ_URL", "AMQP_URL"),
            ("RABBITMQ_SSL_CACERTFILE", "RABBITMQ_SSL_CA_CERT"),
            ("GATEWAY_RABBITMQ_HOST", ""),
            ("GATEWAY_X", ""),
        ] {
            let told = told(&[(name, "hunter2")]);
            assert!(told.starts_with(&format!("{name}: no setting has this name")), "{told}");
            let suggested = told.trim_end().split_once("the nearest is ").map_or("", |(_, it)| it);
            assert_eq!(suggested, nearest, "{name}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn settings_of_other_programs_and_of_the_server_cause_no_warning() {
        let told = told(&[
            ("GATEWAY_LISTEN", "127.0.0.1:1"),
            ("AMQP_HOST", "h"),
            ("PATH", "/bin"),
            ("RABBITMQ_NODENAME", "rabbit@h"),
            ("RABBITMQ_DEFAULT_USER", "u"),
            ("RABBITMQ_DEFAULT_PASS_FILE", "f"),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1"),
            ("RABBITMQ_MNESIA_BASE", "/m"),
        ]);
        assert_eq!(told, "");
    }

    #[test]
    fn variables_that_kubernetes_sets_about_services_cause_no_warning() {
        let told = told(&[
            ("RABBITMQ_PORT", "tcp://10.0.0.1:5672"),
            ("RABBITMQ_SERVICE_HOST", "10.0.0.1"),
            ("RABBITMQ_SERVICE_PORT", "5672"),
            ("RABBITMQ_SERVICE_PORT_AMQP", "5672"),
            ("RABBITMQ_PORT_5672_TCP", "tcp://10.0.0.1:5672"),
            ("RABBITMQ_PORT_5672_TCP_ADDR", "10.0.0.1"),
            ("RABBITMQ_PORT_5672_TCP_PROTO", "tcp"),
            ("RABBITMQ_PORT_5672_TCP_PORT", "5672"),
            ("RABBITMQ_NODES_PORT", "tcp://10.0.0.2:5672"),
            ("GATEWAY_HTTP_SERVICE_HOST", "10.0.0.3"),
            ("RABBITMQ_GATEWAY_SERVICE_PORT_HTTP", "8080"),
            ("RABBITMQ_GATEWAY_PORT_8080_TCP_ADDR", "10.0.0.3"),
        ]);
        assert_eq!(told, "");
    }

    #[test]
    fn a_line_break_in_a_name_does_not_forge_a_line() {
        assert_eq!(told(&[("GATEWAY_A\nwarning: B", "")]).lines().count(), 1);
    }
}
