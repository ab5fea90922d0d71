//! Dials the nodes of a broker in turn, one dial at a time.

use std::io;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use deadpool::managed::Manager as _;
use deadpool_lapin::Manager;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::connections::{REFUSED_DELAY, Role};
use super::error::is_login_refused;
use super::link::Link;
use super::login::{connection_properties, tls_connector};
use super::socket::{Node, SocketKit};
use super::{Login, Settings, SettingsError};
use crate::metrics::Metrics;

/// First pause after a failed dial; doubles from there.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Makes the connections of one slot.
pub(super) struct Dialler {
    name: String,
    login: Login,
    placeholder: String,
    nodes: Vec<Node>,
    next: usize,
    attempts_per_node: u32,
    timeout: Duration,
    retry_delay: Duration,
    backoff: ExponentialBackoff,
    failures: u32,
    dials: Dials,
}

/// Counts this role's dials by result.
struct Dials {
    role: Role,
    metrics: Metrics,
}

impl Dials {
    fn count(&self, result: &str) {
        self.metrics.dials.with_label_values(&[self.role.name(), result]).inc();
    }
}

/// What a failed dial means.
pub(super) struct DialFailure {
    /// The broker refused the gateway's user or virtual host.
    pub(super) refused: bool,
    /// How long to wait before the next dial.
    pub(super) pause: Duration,
}

impl Dialler {
    /// A dialler for the connection called `<role>-<slot>`. Slots start at different nodes of a cluster, so
    /// that the loss of one node does not take them all.
    pub(super) fn new(
        role: Role,
        slot: usize,
        settings: &Settings,
        metrics: Metrics,
    ) -> Result<Self, SettingsError> {
        let tls = settings.tls.as_ref().map(tls_connector).transpose()?;
        let nodes: Vec<_> =
            settings.addresses.iter().map(|it| Node { address: it.clone(), tls: tls.clone() }).collect();
        Ok(Self {
            name: format!("{}-{slot}", role.name()),
            login: settings.login.clone(),
            placeholder: placeholder_uri(role, settings),
            next: slot % nodes.len().max(1),
            nodes,
            attempts_per_node: settings.connection_attempts,
            timeout: settings.connection_timeout,
            retry_delay: settings.retry_delay,
            backoff: backoff(settings.retry_delay),
            failures: 0,
            dials: Dials { role, metrics },
        })
    }

    /// The connection's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Dials the node whose turn it is.
    pub(super) async fn dial(&mut self) -> Result<Link, DialFailure> {
        let node = &self.nodes[self.next];
        match self.connect(node).await {
            Ok(link) => {
                self.dials.count("connected");
                info!(
                    connection = self.name,
                    host = node.address.host,
                    port = node.address.port,
                    "connected"
                );
                Ok(link)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Opens a socket, and has lapin speak AMQP on it.
    async fn connect(&self, node: &Node) -> Result<Link, lapin::Error> {
        let deadline = Instant::now() + self.timeout;
        let open = timeout_at(deadline, node.open()).await;
        let (socket, wire) = open.unwrap_or_else(|_| Err(self.late("connection")))?;
        let (login, name) = (self.login.clone(), self.name.clone());
        let properties = move || connection_properties(&login, &name);
        let runtime = async_rs::Runtime::new(SocketKit::new(socket));
        let manager = Manager::new(&*self.placeholder, properties, runtime);
        let connected = timeout_at(deadline, manager.create()).await;
        let connection =
            connected.unwrap_or_else(|_| Err(lapin::Error::from(self.late("AMQP handshake"))))?;
        Ok(Link::new(connection, wire))
    }

    fn late(&self, what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("no {what} within {:?}", self.timeout))
    }

    /// The last connection lasted, so the next failure is a new one.
    pub(super) fn lasted(&mut self) {
        self.backoff = backoff(self.retry_delay);
        self.failures = 0;
    }

    /// How long to wait before the next dial.
    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.next().unwrap_or(self.retry_delay)
    }

    fn failed(&mut self, error: &lapin::Error) -> DialFailure {
        let pause = self.pause();
        let node = &self.nodes[self.next];
        let refused = is_login_refused(error);
        self.dials.count(if refused { "refused" } else { "failed" });
        let pause = if refused { REFUSED_DELAY.min(pause * 10) } else { pause };
        let (host, port) = (&node.address.host, node.address.port);
        warn!(connection = self.name, host, port, retry_in = ?pause, "cannot connect: {error}");
        self.failures += 1;
        if self.failures.is_multiple_of(self.attempts_per_node) {
            self.next = (self.next + 1) % self.nodes.len();
        }
        DialFailure { refused, pause }
    }
}

/// Jitter adds up to the whole delay again, so half of the cap keeps it.
fn backoff(cap: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY.min(cap) / 2)
        .with_max_delay(cap / 2)
        .without_max_times()
        .with_jitter()
        .build()
}

/// lapin wants an address; it is handed a socket, and the login goes another way.
fn placeholder_uri(role: Role, settings: &Settings) -> String {
    let vhost = utf8_percent_encode(&settings.vhost, NON_ALPHANUMERIC);
    let frame_max = role.frame_max(&settings.publish);
    format!("amqp://127.0.0.1/{vhost}?heartbeat={}&frame_max={frame_max}", settings.heartbeat)
}
