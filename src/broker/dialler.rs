//! Dials the nodes of a broker in turn, one dial at a time.

use std::io;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use deadpool_lapin::{Manager, Object, Pool, PoolError, TimeoutType};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::connections::{REFUSED_DELAY, Role};
use super::error::is_login_refused;
use super::link::Link;
use super::login::{connection_properties, tls_connector};
use super::socket::SocketKit;
use super::{Address, Settings, SettingsError};
use crate::metrics::Metrics;

/// First pause after a failed dial; doubles from there.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Makes the connections of one slot.
pub(super) struct Dialler {
    name: String,
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

struct Node {
    address: Address,
    kit: SocketKit,
    pool: Pool,
}

impl Node {
    /// Opens a socket and has lapin speak AMQP on it, all within the timeout.
    async fn dial(&self, within: Duration) -> Result<Link, PoolError> {
        let deadline = Instant::now() + within;
        let open = timeout_at(deadline, self.kit.open()).await;
        let wire = open
            .unwrap_or_else(|_| Err(no_socket(within)))
            .map_err(|error| PoolError::Backend(lapin::Error::from(error)))?;
        let connected = timeout_at(deadline, self.pool.get()).await;
        match connected.unwrap_or(Err(PoolError::Timeout(TimeoutType::Create))) {
            // The slot, not the pool, decides when a connection is replaced.
            Ok(connection) => Ok(Link::new(Object::take(connection), wire)),
            Err(error) => {
                // An abandoned handshake would keep its thread until the peer answers.
                wire.kill.kill();
                Err(error)
            }
        }
    }
}

fn no_socket(within: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {within:?}"))
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
        let name = format!("{}-{slot}", role.name());
        let nodes = settings
            .addresses
            .iter()
            .map(|address| node(role, &name, address, settings))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            name,
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
        match node.dial(self.timeout).await {
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

    /// The last connection lasted, so the next failure is a new one.
    pub(super) fn lasted(&mut self) {
        self.backoff = backoff(self.retry_delay);
        self.failures = 0;
    }

    /// How long to wait before the next dial.
    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.next().unwrap_or(self.retry_delay)
    }

    fn failed(&mut self, error: &PoolError) -> DialFailure {
        let pause = self.pause();
        let node = &self.nodes[self.next];
        let refused = matches!(error, PoolError::Backend(error) if is_login_refused(error));
        self.dials.count(if refused { "refused" } else { "failed" });
        let pause = if refused { REFUSED_DELAY.min(pause * 10) } else { pause };
        let (host, port) = (&node.address.host, node.address.port);
        warn!(connection = self.name, host, port, retry_in = ?pause, "cannot connect: {}", reason(error));
        self.failures += 1;
        if self.failures.is_multiple_of(self.attempts_per_node) {
            self.next = (self.next + 1) % self.nodes.len();
        }
        DialFailure { refused, pause }
    }
}

fn reason(error: &PoolError) -> String {
    match error {
        PoolError::Timeout(_) => "no AMQP handshake in time".to_owned(),
        PoolError::Backend(error) => error.to_string(),
        other => other.to_string(),
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

fn node(role: Role, name: &str, address: &Address, settings: &Settings) -> Result<Node, SettingsError> {
    let tls = settings.tls.as_ref().map(tls_connector).transpose()?;
    let kit = SocketKit::new(address.clone(), tls);
    let (login, name) = (settings.login.clone(), name.to_owned());
    let manager = Manager::new(
        placeholder_uri(role, settings),
        move || connection_properties(&login, &name),
        async_rs::Runtime::new(kit.clone()),
    );
    let pool = Pool::builder(manager)
        .max_size(1)
        .build()
        .map_err(|error| SettingsError::Pool { reason: error.to_string() })?;
    Ok(Node { address: address.clone(), kit, pool })
}

/// lapin wants an address; the socket kit knows the real one, and the login goes another way.
fn placeholder_uri(role: Role, settings: &Settings) -> String {
    let vhost = utf8_percent_encode(&settings.vhost, NON_ALPHANUMERIC);
    let frame_max = role.frame_max(&settings.publish);
    format!("amqp://127.0.0.1/{vhost}?heartbeat={}&frame_max={frame_max}", settings.heartbeat)
}
