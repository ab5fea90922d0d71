//! Reads every setting once, and reports all mistakes together.
//!
//! [`Config::from_lookup`] is a pure function of a look-up. [`sources`] builds that look-up from flags, environment
//! and file; [`table`] lists all settings. No layer below reads a setting by itself.

use std::thread::available_parallelism;
use std::time::Duration;

use crate::telemetry;

mod amqp_url;
mod authentication;
mod broker;
mod consume;
mod effective;
mod file;
mod forms;
mod http;
mod mistakes;
pub mod principals;
mod reader;
pub mod sources;
pub mod table;
#[cfg(test)]
mod tests;
mod topology_file;
mod unknown;
mod warning;

pub use mistakes::Mistakes;
pub use principals::PrincipalsFile;
pub use warning::Warning;

/// The whole configuration. The part of each layer has the type of that layer.
#[derive(Debug, Clone)]
pub struct Config {
    /// Settings of the broker side.
    pub broker: crate::broker::Settings,
    /// Settings of the HTTP side.
    pub http: crate::http::Settings,
    /// The callers who may use the gateway; without it every client may do everything.
    pub principals: Option<PrincipalsFile>,
    /// Settings of the log.
    pub telemetry: telemetry::Settings,
    /// Number of threads that serve requests.
    pub worker_threads: usize,
    /// After SIGTERM: how long the gateway still accepts connections while `/health/ready` says that it is not ready.
    pub drain_delay: Duration,
    /// How long requests in flight may take to finish, counted from the end of `drain_delay`.
    pub shutdown_timeout: Duration,
    /// Settings that are probably a mistake: the gateway warns of them at the start and in `check-config`.
    pub warnings: Vec<Warning>,
}

impl Config {
    /// Reads every setting of [`table::SETTINGS`] from `lookup`; an empty value counts as none.
    ///
    /// Files (`GATEWAY_CONFIG`, `GATEWAY_TOPOLOGY`, `GATEWAY_PRINCIPALS`, `_FILE`) are not opened here: [`sources::load`] has put their
    /// content into its look-up. The values of `GATEWAY_TOPOLOGY` and `GATEWAY_PRINCIPALS` are the content of the file, not its path.
    ///
    /// # Errors
    /// All mistakes together.
    ///
    /// # Panics
    /// When a default of the table is malformed; a test reads all defaults.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut reader = reader::Reader::new(&lookup);
        let amqp_headers = http::amqp_headers(&mut reader);
        let consume = consume::read(&mut reader);
        let mut broker = broker::read(&mut reader, amqp_headers.bytes, consume.broker);
        let http = http::read(&mut reader, amqp_headers, (consume.pull, consume.settle));
        broker.topology_file = topology_file::read(&mut reader, &http.limits);
        let principals = authentication::read(&mut reader, &http);
        let config = Self {
            broker,
            http,
            principals,
            telemetry: telemetry::Settings {
                filter: reader.read("GATEWAY_LOG", telemetry::Filter::parse),
                format: reader.read("GATEWAY_LOG_FORMAT", telemetry::Format::parse),
            },
            worker_threads: reader
                .read_optional("GATEWAY_WORKER_THREADS", forms::count(1_024))
                .unwrap_or_else(half_of_the_cores),
            drain_delay: reader.read("GATEWAY_DRAIN_DELAY", forms::pause),
            shutdown_timeout: reader.read("GATEWAY_SHUTDOWN_TIMEOUT", forms::pause),
            warnings: broker::without_effect(&mut reader),
        };
        reader.mistakes.or(config)
    }
}

/// The threads of lapin use the other half.
fn half_of_the_cores() -> usize {
    available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}
