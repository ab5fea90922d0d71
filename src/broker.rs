//! The broker side.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

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
    /// Dials of one address before the next address is tried; at least 1.
    pub connection_attempts: u32,
    /// Cap of the backoff between dials.
    pub retry_delay: Duration,
    /// A connection that has been blocked for longer is replaced; `None` waits for ever.
    pub blocked_timeout: Option<Duration>,
    /// Connections used for publishing; at least 1.
    pub publish_connections: usize,
    /// Confirm channels over all publishing connections; at least 1.
    pub pool_size: usize,
}

/// One node of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or IP literal, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
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
