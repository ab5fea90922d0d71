//! The broker side: [`Broker`] is all that others see of it.
//!
//! Promises: never says that a message is confirmed when the broker does not hold it; an answer
//! belongs to its own caller; a lost broker costs time, not errors, up to the caller's deadline.
//! Publishing, topology and probes have connections of their own and share no fate.
//! Knows no HTTP; lapin stays inside.

mod channels;
mod connection;
mod convert;
mod destination;
mod error;
mod lapin_compat;
mod overflow;
mod probe;
mod publish;
mod rpc;
mod settings;
mod supervised;
mod topology;
mod wire;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::connection::{Reached, Trial, Unreached, try_all};
pub use self::error::{Cause, Denial, Error, Refusal, Unavailable};
pub use self::probe::Look;
pub use self::publish::{Attempts, Publish, PublishFailure, Receipt};
pub use self::rpc::Call;
pub use self::settings::{Address, ClientCertificate, Login, PublishSettings, Settings, SettingsError, Tls};
pub use self::topology::Topology;
pub use self::wire::Server;

use self::connection::{Connections, Connector, OutageLog, Role};
use self::probe::Probe;
use self::publish::Publisher;
use self::rpc::Replies;
use crate::domain::names::QueueName;
use crate::domain::outcome::Outcome;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

/// The broker. Cheap to clone; dials from the start, and works as soon as the broker is there.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    publisher: Publisher,
    metrics: Metrics,
    /// Counters of the outcomes that came, in the order of [`Outcome::ALL`].
    outcomes: [OnceLock<IntCounter>; Outcome::ALL.len()],
    topology: Topology,
    replies: Replies,
    probe: Probe,
    user: Option<String>,
    lifecycle: Lifecycle,
    closed: CancellationToken,
    publishes: TaskTracker,
    log: OutageLog,
    keepers: TaskTracker,
}

impl Inner {
    fn count(&self, outcome: Outcome) {
        let counter = || self.metrics.publishes.with_label_values(&[outcome.as_str()]);
        self.outcomes[outcome as usize].get_or_init(counter).inc();
    }
}

/// State of the publishing connections, as the gateway sees it without asking the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// The broker's reason while it blocks publishers.
    pub blocked: Option<String>,
    /// Channels that there should be for many publishes at a time.
    pub lanes: usize,
    /// Confirm channels that are open, the isolated ones included.
    pub channels: usize,
    /// Publishes that were written and wait for the broker's verdict.
    pub in_flight: usize,
    /// Publishes that wait for a place on a channel.
    pub waiting: usize,
    /// Publishes that were answered `unknown` and whose confirm may still come.
    pub overdue: usize,
}

/// State of the connections of one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleState {
    /// The role's word in connection names and metrics.
    pub name: &'static str,
    /// Whether they are dialled when they are needed.
    pub is_on_need: bool,
    /// Connections that there should be now.
    pub wanted: usize,
    /// Connections that are up.
    pub connected: usize,
    /// Why RabbitMQ refuses further connections, where it refused the last dials.
    pub denial: Option<Denial>,
}

/// State of the reply queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyState {
    /// Whether it is there.
    pub ready: bool,
    /// Why RabbitMQ refuses it, where it refused its last declaration.
    pub denial: Option<Denial>,
    /// Calls that wait for their replies.
    pub waiting: usize,
}

impl Broker {
    /// Starts to dial; returns at once. Needs a tokio runtime.
    ///
    /// # Errors
    /// A setting that can never work, such as an unreadable certificate. An absent broker is no error.
    pub fn start(
        settings: &Settings,
        metrics: &Metrics,
        lifecycle: &Lifecycle,
    ) -> Result<Self, SettingsError> {
        let keepers = TaskTracker::new();
        // In this order, they are spread over the nodes.
        let log = OutageLog::default();
        let connector = Connector::new(settings, metrics, (&log, lifecycle), &keepers)?;
        let publisher = Publisher::start(&connector, &settings.publish, metrics.clone())?;
        let topology =
            Topology::new(&connector, settings.topology_connections, publisher.destinations(), lifecycle);
        let reply_connection = connector.start(Role::Reply, 0, 1);
        let probe = Probe::new(connector.start(Role::Probe, 0, 1));
        let unmatched = metrics.unmatched_replies.clone();
        let (replies, task) = Replies::start(reply_connection, settings, unmatched);
        keepers.spawn(task);
        let user = match &settings.login {
            Login::Plain { user, .. } => Some(user.clone()),
            Login::External => None,
        };
        let inner = Inner {
            publisher,
            metrics: metrics.clone(),
            outcomes: Default::default(),
            topology,
            replies,
            probe,
            user,
            lifecycle: lifecycle.clone(),
            closed: CancellationToken::new(),
            publishes: TaskTracker::new(),
            log,
            keepers,
        };
        let broker = Self { inner: Arc::new(inner) };
        tokio::spawn(broker.clone().tell_outcomes_at_abort());
        Ok(broker)
    }

    /// Publishes a message and waits until its outcome is known, at the longest to its deadline.
    /// When the caller goes away, what has been written is finished, and nothing is written any more.
    ///
    /// # Errors
    /// Says what is true of the message, see [`PublishFailure::outcome`].
    pub async fn publish(&self, publish: &Publish) -> Result<Receipt, PublishFailure> {
        let answer = self.send(publish).await;
        let outcome = answer.as_ref().map_or_else(|failure| failure.outcome, |receipt| receipt.outcome);
        self.inner.count(outcome);
        answer
    }

    /// A message, or the request of a call.
    async fn send(&self, publish: &Publish) -> Result<Receipt, PublishFailure> {
        let _unfinished = self.inner.publishes.token();
        self.inner.publisher.publish(publish).await
    }

    /// Queues: declare, inspect, purge and delete.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Whether a publish would be sent now: a lane that publishes share is open, a connection for isolated publishes is up or was
    /// within the last minute, no alarm blocks publishers, and the gateway is not stopping. Does not ask RabbitMQ.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let publisher = &self.inner.publisher;
        !self.is_stopping() && publisher.can_publish() && publisher.blocked().is_none()
    }

    /// Whether shutdown has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.lifecycle.is_closing()
    }

    /// The connections of each role. Does not ask RabbitMQ.
    #[must_use]
    pub fn roles(&self) -> [RoleState; 8] {
        let [publish, isolated, topology, reply, probe] =
            self.connections().map(|(role, connections)| role.state([connections]));
        let slow = self.inner.publisher.slow_connections();
        let [removal, declaration] = self.inner.topology.alone();
        [publish, isolated, slow, topology, removal, declaration, reply, probe]
    }

    fn connections(&self) -> [(Role, &Connections); 5] {
        let Inner { publisher, topology, replies, probe, .. } = &*self.inner;
        let [lanes, isolated] = publisher.connections();
        [
            (Role::Publish, lanes),
            (Role::Isolated, isolated),
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
        ReplyState { ready: replies.is_ready(), denial: replies.denial(), waiting: replies.waiting() }
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

    /// When the process aborts, each caller gets the outcome of its request at once: unknown where the gateway has written it,
    /// else not sent.
    async fn tell_outcomes_at_abort(self) {
        let Inner { publisher, replies, lifecycle, closed, .. } = &*self.inner;
        if closed.run_until_cancelled(lifecycle.aborting()).await.is_some() {
            publisher.give_up();
            replies.give_up();
        }
    }

    /// Whether callers are told their outcomes before RabbitMQ's answers.
    fn is_aborting(&self) -> bool {
        self.inner.lifecycle.is_aborting()
    }

    /// Waits for the first publishing connection, and tells where it leads; none when shutdown begins before.
    pub async fn first_reached(&self) -> Option<Reached> {
        let [lanes, _] = self.inner.publisher.connections();
        let link = lanes.wait_long().await.ok()?;
        Some(link.reached(self.user()))
    }

    /// Finishes what is being published, then closes channels and connections; ends at the deadline.
    pub async fn close(&self, deadline: Instant) {
        let Inner { publisher, topology, publishes, lifecycle, closed, keepers, .. } = &*self.inner;
        lifecycle.drain();
        publishes.close();
        let unfinished = timeout_at(deadline, publishes.wait()).await.is_err();
        if unfinished {
            tracing::warn!(publishes = publishes.len(), "stopped before every publish had its answer");
        }
        self.inner.log.stop();
        publisher.close();
        self.connections().into_iter().for_each(|(_, connections)| connections.stop());
        topology.stop();
        keepers.close();
        closed.cancel();
        let goodbye = deadline.max(Instant::now() + GOODBYE);
        // Those that do not say goodbye in time are hung up on by the end of the process.
        let _hung_up = timeout_at(goodbye, keepers.wait()).await;
    }
}

/// Time for closing connections when everything else has used up the deadline.
const GOODBYE: Duration = Duration::from_millis(500);
