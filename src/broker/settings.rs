//! Where RabbitMQ is, and how it is spoken to. Filled by [`crate::config`].

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// A setting that can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Certificates or keys.
    #[error("TLS to the broker: {reason}")]
    Tls {
        /// The file, and its mistake.
        reason: String,
    },
    /// Sizes or timeouts of a pool.
    #[error("pool: {reason}")]
    Pool {
        /// The mistake.
        reason: String,
    },
}

/// Where the broker is and how it is spoken to. Filled by [`crate::config`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The nodes, tried in order; never empty.
    pub addresses: Vec<Address>,
    /// Virtual host.
    pub vhost: String,
    /// How the gateway proves who it is.
    pub login: Login,
    /// TLS to the broker; `None` speaks plain AMQP.
    pub tls: Option<Tls>,
    /// AMQP heartbeat interval in seconds; 0 leaves it to the server.
    pub heartbeat: u16,
    /// Deadline of one dial: name look-up, TCP, TLS and AMQP handshake together.
    pub connection_timeout: Duration,
    /// Cap of the backoff between dials.
    pub retry_delay: Duration,
    /// Time between dials, and between declarations of the reply queue, that RabbitMQ refuses.
    pub refused_delay: Duration,
    /// A connection that has been blocked for longer is replaced; `None` waits for ever.
    pub blocked_timeout: Option<Duration>,
    /// Publishing.
    pub publish: PublishSettings,
    /// Connections for topology operations that run alone, of each of two kinds.
    pub topology_connections: usize,
    /// RPC calls that may wait for their replies.
    pub max_pending_replies: usize,
}

/// How much is published at a time. All are at least 1, where nothing else is said.
#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// Connections used for publishing.
    pub connections: usize,
    /// Confirm channels over all of these connections.
    pub pool_size: usize,
    /// Publishes in flight on one of these channels.
    pub channel_window: u32,
    /// Bytes of bodies in flight on one of these channels; one larger body goes alone.
    pub channel_window_bytes: usize,
    /// Bytes that the headers of a message may have.
    pub max_header_bytes: usize,
    /// Connections for publishes that may end their channel.
    pub isolated_connections: usize,
    /// Channels for publishes that may end their channel, one at a time on each.
    pub isolated_channels: usize,
    /// Connections for slow destinations, one each; may be 0.
    pub slow_connections: usize,
    /// A destination whose publishes stay unanswered for so long, while others are answered, is slow.
    pub slow_after: Duration,
    /// Publishes in flight to one slow destination.
    pub slow_window: u32,
}

/// One node of the broker.
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
    /// `EXTERNAL`: the client certificate says who we are.
    External,
}

/// TLS towards the broker.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file with the certificate authorities to trust; `None` trusts the system's.
    pub ca_cert: Option<PathBuf>,
    /// PEM files of the client certificate chain and its key.
    pub client: Option<ClientCertificate>,
}

/// Certificate and key that the gateway shows to the broker.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// PEM file with the chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}
