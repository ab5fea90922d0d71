//! Dials the nodes of RabbitMQ in turn. A dial without an answer does not delay the dial of the next node.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use deadpool::managed::Manager as _;
use deadpool_lapin::Manager;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout, timeout_at};

use super::dial_error;
use super::dial_record::DialRecord;
use super::login::connection_properties;
use super::node::Node;
use super::outage_log::ConnectionLog;
use super::{Connection, Role};
use crate::broker::error::Denial;
use crate::broker::lapin_compat::{SocketKit, placeholder_uri};
use crate::broker::{Address, Login, Settings, wire};
use crate::metrics::Metrics;

/// First pause after a failed dial. Each failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// When a dial takes longer than this, the gateway dials the next address at the same time.
const HEAD_START: Duration = Duration::from_millis(500);

/// Makes the connections of one slot.
pub(super) struct Dialler {
    name: String,
    login: Login,
    placeholder: String,
    frame_max: usize,
    nodes: Vec<Node>,
    next: usize,
    timeout: Duration,
    retry_delay: Duration,
    refused_delay: Duration,
    backoff: ExponentialBackoff,
    reports: Reports,
}

/// The metrics, record and log that receive the results of the dials and the end of one connection.
pub(super) struct Reports {
    pub(super) role: Role,
    pub(super) metrics: Metrics,
    pub(super) record: Arc<DialRecord>,
    pub(super) log: ConnectionLog,
}

impl Reports {
    fn connected(&self, address: &Address) {
        self.count("connected");
        self.log.connected(address);
    }

    /// Returns RabbitMQ's refusal, if it refused the dial.
    fn failed(&self, at: usize, address: &Address, error: &lapin::Error, why: &str) -> Option<Denial> {
        let denial = Denial::of_login(error);
        self.count(if denial.is_some() { "refused" } else { "failed" });
        self.record.failed(at, denial);
        self.log.failed(address, &why);
        denial
    }

    fn count(&self, result: &str) {
        self.metrics.dials.with_label_values(&[self.role.name(), result]).inc();
    }
}

impl Dialler {
    /// A dialler for the connection called `name`, which begins at one of the nodes.
    pub(super) fn new(
        name: String,
        role: Role,
        (nodes, first_node): (Vec<Node>, usize),
        settings: &Settings,
        reports: Reports,
    ) -> Self {
        let frame_max = role.frame_max(&settings.publish);
        Self {
            name,
            login: settings.login.clone(),
            placeholder: placeholder_uri(frame_max, settings),
            frame_max,
            next: first_node,
            nodes,
            timeout: settings.connection_timeout,
            retry_delay: settings.retry_delay,
            refused_delay: settings.refused_delay,
            backoff: backoff(settings.retry_delay),
            reports,
        }
    }

    /// The log of the connection.
    pub(super) fn log(&self) -> &ConnectionLog {
        &self.reports.log
    }

    /// Dials the next node, and each following node while the earlier dials have not ended.
    ///
    /// # Errors
    /// Every dial that was begun has failed. The value is the pause before the dial of the next node.
    pub(super) async fn dial(&mut self, patience: Duration) -> Result<Connection, Duration> {
        let first = self.next;
        let nodes = (0..self.nodes.len()).map(|n| (first + n) % self.nodes.len());
        let (connected, failures, begun) = self.race(nodes.collect(), patience).await;
        let mut denial = None;
        for (at, error) in failures {
            let why = dial_error::explain(&error, &self.nodes[at].address, &self.login);
            denial = self.reports.failed(at, &self.nodes[at].address, &error, &why);
        }
        let Some((at, connection)) = connected else {
            self.next = (first + begun) % self.nodes.len();
            return Err(self.pause_after(denial));
        };
        self.next = at;
        self.reports.connected(&self.nodes[at].address);
        Ok(connection)
    }

    /// The first connection that is up, the dials that failed before it, and the number of dials that were begun.
    async fn race(
        &self,
        nodes: Vec<usize>,
        patience: Duration,
    ) -> (Option<(usize, Connection)>, Vec<(usize, lapin::Error)>, usize) {
        let mut rest = nodes.into_iter();
        let (mut dials, mut failures, mut begun) = (FuturesUnordered::new(), Vec::new(), 0);
        loop {
            if let Some(at) = rest.next() {
                begun += 1;
                dials.push(async move { (at, self.connect(&self.nodes[at], patience).await) });
            }
            let ended = timeout(HEAD_START, dials.next()).await;
            match ended {
                Ok(Some((at, Ok(connection)))) => return (Some((at, connection)), failures, begun),
                Ok(Some((at, Err(error)))) => failures.push((at, error)),
                Ok(None) => return (None, failures, begun),
                Err(_) => continue,
            }
            if dials.is_empty() {
                return (None, failures, begun);
            }
        }
    }

    /// Opens a socket, and lets lapin speak AMQP over the socket's router.
    pub(super) async fn connect(&self, node: &Node, patience: Duration) -> Result<Connection, lapin::Error> {
        let deadline = Instant::now() + self.timeout;
        let open = timeout_at(deadline, node.open()).await;
        let socket = open.unwrap_or_else(|_| Err(self.timed_out("connection")))?;
        // Dropping an abandoned dial drops the router, which closes the socket and ends lapin's stream.
        let (router, stream) = wire::start(socket, self.frame_max);
        let (login, name) = (self.login.clone(), self.name.clone());
        let properties = move || connection_properties(&login, &name);
        let runtime = async_rs::Runtime::new(SocketKit::new(stream));
        let manager = Manager::new(&*self.placeholder, properties, runtime);
        let connected = timeout_at(deadline, manager.create()).await;
        let connection =
            connected.unwrap_or_else(|_| Err(lapin::Error::from(self.timed_out("AMQP handshake"))));
        let connection = connection.map_err(|error| dial_error::with_reason(error, &router))?;
        Ok(Connection::new(connection, router, node.address.clone(), patience))
    }

    fn timed_out(&self, what: &str) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("no {what} within {:?}", self.timeout))
    }

    /// The next dial begins at another node than the node of the last connection.
    pub(super) fn leave_node(&mut self) {
        self.next = (self.next + 1) % self.nodes.len();
    }

    /// Records that the last connection lasted, so its end is no hint for the next dial.
    pub(super) fn lasted(&mut self) {
        self.reports.record.lost();
        self.backoff = backoff(self.retry_delay);
    }

    /// Records that the last connection did not last. That counts as a failed dial, because RabbitMQ refuses the
    /// gateway's channels in this way too. Returns the pause before the next dial.
    pub(super) fn failed_at_once(&mut self, reason: Option<&str>) -> Duration {
        let denial = reason.and_then(Denial::of_end);
        self.reports.record.failed(self.next, denial);
        self.pause_after(denial)
    }

    /// The pause before the next dial. After a refusal it is no longer than after another failure while another address
    /// may accept the gateway, or while a virtual host may be restarting.
    fn pause_after(&mut self, denial: Option<Denial>) -> Duration {
        let pause = self.backoff.next().unwrap_or(self.retry_delay);
        let record = &self.reports.record;
        match (denial, record.refused()) {
            (Some(Denial::Credentials), _) if !record.has_unknown() => self.refused_delay,
            (Some(_), Some(refused)) if refused.is_certain() => self.refused_delay.min(pause * 10),
            _ => pause,
        }
    }
}

/// The jitter adds up to 100 % to a delay, so half of the cap as maximum keeps the sum within the cap.
fn backoff(cap: Duration) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY.min(cap) / 2)
        .with_max_delay(cap / 2)
        .without_max_times()
        .with_jitter()
        .build()
}
