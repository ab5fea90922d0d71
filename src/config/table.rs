//! The one table of settings. Look-up, flags, `--help`, keys of the file, `check-config` and the tables of docs/configuration.md
//! come from it.
//!
//! The first word of a name is its section in the file: `RABBITMQ_HOST` is `host` under `[rabbitmq]` and the flag
//! `--rabbitmq-host`. A secret is never a flag; its `_FILE` variant, a path, may be.

use std::sync::LazyLock;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Name in the environment.
    pub name: &'static str,
    /// Its default.
    pub default: Fallback,
    /// The form of its value, in words.
    pub form: &'static str,
    /// Its meaning, in one sentence without a full stop.
    pub help: &'static str,
    /// Whether it is a secret: the gateway never prints it, and it is never a flag.
    pub secret: bool,
}

/// The default of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This value, read as if it were given.
    Value(&'static str),
    /// No value; the words describe the effect.
    Unset(&'static str),
}

use Fallback::{Unset, Value};

/// The suffix of the variant of a secret that names the file with the secret.
pub const FILE_SUFFIX: &str = "_FILE";

/// The setting that names the configuration file. It is the only setting that the file may not hold.
pub const CONFIG_FILE: &str = "GATEWAY_CONFIG";

/// The setting that names the topology file.
pub const TOPOLOGY_FILE: &str = "GATEWAY_TOPOLOGY";

/// The setting that names the file of principals.
pub const PRINCIPALS_FILE: &str = "GATEWAY_PRINCIPALS";

const SIZE: &str = "size such as 8388608, 512KiB or 8MiB";
const DURATION: &str = "duration such as 500ms, 5s or 1m30s, above 0";
const PAUSE: &str = "duration such as 500ms, 5s or 1m30s, 0 for none";
const COUNT: &str = "whole number from 1 to 1000000";
const PREFETCH: &str = "whole number from 1 to 65535";
const SWITCH: &str = "true or false";
const PATH: &str = "path of a file";
const PEM: &str = "path of a PEM file";

/// Former names of settings, which the gateway still reads, and the names of today.
const FORMER_NAMES: [(&str, &str); 2] = [
    ("RABBITMQ_QUARANTINE_SIZE", "RABBITMQ_ISOLATED_CHANNELS"),
    ("GATEWAY_MAX_WAITING_CALLS", "GATEWAY_MAX_PENDING_REPLIES"),
];

/// Every setting, in the order in which people read them.
#[rustfmt::skip]
pub static SETTINGS: &[Setting] = &[
    secret("AMQP_URL", Unset("none"), "amqp://user:password@host:port,host:port/vhost, or amqps://",
        "Address of RabbitMQ in one line, several nodes comma-separated, instead of RABBITMQ_HOST, _PORT, _USER, _PASSWORD, _VHOST and _SSL_ENABLED"),
    plain("AMQP_URL_FILE", Unset("none"), PATH, "File that holds AMQP_URL"),
    plain("RABBITMQ_HOST", Value("localhost"), "host name or IP address", "Host of RabbitMQ"),
    plain("RABBITMQ_PORT", Unset("5672, with TLS 5671"), "port from 1 to 65535",
        "Port of RabbitMQ; the gateway takes the port of tcp://10.0.0.1:5672, as Kubernetes sets it"),
    plain("RABBITMQ_USER", Value("guest"), "user name", "RabbitMQ user"),
    secret("RABBITMQ_PASSWORD", Value("guest"), "password", "Password of the user"),
    plain("RABBITMQ_PASSWORD_FILE", Unset("none"), PATH, "File that holds RABBITMQ_PASSWORD"),
    plain("RABBITMQ_VHOST", Value("/"), "virtual host of at most 255 bytes", "Virtual host"),
    plain("RABBITMQ_PUBLISH_CONNECTIONS", Value("2"), "whole number from 1 to 256", "Connections used for publishing"),
    plain("RABBITMQ_POOL_SIZE", Value("2"), COUNT,
        "Confirm channels over all publishing connections, at most 2047 a connection"),
    plain("RABBITMQ_CHANNEL_WINDOW", Value("512"), "whole number from 1 to 100000", "Publishes in flight on one confirm channel"),
    plain("RABBITMQ_CHANNEL_WINDOW_BYTES", Value("32MiB"), SIZE,
        "Bytes of bodies in flight on one confirm channel; a body that is larger is sent alone"),
    plain("RABBITMQ_ISOLATED_CHANNELS", Value("16"), "whole number from 1 to 2047",
        "Channels for isolated publishes, over which RabbitMQ may close the channel; one publish in flight on each, and at least one channel on each of their connections"),
    plain("RABBITMQ_ISOLATED_CONNECTIONS", Value("2"), "whole number from 1 to 256", "Connections for isolated publishes"),
    plain("RABBITMQ_SLOW_CONNECTIONS", Value("4"), "whole number from 0 to 256",
        "Connections for slow destinations, one for each, dialled on need; the gateway refuses publishes to further slow destinations as overloaded"),
    plain("RABBITMQ_SLOW_AFTER", Value("1s"), DURATION,
        "A destination is slow when its publishes stay unanswered for this time while RabbitMQ answers others"),
    plain("RABBITMQ_SLOW_WINDOW", Value("32"), "whole number from 1 to 100000", "Publishes in flight to one slow destination"),
    plain("RABBITMQ_TOPOLOGY_CONNECTIONS", Value("4"), "whole number from 1 to 256",
        "Connections, dialled on need, for purges and deletions under conditions, and as many for declarations with arguments that the gateway does not know; when an operation on each takes long, the gateway refuses further ones as overloaded"),
    plain("RABBITMQ_HEARTBEAT", Value("10s"), "whole seconds from 0 to 65535", "AMQP heartbeat; 0 means the heartbeat that RabbitMQ proposes"),
    plain("RABBITMQ_CONNECTION_TIMEOUT", Value("5s"), DURATION,
        "Deadline of one dial: name resolution, TCP, TLS and AMQP handshake together"),
    plain("RABBITMQ_CONNECTION_ATTEMPTS", Unset("none"), COUNT,
        "Has no effect any more: after a failed dial the gateway dials the next address"),
    plain("RABBITMQ_RETRY_DELAY", Value("400ms"), DURATION, "Longest backoff between dials"),
    plain("RABBITMQ_REFUSED_DELAY", Value("5s"), DURATION,
        "Backoff after RabbitMQ refuses a dial or a declaration of the reply queue, for example over a wrong password"),
    plain("RABBITMQ_BLOCKED_TIMEOUT", Value("off"), "duration such as 30s or 5m, or off",
        "The gateway replaces a connection that RabbitMQ blocks for longer; messages in flight on it end as unknown"),
    plain("RABBITMQ_SSL_ENABLED", Value("false"), SWITCH, "TLS to RabbitMQ"),
    plain("RABBITMQ_SSL_CA_CERT", Unset("the system's"), PEM, "Certificate authorities to trust"),
    plain("RABBITMQ_SSL_CLIENT_CERT", Unset("none"), PEM,
        "Client certificate; it is also the login (SASL EXTERNAL) unless a user is given"),
    plain("RABBITMQ_SSL_CLIENT_KEY", Unset("none"), PEM, "Key of the client certificate"),
    plain("GATEWAY_CONFIG", Unset("none"), "path of a TOML file", "File of settings; flags and environment variables win over it"),
    plain("GATEWAY_LISTEN", Value("127.0.0.1:8080"), "IP address and port", "Address to listen on; port 0 means a free port"),
    plain("GATEWAY_ADMIN_LISTEN", Unset("none"), "IP address and port",
        "Address for administration; it serves /health/* and /metrics without credentials, and the other address then keeps /health/live and /health/ready only"),
    plain("GATEWAY_AUTH", Unset("by GATEWAY_PRINCIPALS"), "none",
        "none allows an address beyond loopback without GATEWAY_PRINCIPALS: every client that reaches it may do everything"),
    plain(PRINCIPALS_FILE, Unset("none"), PATH,
        "File of callers with their keys and permissions; the gateway reads it again when it has changed. Without it every client may do everything"),
    plain("GATEWAY_MAX_PRINCIPALS", Value("1000"), "whole number from 1 to 100000", "Principals in the file of GATEWAY_PRINCIPALS"),
    plain("GATEWAY_WORKER_THREADS", Unset("half of the cores"), "whole number from 1 to 1024",
        "Threads that serve requests; each connection to RabbitMQ has one more"),
    plain("GATEWAY_MAX_CONNECTIONS", Value("16384"), COUNT, "Open HTTP connections; the gateway answers further ones with 503 and closes them"),
    plain("GATEWAY_FIRST_BYTE_TIMEOUT", Value("10s"), DURATION, "From accept to the first byte of the first request"),
    plain("GATEWAY_HEADER_TIMEOUT", Value("10s"), DURATION, "From a request's first byte to the end of its header"),
    plain("GATEWAY_BODY_TIMEOUT", Value("30s"), DURATION, "From the end of the header to the last byte of the body; for a publish stream, the longest pause without a byte"),
    plain("GATEWAY_KEEP_ALIVE_TIMEOUT", Value("75s"), DURATION, "Idle time between two requests on one connection"),
    plain("GATEWAY_WRITE_TIMEOUT", Value("30s"), DURATION, "How long a client may take no bytes of an answer"),
    plain("GATEWAY_MAX_BODY_BYTES", Value("8MiB"), SIZE, "Bytes of the body of one request; for a publish stream, of one line"),
    plain("GATEWAY_MAX_HEADER_BYTES", Value("32KiB"), "size from 8KiB to 64KiB", "Bytes of the header of one request"),
    plain("GATEWAY_MAX_BYTES_IN_FLIGHT", Value("128MiB"), SIZE, "Bytes of bodies in memory, all requests together; publish streams may hold half of them"),
    plain("GATEWAY_MAX_REQUESTS_IN_FLIGHT", Value("4096"), COUNT, "Requests between their header and their answer"),
    plain("GATEWAY_MAX_AMQP_HEADERS", Value("100"), COUNT, "AMQP headers of one message, nested ones included"),
    plain("GATEWAY_MAX_AMQP_HEADER_BYTES", Value("16KiB"), "size from 1 to 64KiB", "Bytes of the AMQP headers of one message, encoded"),
    plain("GATEWAY_MAX_AMQP_HEADER_DEPTH", Value("8"), "whole number from 1 to 32", "Levels of nested AMQP headers"),
    plain("GATEWAY_PUBLISH_TIMEOUT", Value("10s"), DURATION, "Deadline of a publish without ?timeout="),
    plain("GATEWAY_PUBLISH_TIMEOUT_MAX", Value("60s"), DURATION, "Largest ?timeout= of a publish"),
    plain("GATEWAY_MAX_BATCH_ITEMS", Value("1000"), "whole number from 1 to 100000", "Messages of one batch"),
    plain("GATEWAY_MAX_PUBLISH_STREAMS", Value("256"), COUNT,
        "Publish streams at a time, beside requests in flight; the gateway answers further ones with 503"),
    plain("GATEWAY_PUBLISH_WINDOW", Value("256"), "whole number from 1 to 100000",
        "Messages of one batch or stream that the gateway publishes at a time; the others wait as unread bytes"),
    plain("GATEWAY_IDEMPOTENCY_TTL", Value("10m"), DURATION,
        "How long the gateway remembers an Idempotency-Key after the end of its publish"),
    plain("GATEWAY_IDEMPOTENCY_MAX", Value("100000"), COUNT,
        "Idempotency keys in memory, some 150 bytes each; when it is full, the gateway forgets the key whose publish ended first"),
    plain("GATEWAY_CLOUDEVENTS_PREFIX", Value("cloudEvents_"), "1 to 32 letters, digits, -, _, . or :",
        "Beginning of the name of each AMQP header that is an attribute of a CloudEvent; ce- is the one of Knative"),
    plain("GATEWAY_RPC_TIMEOUT", Value("30s"), DURATION, "Deadline of an RPC call without ?timeout="),
    plain("GATEWAY_RPC_TIMEOUT_MAX", Value("5m"), DURATION, "Largest ?timeout= of an RPC call"),
    plain("GATEWAY_MAX_PENDING_REPLIES", Value("4096"), COUNT, "RPC calls that wait for replies; the gateway answers further ones with 503 overloaded"),
    plain("GATEWAY_RPC_STATUS_HEADER", Value("false"), SWITCH, "Whether a reply's x-http-status header sets the HTTP status"),
    plain("GATEWAY_TOPOLOGY_TIMEOUT", Value("10s"), DURATION, "Deadline of a topology request without ?timeout="),
    plain("GATEWAY_TOPOLOGY_TIMEOUT_MAX", Value("60s"), DURATION, "Largest ?timeout= of a topology request"),
    plain("GATEWAY_MAX_TOPOLOGY_ITEMS", Value("1000"), "whole number from 1 to 10000",
        "Exchanges, queues and bindings of one topology document"),
    plain("GATEWAY_MAX_TOPOLOGY_DOCUMENTS", Value("8"), "whole number from 1 to 1000",
        "Topology documents that the gateway applies at a time; others wait until their deadline"),
    plain(TOPOLOGY_FILE, Unset("none"), PATH,
        "Topology document that the gateway applies at the start and after each reconnect, a JSON file like the body of PUT /topology"),
    plain("GATEWAY_TOPOLOGY_REQUIRED", Value("false"), SWITCH,
        "Whether the gateway is ready only after it has applied the file of GATEWAY_TOPOLOGY once"),
    plain("RABBITMQ_PREFETCH_COUNT", Value("10"), PREFETCH, "Messages of a pull that does not say how many"),
    plain("GATEWAY_PULL_MAX", Value("250"), PREFETCH, "Messages of one pull"),
    plain("GATEWAY_PULL_WAIT_MAX", Value("60s"), DURATION, "Longest wait of a pull for its first message"),
    plain("GATEWAY_MAX_WAITING_PULLS", Value("10000"), COUNT,
        "Pulls at a time, beside requests in flight; the gateway answers further ones with 503"),
    plain("GATEWAY_LEASE", Value("60s"), DURATION, "Time to settle the messages of a pull that does not say how long"),
    plain("GATEWAY_LEASE_MAX", Value("25m"), DURATION,
        "Longest time from the delivery of a message to its settle, extensions included; keep it below RabbitMQ's consumer_timeout, 30 minutes by default"),
    plain("GATEWAY_MAX_LEASES", Value("10000"), COUNT, "Messages that callers hold and have not settled; further ones stay in their queues"),
    plain("GATEWAY_MAX_LEASE_BYTES", Value("64MiB"), SIZE, "Bytes of these messages"),
    plain("GATEWAY_MAX_LEASE_QUEUES", Value("1024"), "whole number from 1 to 2000",
        "Queues that callers pull from at a time, with a channel for each; the gateway answers pulls from further ones with 503"),
    plain("GATEWAY_MAX_SETTLED_LEASES", Value("1000000"), COUNT,
        "Settled messages that the gateway remembers for 10 minutes, so that the same settle gets the same answer"),
    plain("GATEWAY_SETTLE_TIMEOUT", Value("10s"), "duration such as 500ms or 5s, above 0, at most 60s",
        "Deadline of a settle without ?timeout="),
    plain("GATEWAY_RETRY_DELAY_MAX", Value("24h"), "duration such as 5s or 1h, above 0, at most 24h", "Longest delay of a retry"),
    plain("GATEWAY_ALLOWED_ORIGINS", Unset("none"), "origins such as https://app.example.org, comma-separated",
        "Other origins whose pages may call the gateway"),
    plain("GATEWAY_ALLOWED_HOSTS", Unset("none"), "host names or IP addresses without ports, comma-separated",
        "Hosts, other than loopback, that requests may name while the gateway listens on loopback only"),
    plain("GATEWAY_PATH_PREFIX", Unset("none"), "path such as /mq",
        "Path below which a proxy serves the gateway; the proxy removes it from each request"),
    plain("GATEWAY_TRUSTED_PROXIES", Unset("none"), "IP addresses or networks such as 10.0.0.0/8, comma-separated",
        "Proxies whose X-Forwarded-Prefix header wins over GATEWAY_PATH_PREFIX"),
    plain("GATEWAY_HEALTH_QUEUES", Unset("none"), "at most 20 names of queues, comma-separated",
        "Queues that /health/rabbitmq always counts"),
    plain("GATEWAY_DRAIN_DELAY", Value("3s"), PAUSE,
        "Time after SIGTERM in which the gateway is not ready but still accepts connections, so that load balancers notice"),
    plain("GATEWAY_SHUTDOWN_TIMEOUT", Value("25s"), PAUSE, "Time for requests in flight to finish"),
    plain("GATEWAY_LOG", Value("info,lapin=off"), "filter such as info,rabbitmq_gateway=debug",
        "Which lines are logged"),
    plain("GATEWAY_LOG_FORMAT", Value("auto"), "auto, text or json", "Form of the log; auto is text on a terminal, else JSON"),
    plain("GATEWAY_AUDIT", Unset("all with GATEWAY_PRINCIPALS, else off"), "off, changes or all",
        "Lines of the log about changes of queues, exchanges, bindings and principals and about purges; all adds refusals"),
    plain("GATEWAY_STAMP_PRINCIPAL", Value("false"), "true or false",
        "Whether each published message, call and reply has the name of its principal in the header x-gateway-principal"),
];

/// The headings of the settings, each with its first setting. The settings that follow it in [`SETTINGS`] have the same heading.
pub const HEADINGS: [(&str, &str); 12] = [
    ("RabbitMQ", "AMQP_URL"),
    ("Connections and channels", "RABBITMQ_PUBLISH_CONNECTIONS"),
    ("Dialling RabbitMQ", "RABBITMQ_HEARTBEAT"),
    ("TLS to RabbitMQ", "RABBITMQ_SSL_ENABLED"),
    ("Gateway", "GATEWAY_CONFIG"),
    ("HTTP connections", "GATEWAY_MAX_CONNECTIONS"),
    ("Limits of requests", "GATEWAY_MAX_BODY_BYTES"),
    ("Publish, call, topology", "GATEWAY_PUBLISH_TIMEOUT"),
    ("Pull and settle", "RABBITMQ_PREFETCH_COUNT"),
    ("Browsers and health", "GATEWAY_ALLOWED_ORIGINS"),
    ("Stop", "GATEWAY_DRAIN_DELAY"),
    ("Log", "GATEWAY_LOG"),
];

const fn plain(name: &'static str, default: Fallback, form: &'static str, help: &'static str) -> Setting {
    Setting { name, default, form, help, secret: false }
}

const fn secret(name: &'static str, default: Fallback, form: &'static str, help: &'static str) -> Setting {
    Setting { name, default, form, help, secret: true }
}

impl Setting {
    /// The setting of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The setting that had this name before.
    #[must_use]
    pub fn formerly(name: &str) -> Option<&'static Self> {
        let (_, today) = FORMER_NAMES.iter().find(|(former, _)| *former == name)?;
        Self::named(today)
    }

    /// The name that it had before, which the gateway still reads.
    #[must_use]
    pub fn former_name(&self) -> Option<&'static str> {
        FORMER_NAMES.iter().find(|(_, today)| *today == self.name).map(|(former, _)| *former)
    }

    /// Section and key in the file: `("rabbitmq", "host")`.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        key_of(self.name)
    }

    /// Whether the file may call it so: by its name of today or by its former one.
    pub(super) fn has_key(&self, section: &str, key: &str) -> bool {
        let is_it = |name: &str| key_of(name) == (section.to_owned(), key.to_owned());
        is_it(self.name) || self.former_name().is_some_and(is_it)
    }

    /// The flag without its dashes: `rabbitmq-host`; `None` for a secret.
    #[must_use]
    pub fn flag(&self) -> Option<&'static str> {
        static FLAGS: LazyLock<Vec<String>> =
            LazyLock::new(|| SETTINGS.iter().map(|it| flag_of(it.name)).collect());
        let at = SETTINGS.iter().position(|setting| setting.name == self.name)?;
        (!self.secret).then(|| FLAGS[at].as_str())
    }

    /// The flag of its former name.
    #[must_use]
    pub fn former_flag(&self) -> Option<&'static str> {
        static FLAGS: LazyLock<Vec<String>> =
            LazyLock::new(|| FORMER_NAMES.iter().map(|(name, _)| flag_of(name)).collect());
        let at = FORMER_NAMES.iter().position(|(_, today)| *today == self.name)?;
        Some(FLAGS[at].as_str())
    }

    /// The heading that it stands under.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        let up_to_it = SETTINGS.iter().take_while(|it| it.name != self.name).map(|it| it.name);
        let starts = |name: &str| HEADINGS.iter().find(|(_, first)| *first == name);
        let last = up_to_it.chain([self.name]).filter_map(starts).last();
        last.map_or("", |(heading, _)| heading)
    }

    /// The word for its value in a usage text: `SIZE`, `DURATION`, `FILE`, or the last word of its name.
    #[must_use]
    pub fn value_name(&self) -> &'static str {
        match self.form {
            SIZE => "SIZE",
            DURATION | PAUSE => "DURATION",
            SWITCH => "BOOLEAN",
            PATH | PEM => "FILE",
            form if form.starts_with("whole") => "NUMBER",
            form if form.starts_with("size") => "SIZE",
            form if form.starts_with("duration") => "DURATION",
            form if form.starts_with("path") => "FILE",
            _ => self.name.rsplit('_').next().unwrap_or(self.name),
        }
    }

    /// The default as people read it.
    #[must_use]
    pub fn default_text(&self) -> &'static str {
        match self.default {
            Value(text) | Unset(text) => text,
        }
    }
}

fn flag_of(name: &str) -> String {
    name.to_lowercase().replace('_', "-")
}

fn key_of(name: &str) -> (String, String) {
    let (section, key) = name.split_once('_').unwrap_or((name, ""));
    (section.to_lowercase(), key.to_lowercase())
}

/// The tables of docs/configuration.md: one under each heading, with one line a setting.
#[must_use]
pub fn markdown_tables() -> String {
    HEADINGS.iter().map(|(heading, _)| markdown_table(heading)).collect::<Vec<_>>().join("\n")
}

fn markdown_table(heading: &str) -> String {
    let head = format!("**{heading}**\n\n| Setting | Default | Form | Meaning |\n|---|---|---|---|\n");
    let settings = SETTINGS.iter().filter(|setting| setting.heading() == heading);
    std::iter::once(head).chain(settings.map(row)).collect()
}

fn row(setting: &Setting) -> String {
    let default = match setting.default {
        Value(text) => format!("`{text}`"),
        Unset(words) => words.to_owned(),
    };
    format!("| `{}` | {default} | {} | {} |\n", setting.name, setting.form, setting.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_name_is_its_section() {
        let key = |name| Setting::named(name).map(Setting::key);
        assert_eq!(key("RABBITMQ_SSL_CA_CERT"), Some(("rabbitmq".to_owned(), "ssl_ca_cert".to_owned())));
        assert_eq!(key("GATEWAY_LISTEN"), Some(("gateway".to_owned(), "listen".to_owned())));
        assert_eq!(key("AMQP_URL"), Some(("amqp".to_owned(), "url".to_owned())));
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }

    #[test]
    fn a_secret_has_a_file_variant_and_no_flag() {
        for secret in SETTINGS.iter().filter(|setting| setting.secret) {
            assert_eq!(secret.flag(), None);
            assert!(Setting::named(&format!("{}{FILE_SUFFIX}", secret.name)).is_some(), "{}", secret.name);
        }
        assert_eq!(Setting::named("RABBITMQ_HOST").and_then(Setting::flag), Some("rabbitmq-host"));
    }

    #[test]
    fn every_setting_has_a_heading() {
        for (heading, first) in HEADINGS {
            assert_eq!(Setting::named(first).map(Setting::heading), Some(heading), "{first}");
        }
        assert!(SETTINGS.iter().all(|setting| !setting.heading().is_empty()));
    }

    #[test]
    fn the_value_of_a_setting_has_one_word_in_the_usage() {
        for (name, word) in [
            ("RABBITMQ_HOST", "HOST"),
            ("RABBITMQ_PASSWORD_FILE", "FILE"),
            ("RABBITMQ_HEARTBEAT", "NUMBER"),
            ("GATEWAY_CONFIG", "FILE"),
            ("GATEWAY_MAX_HEADER_BYTES", "SIZE"),
            ("GATEWAY_DRAIN_DELAY", "DURATION"),
        ] {
            assert_eq!(Setting::named(name).map(Setting::value_name), Some(word), "{name}");
        }
    }

    #[test]
    fn no_cell_breaks_the_markdown_tables() {
        let tables = markdown_tables();
        let rows: Vec<_> = tables.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), SETTINGS.len() + 2 * HEADINGS.len());
        assert!(rows.iter().all(|line| line.matches('|').count() == 5), "{tables}");
        assert!(
            rows.contains(&"| `RABBITMQ_HOST` | `localhost` | host name or IP address | Host of RabbitMQ |")
        );
    }
}
