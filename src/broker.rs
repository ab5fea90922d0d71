//! The side of the gateway that speaks to RabbitMQ: other modules reach RabbitMQ only through [`Broker`].
//!
//! Guarantees: the gateway never reports a message as confirmed that RabbitMQ does not hold; each caller gets the answer
//! to its own request; when the connection to RabbitMQ is lost, callers wait up to their deadlines before they get an
//! error. Publishing, topology and probes each have their own connections, so an alarm or a loss on one does not affect
//! the others.
//! This module knows no HTTP, and no lapin type leaves it.

mod channels;
mod connection;
mod consume;
mod convert;
mod destination;
mod error;
mod lapin_compat;
mod observed;
mod overflow;
mod own_queue;
mod probe;
mod publish;
mod rpc;
mod settings;
mod state;
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
pub use self::consume::{
    Action, Consuming, LeaseScope, Leased, NoReplyTo, NotSettled, Pull, Pulled, Retried, Settled,
};
pub use self::error::{Cause, Denial, Error, Refusal, SharedResource, Unavailable};
pub use self::observed::Observed;
pub use self::probe::Look;
pub use self::publish::{Place, Publish, PublishFailure, PublishSequence, Receipt};
pub use self::rpc::Call;
pub use self::settings::{
    Address, ClientCertificate, ConsumeSettings, Login, PublishSettings, Settings, SettingsError, Tls,
    TopologyFile,
};
pub use self::state::{LeaseState, Publishing, ReplyState, RoleState};
pub use self::topology::{DocumentFailure, ItemResults, Topology, TopologyFileState};
pub use self::wire::Server;

use self::connection::{Connections, Connector, OutageLog, Role};
use self::probe::Probe;
use self::publish::Publisher;
use self::rpc::Replies;
use self::topology::KeptFile;
use crate::domain::outcome::Outcome;
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

/// The handle to RabbitMQ. It is cheap to clone. It dials from the start, and works as soon as RabbitMQ is reachable.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    publisher: Publisher,
    metrics: Metrics,
    /// Counters of the outcomes that occurred, in the order of [`Outcome::ALL`].
    outcomes: [OnceLock<IntCounter>; Outcome::ALL.len()],
    topology: Arc<Topology>,
    /// The topology file, if there is one.
    topology_file: Option<KeptFile>,
    replies: Replies,
    consuming: Consuming,
    probe: Probe,
    user: Option<String>,
    lifecycle: Lifecycle,
    closed: CancellationToken,
    /// Counts the publishes without a result, requests of calls included.
    unfinished: TaskTracker,
    log: OutageLog,
    supervisors: TaskTracker,
}

impl Inner {
    fn count(&self, outcome: Outcome) {
        let counter = || self.metrics.publishes.with_label_values(&[outcome.as_str()]);
        self.outcomes[outcome as usize].get_or_init(counter).inc();
    }
}

impl Broker {
    /// Starts to dial; returns at once. Needs a tokio runtime.
    ///
    /// # Errors
    /// A setting that can never work, such as an unreadable certificate. An absent RabbitMQ is no error.
    pub fn start(
        settings: &Settings,
        metrics: &Metrics,
        lifecycle: &Lifecycle,
    ) -> Result<Self, SettingsError> {
        let supervisors = TaskTracker::new();
        // The order decides how the connections are spread over the nodes.
        let log = OutageLog::default();
        let connector = Connector::new(settings, metrics, (&log, lifecycle), &supervisors)?;
        let publisher = Publisher::start(&connector, &settings.publish, metrics.clone())?;
        let topology =
            Topology::new(&connector, settings.topology_connections, publisher.destinations(), lifecycle);
        let topology = Arc::new(topology);
        let user = match &settings.login {
            Login::Plain { user, .. } => Some(user.clone()),
            Login::External => None,
        };
        let (consuming, work) =
            Consuming::new(&connector, &settings.consume, &topology, (metrics, lifecycle), user.clone());
        let reply_connection = connector.start(Role::Reply, 0, 1);
        let probe = Probe::new(connector.start(Role::Probe, 0, 1));
        let unmatched = metrics.unmatched_replies.clone();
        let (replies, task) = Replies::start(reply_connection, settings, unmatched);
        supervisors.spawn(task);
        let inner = Inner {
            publisher,
            metrics: metrics.clone(),
            outcomes: Default::default(),
            topology,
            topology_file: KeptFile::of(settings),
            replies,
            consuming,
            probe,
            user,
            lifecycle: lifecycle.clone(),
            closed: CancellationToken::new(),
            unfinished: TaskTracker::new(),
            log,
            supervisors,
        };
        let broker = Self { inner: Arc::new(inner) };
        tokio::spawn(broker.clone().tell_outcomes_at_abort());
        tokio::spawn(broker.clone().answer_replicas(work.requests));
        tokio::spawn(broker.clone().publish_copies(work.orders));
        tokio::spawn(broker.clone().keep_topology_file_applied());
        Ok(broker)
    }

    /// Publishes a message and waits until its outcome is known, at most until its deadline.
    /// When the caller leaves, the gateway finishes a message that it has written, and writes no other one.
    ///
    /// # Errors
    /// The failure tells the outcome of the message, see [`PublishFailure::outcome`].
    pub async fn publish(&self, publish: &Publish) -> Result<Receipt, PublishFailure> {
        let answer = self.send(publish, None).await;
        self.count_outcome(&answer);
        answer
    }

    /// Publishes a message like [`Self::publish`], after the earlier messages of its sequence with its routing key.
    ///
    /// # Errors
    /// The same as of [`Self::publish`].
    pub async fn publish_in_order(
        &self,
        publish: &Publish,
        place: &Place,
    ) -> Result<Receipt, PublishFailure> {
        let answer = self.send(publish, Some(place)).await;
        self.count_outcome(&answer);
        answer
    }

    fn count_outcome(&self, answer: &Result<Receipt, PublishFailure>) {
        let outcome = answer.as_ref().map_or_else(|failure| failure.outcome, |receipt| receipt.outcome);
        self.inner.count(outcome);
    }

    /// Publishes a message, or the request of a call, and counts no outcome.
    async fn send(&self, publish: &Publish, place: Option<&Place>) -> Result<Receipt, PublishFailure> {
        let _unfinished = self.inner.unfinished.token();
        self.inner.publisher.publish(publish, place).await
    }

    /// Topology operations: declare, inspect, purge and delete queues.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Takes messages from queues, and settles them.
    #[must_use]
    pub fn consuming(&self) -> &Consuming {
        &self.inner.consuming
    }

    /// Whether the gateway would send a publish now: a shared lane is open, a connection for isolated publishes is up or
    /// was up within the last minute, no alarm blocks publishers, and the gateway is not stopping. A required topology file
    /// must have been applied once. Does not ask RabbitMQ.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let Inner { publisher, topology_file, .. } = &*self.inner;
        let lacks_topology = topology_file.as_ref().is_some_and(KeptFile::is_missing);
        !self.is_stopping() && publisher.can_publish() && publisher.blocked().is_none() && !lacks_topology
    }

    /// Whether a shared lane is open and no alarm blocks publishers, so that RabbitMQ takes messages now.
    #[must_use]
    pub fn takes_messages(&self) -> bool {
        self.inner.publisher.takes_messages()
    }

    /// Resolves when RabbitMQ takes messages.
    pub async fn until_takes_messages(&self) {
        self.inner.publisher.until_takes_messages().await;
    }

    /// Whether shutdown has begun.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.inner.lifecycle.is_closing()
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

    /// Waits until the gateway has applied a required topology file.
    pub async fn has_required_topology(&self) {
        if let Some(file) = &self.inner.topology_file {
            file.until_not_missing().await;
        }
    }

    /// The gateway's own user, if it logs in with a user name.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.inner.user.as_deref()
    }

    /// When the process aborts, tells each caller the outcome of its request at once: `unknown` if the gateway has
    /// written it, else `not_sent`.
    async fn tell_outcomes_at_abort(self) {
        let Inner { publisher, replies, lifecycle, closed, .. } = &*self.inner;
        if closed.run_until_cancelled(lifecycle.aborting()).await.is_some() {
            publisher.give_up();
            replies.give_up();
        }
    }

    /// Keeps the topology file applied, if there is one.
    async fn keep_topology_file_applied(self) {
        let Inner { topology, topology_file: Some(file), closed, .. } = &*self.inner else { return };
        let _closed = closed.run_until_cancelled(file.keep_applied(topology)).await;
    }

    /// Whether the gateway tells callers their outcomes without waiting for RabbitMQ's answers.
    fn is_aborting(&self) -> bool {
        self.inner.lifecycle.is_aborting()
    }

    /// Waits for the first publishing connection, and returns the server that it reached; `None` if shutdown begins
    /// before.
    pub async fn first_reached(&self) -> Option<Reached> {
        let [lanes, _] = self.inner.publisher.connections();
        let connection = lanes.wait_long().await.ok()?;
        Some(connection.reached(self.user()))
    }

    /// Finishes the publishes in flight, at most until the deadline, then closes channels and connections.
    pub async fn close(&self, deadline: Instant) {
        let Inner { publisher, topology, consuming, unfinished, lifecycle, closed, supervisors, .. } =
            &*self.inner;
        lifecycle.drain();
        unfinished.close();
        let is_late = timeout_at(deadline, unfinished.wait()).await.is_err();
        if is_late {
            tracing::warn!(
                publishes = unfinished.len(),
                "the gateway stops before RabbitMQ has answered every publish"
            );
        }
        consuming.give_back(deadline.max(Instant::now() + GOODBYE)).await;
        self.inner.log.stop();
        publisher.close();
        consuming.stop();
        self.connections().into_iter().for_each(|(_, connections)| connections.stop());
        topology.stop();
        supervisors.close();
        closed.cancel();
        let goodbye = deadline.max(Instant::now() + GOODBYE);
        // A connection that is not closed in time ends with the process.
        let _hung_up = timeout_at(goodbye, supervisors.wait()).await;
    }
}

/// Time for closing connections if the other steps have used up the deadline.
const GOODBYE: Duration = Duration::from_millis(500);
