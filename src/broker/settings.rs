//! The address of RabbitMQ and the settings of the connections to it. Filled by [`crate::config`].

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::topology::document::TopologyDocument;

/// A setting that can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Certificates or keys.
    #[error("TLS to RabbitMQ: {reason}")]
    Tls {
        /// The file, and the mistake in it.
        reason: String,
    },
    /// Sizes or timeouts of a pool.
    #[error("pool: {reason}")]
    Pool {
        /// The mistake.
        reason: String,
    },
}

/// The address of RabbitMQ and the settings of the connections to it. Filled by [`crate::config`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The nodes, tried in order; never empty.
    pub addresses: Vec<Address>,
    /// Virtual host.
    pub vhost: String,
    /// The gateway's login.
    pub login: Login,
    /// TLS to RabbitMQ; `None` means plain AMQP.
    pub tls: Option<Tls>,
    /// AMQP heartbeat interval in seconds; 0 leaves the choice to RabbitMQ.
    pub heartbeat: u16,
    /// Deadline of one dial: name look-up, TCP, TLS and AMQP handshake together.
    pub connection_timeout: Duration,
    /// Maximum of the backoff between dials.
    pub retry_delay: Duration,
    /// Time between dials, and between declarations of the reply queue, while RabbitMQ refuses them.
    pub refused_delay: Duration,
    /// The gateway replaces a connection that is blocked for longer; `None` waits for ever.
    pub blocked_timeout: Option<Duration>,
    /// The sizes of publishing.
    pub publish: PublishSettings,
    /// The sizes of taking messages from queues.
    pub consume: ConsumeSettings,
    /// The number of connections for topology operations that run alone, for each of two kinds.
    pub topology_connections: usize,
    /// The maximum number of RPC calls that wait for their replies.
    pub max_pending_replies: usize,
    /// The topology that the gateway keeps applied, if any.
    pub topology_file: Option<TopologyFile>,
}

/// The content of the topology file.
#[derive(Debug, Clone)]
pub struct TopologyFile {
    /// The document.
    pub document: TopologyDocument,
    /// Whether the gateway is not ready until it has applied the document once.
    pub is_required: bool,
    /// Deadline of one attempt to apply the document.
    pub timeout: Duration,
}

/// The sizes of publishing. All are at least 1, unless the field says otherwise.
#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// The number of connections for shared lanes.
    pub connections: usize,
    /// The number of confirm channels over all of these connections.
    pub pool_size: usize,
    /// The maximum number of publishes in flight on one of these channels.
    pub channel_window: u32,
    /// The maximum number of body bytes in flight on one of these channels. A body that is larger goes alone.
    pub channel_window_bytes: usize,
    /// The maximum size of a message's headers in bytes.
    pub max_header_bytes: usize,
    /// The number of connections for isolated messages, whose publish can end their channel.
    pub isolated_connections: usize,
    /// The number of channels for isolated messages, with one message at a time on each.
    pub isolated_channels: usize,
    /// The number of connections for slow destinations, one for each; may be 0.
    pub slow_connections: usize,
    /// A destination is slow when its publishes stay unanswered for this time while RabbitMQ answers others.
    pub slow_after: Duration,
    /// The maximum number of publishes in flight to one slow destination.
    pub slow_window: u32,
}

/// The sizes of taking messages from queues. All are at least 1.
#[derive(Debug, Clone)]
pub struct ConsumeSettings {
    /// The maximum number of leases at one time, over all queues.
    pub max_leases: usize,
    /// The maximum number of bytes of the messages of these leases.
    pub max_lease_bytes: usize,
    /// The maximum number of queues with a channel for pulls.
    pub max_lease_queues: usize,
    /// The maximum number of settled leases whose outcomes the gateway remembers.
    pub max_settled_leases: usize,
    /// The longest time from the delivery of a message to its settle.
    pub lease_max: Duration,
    /// The maximum number of messages of one pull.
    pub pull_max: usize,
    /// The longest deadline of a settle.
    pub settle_timeout_max: Duration,
}

#[cfg(test)]
impl ConsumeSettings {
    /// The least sizes, and a second for each time.
    pub(crate) fn of_ones() -> Self {
        let second = Duration::from_secs(1);
        Self {
            max_leases: 1,
            max_lease_bytes: 1,
            max_lease_queues: 1,
            max_settled_leases: 1,
            lease_max: second,
            pull_max: 1,
            settle_timeout_max: second,
        }
    }
}

/// One node of RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => write!(f, "[{ip}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// SASL mechanism and its secret.
#[derive(Debug, Clone)]
pub enum Login {
    /// `PLAIN`.
    Plain {
        /// User name.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// `EXTERNAL`: the client certificate identifies the gateway.
    External,
}

/// TLS to RabbitMQ.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file with the certificate authorities to trust; `None` trusts the system's.
    pub ca_cert: Option<PathBuf>,
    /// PEM files of the client certificate chain and its key.
    pub client: Option<ClientCertificate>,
}

/// Certificate and key that the gateway presents to RabbitMQ.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// PEM file with the chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}
