//! The effective settings: the value and the source of each. `check-config` prints them.
//!
//! Shows a secret as `***`. Writes `AMQP_URL` from its parsed parts, without the password.

use super::Config;
use super::amqp_url::{self, AmqpUrl};
use super::mistakes::quoted;
use super::sources::{Given, Source};
use super::table::{CONFIG_FILE, Fallback, SETTINGS, Setting};
use crate::broker::{Address, Login};

const URL: &str = "AMQP_URL";
const DEFAULT: &str = "default";

/// The text of a value, and its source.
type Shown = (String, String);

impl Given {
    /// Every setting with its value and its source, one on each line. `config` is the result of reading these values.
    #[must_use]
    pub fn effective(&self, config: &Config) -> String {
        let url = self.get(URL).and_then(|(text, _)| amqp_url::parse(text).ok());
        let effective = Effective { given: self, config, url };
        let width = SETTINGS.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
        let line = |setting| {
            let (value, origin) = effective.shown(setting);
            format!("{:width$}  {value}  ({origin})\n", setting.name)
        };
        SETTINGS.iter().map(line).collect()
    }
}

struct Effective<'a> {
    given: &'a Given,
    config: &'a Config,
    url: Option<AmqpUrl>,
}

impl Effective<'_> {
    fn shown(&self, setting: &Setting) -> Shown {
        let by_url = self.url.as_ref().and_then(|url| self.by_url(setting.name, url));
        by_url.or_else(|| self.by_other(setting.name)).unwrap_or_else(|| self.by_itself(setting))
    }

    /// A setting that is a part or a parameter of `AMQP_URL`.
    fn by_url(&self, name: &str, url: &AmqpUrl) -> Option<Shown> {
        let broker = &self.config.broker;
        let login = url.target.login.as_ref();
        let joined =
            |part: fn(&Address) -> String| broker.addresses.iter().map(part).collect::<Vec<_>>().join(",");
        let parameter = |value: String, name| (format!("{value:?}"), format!("{URL}, parameter {name}"));
        let part = match name {
            URL => return Some((format!("{:?}", url.redacted()), self.origin(URL)?)),
            "RABBITMQ_HEARTBEAT" => {
                return url.target.heartbeat.map(|seconds| parameter(format!("{seconds}s"), "heartbeat"));
            }
            "RABBITMQ_CONNECTION_TIMEOUT" => {
                let timeout = url.target.connection_timeout?;
                return Some(parameter(format!("{timeout:?}"), "connection_timeout"));
            }
            "RABBITMQ_HOST" => joined(|address| address.host.clone()),
            "RABBITMQ_PORT" => joined(|address| address.port.to_string()),
            "RABBITMQ_USER" => login?.0.clone(),
            "RABBITMQ_PASSWORD" => login.map(|_| "***".to_owned())?,
            "RABBITMQ_VHOST" => broker.vhost.clone(),
            "RABBITMQ_SSL_ENABLED" => broker.tls.is_some().to_string(),
            _ => return None,
        };
        Some((format!("{part:?}"), URL.to_owned()))
    }

    /// A setting whose value depends on another setting, or on the machine.
    fn by_other(&self, name: &str) -> Option<Shown> {
        let is_given = self.given.get(name).is_some();
        match name {
            "RABBITMQ_USER" | "RABBITMQ_PASSWORD" if matches!(self.config.broker.login, Login::External) => {
                Some(("none".to_owned(), "the client certificate is the login".to_owned()))
            }
            "RABBITMQ_PORT" => {
                let port = self.config.broker.addresses.first()?.port;
                let default = if self.config.broker.tls.is_some() { "default with TLS" } else { DEFAULT };
                Some((format!("\"{port}\""), self.origin(name).unwrap_or_else(|| default.to_owned())))
            }
            "GATEWAY_WORKER_THREADS" if !is_given => {
                Some((format!("\"{}\"", self.config.worker_threads), format!("{DEFAULT}, half of the cores")))
            }
            _ => None,
        }
    }

    fn by_itself(&self, setting: &Setting) -> Shown {
        let given = self.given.get(setting.name).map(|(value, _)| value);
        let value = match (given, setting.default) {
            (None, Fallback::Unset(words)) => words.to_owned(),
            (Some(_), _) | (None, Fallback::Value(_)) if setting.secret => "\"***\"".to_owned(),
            (Some(value), _) if value.contains("://") => quoted(value),
            (Some(value), _) | (None, Fallback::Value(value)) => format!("{value:?}"),
        };
        (value, self.origin(setting.name).unwrap_or_else(|| DEFAULT.to_owned()))
    }

    /// The source of the given value.
    fn origin(&self, name: &str) -> Option<String> {
        let setting = Setting::named(name)?;
        let path = |of: &str| self.given.get(of).map_or_else(String::new, |(path, _)| quoted(path));
        Some(match self.given.get(name)?.1 {
            Source::Flag => format!("command line, --{}", setting.flag().unwrap_or_default()),
            Source::Environment => format!("environment variable {name}"),
            Source::File => {
                let (section, key) = setting.key();
                format!("file {}, {section}.{key}", path(CONFIG_FILE))
            }
            Source::SecretFile(variant) => format!("file {}, named by {variant}", path(variant)),
        })
    }
}

#[cfg(test)]
mod tests;
