//! The broker side: [`Broker`] is all that others see of it.
//!
//! Promises: never says that a message is confirmed when the broker does not hold it; an answer
//! belongs to its own caller; a lost broker costs time, not errors, up to the caller's deadline.
//! Publishing, topology and probes have connections of their own and share no fate.
//! Knows no HTTP; lapin stays inside.

mod alarms;
mod channels;
mod connections;
mod convert;
mod destination;
mod dialler;
mod error;
mod keeper;
mod link;
mod login;
mod probe;
mod publish;
mod replies;
mod rpc;
mod socket;
mod topology;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

pub use self::error::{Cause, Error, Refusal, Unavailable};
pub use self::probe::Look;
pub use self::publish::{Attempts, Publish, PublishFailure, Receipt};
pub use self::rpc::Call;

use self::connections::{Connections, Connector, Role};
use self::probe::Probe;
use self::publish::Publisher;
use self::replies::Replies;
use self::topology::Topology;
use crate::domain::names::QueueName;
use crate::domain::topology::{DeleteConditions, QueueDeclaration, QueueState};
use crate::metrics::Metrics;

/// The broker. Cheap to clone; dials from the start, and works as soon as the broker is there.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    publisher: Publisher,
    metrics: Metrics,
    topology: Topology,
    replies: Replies,
    probe: Probe,
    user: Option<String>,
    stopping: AtomicBool,
    publishes: TaskTracker,
    keepers: TaskTracker,
}

/// State of the publishing connections, as the gateway sees it without asking the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// Connections that there should be.
    pub wanted: usize,
    /// Connections that are up.
    pub connected: usize,
    /// The broker's reason while it blocks publishers.
    pub blocked: Option<String>,
    /// Channels that there should be for many publishes at a time.
    pub lanes: usize,
    /// Confirm channels that are open, those of the quarantine included.
    pub channels: usize,
    /// Publishes that were written and wait for the broker's verdict.
    pub in_flight: usize,
    /// Publishes that wait for a place on a channel.
    pub waiting: usize,
    /// Publishes that were answered `unknown` and whose confirm may still come.
    pub late_confirms: usize,
}

/// State of the reply queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyState {
    /// Whether it is there.
    pub ready: bool,
    /// Calls that wait for their replies.
    pub waiting: usize,
}

impl Broker {
    /// Starts to dial; returns at once. Needs a tokio runtime.
    ///
    /// # Errors
    /// A setting that can never work, such as an unreadable certificate. An absent broker is no error.
    pub fn start(settings: &Settings, metrics: &Metrics) -> Result<Self, SettingsError> {
        let keepers = TaskTracker::new();
        // In this order, they are spread over the nodes.
        let connector = Connector::new(settings, metrics, &keepers)?;
        let publisher = Publisher::start(&connector, &settings.publish, metrics.clone())?;
        let topology = Topology::new(connector.start(Role::Topology, 0, 1));
        let reply_connection = connector.start(Role::Reply, 0, 1);
        let probe = Probe::new(connector.start(Role::Probe, 0, 1));
        let unmatched = metrics.unmatched_replies.clone();
        let (replies, task) = Replies::start(reply_connection, settings.max_waiting_calls, unmatched);
        keepers.spawn(task);
        let user = match &settings.login {
            Login::Plain { user, .. } => Some(user.clone()),
            Login::External => None,
        };
        let stopping = AtomicBool::new(false);
        let inner = Inner {
            publisher,
            metrics: metrics.clone(),
            topology,
            replies,
            probe,
            user,
            stopping,
            publishes: TaskTracker::new(),
            keepers,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Publishes a message and waits until its outcome is known, at the longest to its deadline.
    /// When the caller goes away, what has been written is finished, and nothing is written any more.
    ///
    /// # Errors
    /// Says what is true of the message, see [`PublishFailure::outcome`].
    pub async fn publish(&self, publish: &Publish) -> Result<Receipt, PublishFailure> {
        let answer = self.send(publish).await;
        let outcome = answer.as_ref().map_or_else(|failure| failure.outcome, |receipt| receipt.outcome);
        self.inner.metrics.publishes.with_label_values(&[outcome.as_str()]).inc();
        answer
    }

    /// A message, or the request of a call.
    async fn send(&self, publish: &Publish) -> Result<Receipt, PublishFailure> {
        let _unfinished = self.inner.publishes.token();
        self.inner.publisher.publish(publish).await
    }

    /// Counts of a queue.
    ///
    /// # Errors
    /// [`Refusal::QueueMissing`] and others.
    pub async fn inspect_queue(&self, name: &QueueName, deadline: Instant) -> Result<QueueState, Error> {
        self.inner.topology.inspect(name, deadline).await
    }

    /// Declares a queue, and first its dead-letter pair. True when the queue was not there before.
    ///
    /// # Errors
    /// [`Refusal::Differs`] when it is there with other arguments, and others.
    pub async fn declare_queue(
        &self,
        queue: &QueueDeclaration,
        deadline: Instant,
    ) -> Result<(bool, QueueState), Error> {
        let declared = self.inner.topology.declare(queue, deadline).await?;
        if let Some(pair) = &queue.dead_letter_pair {
            self.inner.publisher.declared(&pair.exchange);
        }
        Ok(declared)
    }

    /// Deletes a queue; how many ready messages went with it.
    ///
    /// # Errors
    /// [`Refusal::QueueMissing`], [`Refusal::InUse`] when a condition does not hold, and others.
    pub async fn delete_queue(
        &self,
        name: &QueueName,
        conditions: DeleteConditions,
        deadline: Instant,
    ) -> Result<u32, Error> {
        self.inner.topology.delete(name, conditions, deadline).await
    }

    /// Empties a queue; how many ready messages it held.
    ///
    /// # Errors
    /// [`Refusal::QueueMissing`], [`Refusal::NotSupported`] and others.
    pub async fn purge_queue(&self, name: &QueueName, deadline: Instant) -> Result<u32, Error> {
        self.inner.topology.purge(name, deadline).await
    }

    /// Whether a publish would be sent now: a publishing connection is up, none is blocked, and the
    /// gateway is not stopping. Asks nobody.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let publisher = &self.inner.publisher;
        let [lanes, _] = publisher.connections();
        !self.is_stopping() && lanes.up().next().is_some() && publisher.blocked().is_none()
    }

    /// Whether shutdown has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }

    /// Connections that are up, by the word of their role. Asks nobody.
    #[must_use]
    pub fn connected(&self) -> [(&'static str, usize); 6] {
        let [publish, isolated, topology, reply, probe] =
            self.connections().map(|(role, connections)| (role.name(), connections.up().count()));
        let slow = (Role::Slow.name(), self.inner.publisher.slow_connections());
        [publish, isolated, slow, topology, reply, probe]
    }

    fn connections(&self) -> [(Role, &Connections); 5] {
        let Inner { publisher, topology, replies, probe, .. } = &*self.inner;
        let [lanes, quarantine] = publisher.connections();
        [
            (Role::Publish, lanes),
            (Role::Quarantine, quarantine),
            (Role::Topology, topology.connections()),
            (Role::Reply, replies.connections()),
            (Role::Probe, probe.connections()),
        ]
    }

    /// The publishing connections. Asks nobody.
    #[must_use]
    pub fn publishing(&self) -> Publishing {
        self.inner.publisher.state()
    }

    /// The reply queue. Asks nobody.
    #[must_use]
    pub fn replies(&self) -> ReplyState {
        let replies = &self.inner.replies;
        ReplyState { ready: replies.is_ready(), waiting: replies.waiting() }
    }

    /// Asks the broker, at most once a second, for a round trip and for these queues' counts.
    pub async fn look(&self, queues: &[QueueName]) -> Look {
        self.inner.probe.look(queues).await
    }

    /// The gateway's own user, where it logs in by name.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.inner.user.as_deref()
    }

    /// Shutdown has begun: not ready from now on; everything is still served.
    pub fn begin_stopping(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    /// Nobody waits any longer for a broker that is away; see [`Unavailable::ShuttingDown`].
    pub fn give_up_waiting(&self) {
        self.connections().into_iter().for_each(|(_, connections)| connections.give_up_waiting());
        self.inner.publisher.give_up_waiting();
    }

    /// Finishes what is being published, then closes channels and connections; ends at the deadline.
    pub async fn close(&self, deadline: Instant) {
        self.begin_stopping();
        self.give_up_waiting();
        let Inner { publisher, publishes, keepers, .. } = &*self.inner;
        publishes.close();
        let unfinished = timeout_at(deadline, publishes.wait()).await.is_err();
        if unfinished {
            tracing::warn!(publishes = publishes.len(), "stopped before every publish had its answer");
        }
        publisher.close();
        self.connections().into_iter().for_each(|(_, connections)| connections.stop());
        keepers.close();
        let goodbye = deadline.max(Instant::now() + GOODBYE);
        // Those that do not say goodbye in time are hung up on by the end of the process.
        let _hung_up = timeout_at(goodbye, keepers.wait()).await;
    }
}

/// Time for closing connections when everything else has used up the deadline.
const GOODBYE: Duration = Duration::from_millis(500);

/// A setting that can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Certificates or keys.
    #[error("TLS to the broker: {reason}")]
    Tls {
        /// What is wrong with which file.
        reason: String,
    },
    /// Sizes or timeouts of a pool.
    #[error("pool: {reason}")]
    Pool {
        /// What is wrong.
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
    /// A connection that has been blocked for longer is replaced; `None` waits for ever.
    pub blocked_timeout: Option<Duration>,
    /// Publishing.
    pub publish: PublishSettings,
    /// RPC calls that may wait for their replies.
    pub max_waiting_calls: usize,
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
    pub quarantine_size: usize,
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
