//! The connections of one role, each in a slot that one task keeps filled, with a backoff between dials.
//!
//! The backoff limits dials, never callers: a caller that needs a connection waits for a slot until its own
//! deadline. Does not use lapin's auto-recovery (confirms hung for whole outages). The dialler bounds each dial.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alarms::Alarms;
use super::dial_record::{DialRecord, Refused};
use super::dialler::{Dialler, Reports};
use super::error::{Denial, Error, Unavailable};
use super::link::Link;
use super::login::tls_connector;
use super::outage_log::OutageLog;
use super::socket::Node;
use super::supervised::{Place, State, supervise};
use super::supervised_connection::SupervisedConnection;
use super::{PublishSettings, RoleState, Settings, SettingsError};
use crate::metrics::Metrics;

/// Room in a frame for the properties of a message beside its headers: nine texts of 255 bytes, and more.
const OTHER_PROPERTIES: usize = 4 * 1024;
/// Smallest frame for publishing, in bytes: a larger body is cut in several, which costs little.
const PUBLISH_FRAME: usize = 32 * 1024;

/// What a role's connections are used for. Each role has connections of its own, so an alarm that blocks publishing
/// does not affect declarations, for example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Publishing with confirms, many in flight. An alarm blocks these.
    Publish,
    /// Publishing messages that travel alone, one in flight on each channel.
    Quarantine,
    /// Publishing to one destination whose publishes stay unanswered; dialled on need.
    Slow,
    /// Declare, inspect, delete.
    Topology,
    /// Purge, and delete under conditions, one at a time: these may take long, and some make RabbitMQ close the connection.
    /// Dialled on need.
    Removal,
    /// Declare with arguments that the gateway does not know, and operations that RabbitMQ 4.0 may refuse in too many bytes, one at
    /// a time: some make RabbitMQ close the connection. Dialled on need.
    Declaration,
    /// Replies to RPC calls.
    Reply,
    /// Health checks.
    Probe,
}

impl Role {
    /// The role's word in connection names and logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Quarantine => "quarantine",
            Self::Slow => "slow",
            Self::Topology => "topology",
            Self::Removal => "removal",
            Self::Declaration => "declaration",
            Self::Reply => "reply",
            Self::Probe => "probe",
        }
    }

    /// Whether its connections are dialled when they are needed.
    fn is_on_need(self) -> bool {
        matches!(self, Self::Slow | Self::Removal | Self::Declaration)
    }

    /// The state of its connections, in as many groups as there are.
    pub(super) fn state<'a>(self, groups: impl IntoIterator<Item = &'a Connections>) -> RoleState {
        let (name, is_on_need) = (self.name(), self.is_on_need());
        let none = RoleState { name, is_on_need, wanted: 0, connected: 0, denial: None };
        groups.into_iter().fold(none, |all, group| RoleState {
            wanted: all.wanted + group.len(),
            connected: all.connected + group.up().count(),
            denial: all.denial.or_else(|| group.denial()),
            ..all
        })
    }

    /// Largest frame that is agreed to, in bytes; lapin's buffers are 64 times as large. The properties of a
    /// message and the arguments of a declare must fit one.
    pub(super) fn frame_max(self, publish: &PublishSettings) -> usize {
        match self {
            Self::Publish
            | Self::Quarantine
            | Self::Slow
            | Self::Topology
            | Self::Removal
            | Self::Declaration => {
                (publish.max_header_bytes + OTHER_PROPERTIES).next_power_of_two().max(PUBLISH_FRAME)
            }
            // What others send has RabbitMQ's own limit.
            Self::Reply => 128 * 1024,
            Self::Probe => 8 * 1024,
        }
    }
}

/// All connections of one role.
pub(super) struct Connections {
    slots: Vec<watch::Receiver<State<Arc<Link>>>>,
    changed: watch::Receiver<()>,
    alarms: Arc<Alarms>,
    record: Arc<DialRecord>,
    give_up: CancellationToken,
    stop: CancellationToken,
    /// They are dialled when they are needed: before a dial has failed their absence says nothing of RabbitMQ.
    is_on_need: bool,
}

/// Starts the connections of every role, and spreads them over the nodes of a cluster.
#[derive(Clone)]
pub(super) struct Connector(Arc<ConnectorParts>);

struct ConnectorParts {
    settings: Settings,
    metrics: Metrics,
    nodes: Vec<Node>,
    tasks: TaskTracker,
    log: OutageLog,
    /// The node that the next connection dials first.
    next_node: AtomicUsize,
}

impl Connector {
    /// With the tasks that keep the connections open in this tracker.
    ///
    /// # Errors
    /// A setting that can never work, such as an unreadable certificate.
    pub(super) fn new(
        settings: &Settings,
        metrics: &Metrics,
        log: &OutageLog,
        tasks: &TaskTracker,
    ) -> Result<Self, SettingsError> {
        let tls = settings.tls.as_ref().map(tls_connector).transpose()?;
        let node = |address: &super::Address| Node { address: address.clone(), tls: tls.clone() };
        Ok(Self(Arc::new(ConnectorParts {
            nodes: settings.addresses.iter().map(node).collect(),
            settings: settings.clone(),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            log: log.clone(),
            next_node: AtomicUsize::new(0),
        })))
    }

    /// Starts dialling `size` connections, called `<role>-<n>` from `first` on; returns at once.
    pub(super) fn start(&self, role: Role, first: usize, size: usize) -> Connections {
        let ConnectorParts { settings, metrics, nodes, tasks, log, next_node } = &*self.0;
        let (changes, watched) = watch::channel(());
        let changes = Arc::new(changes);
        let (stop, alarms) = (CancellationToken::new(), Arc::new(Alarms::new(log.clone())));
        let record = Arc::new(DialRecord::new(nodes.len()));
        let slot = |index: usize| {
            let (place, slot) = Place::new(&changes);
            let first_node = next_node.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
            let nodes = (nodes.clone(), first_node);
            let name = format!("{}-{}", role.name(), first + index);
            let log = log.of_connection(&name);
            let reports = Reports { role, metrics: metrics.clone(), record: Arc::clone(&record), log };
            let dialler = Dialler::new(name, role, nodes, settings, reports);
            let connection = SupervisedConnection::new(dialler, settings, (&alarms, &changes), &stop);
            tasks.spawn(supervise(connection, place, stop.clone()));
            slot
        };
        let slots = (0..size).map(slot).collect();
        Connections {
            slots,
            changed: watched,
            alarms,
            record,
            give_up: CancellationToken::new(),
            stop,
            is_on_need: role.is_on_need(),
        }
    }
}

impl Connections {
    /// Every connection that is up, blocked or not.
    pub(super) fn up(&self) -> impl Iterator<Item = Arc<Link>> {
        self.slots.iter().filter_map(usable)
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the broker blocks publishers. Alarms hold for a whole cluster, and a connection learns
    /// of one only by publishing, so one that knows speaks for all.
    pub(super) fn blocked(&self) -> Option<String> {
        self.alarms.reason()
    }

    /// Waits for what comes before a message is written.
    ///
    /// # Errors
    /// [`Unavailable::Blocked`] at once, [`Unavailable::Denied`] as soon as it is certain; at the deadline why it took so long.
    pub(super) async fn unwritten<T>(
        &self,
        deadline: Instant,
        wait: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.until_blocked() => Err(Error::NotSent(Unavailable::Blocked)),
            done = timeout_at(deadline, wait) => done.unwrap_or_else(|_| Err(self.why_busy())),
            why = self.until_denied() => Err(Error::NotSent(Unavailable::Denied(why))),
        }
    }

    /// Ends when no connection is up and RabbitMQ refuses the gateway for certain, see [`DialRecord`].
    pub(super) async fn until_denied(&self) -> Denial {
        let refused = || if self.up().next().is_some() { None } else { self.record.refused() };
        Refused::until_certain(self.changed.clone(), refused).await
    }

    /// Why RabbitMQ refuses further connections, where the last dial of every address was refused.
    pub(super) fn denial(&self) -> Option<Denial> {
        self.record.refused().map(|refused| refused.why)
    }

    /// Whether no connection has been up for so long, or none has ever been.
    pub(super) fn are_absent_for(&self, time: Duration) -> bool {
        self.up().next().is_none() && self.record.is_lost_for(time)
    }

    /// Ends when the broker blocks publishers; at once when it does already.
    async fn until_blocked(&self) {
        let mut changed = self.changed.clone();
        changed.mark_unchanged();
        while self.blocked().is_none() {
            if changed.changed().await.is_err() {
                // The tasks of the slots have ended, and with them every alarm.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A connection, waiting for one until the deadline.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`] at the deadline, [`Unavailable::Denied`] as soon as it is certain, and at the deadline;
    /// [`Unavailable::ShuttingDown`].
    pub(super) async fn wait(&self, deadline: Instant) -> Result<Arc<Link>, Error> {
        tokio::select! {
            biased;
            link = timeout_at(deadline, self.wait_long()) => link.unwrap_or_else(|_| Err(self.why_down())),
            why = self.until_denied() => Err(Error::NotSent(Unavailable::Denied(why))),
        }
    }

    /// A connection, waiting for one for as long as it takes; for callers with a deadline of their own.
    ///
    /// # Errors
    /// [`Unavailable::ShuttingDown`].
    pub(super) async fn wait_long(&self) -> Result<Arc<Link>, Error> {
        self.wait_until(|| self.up().next()).await
    }

    /// The connection of one slot, where it is up.
    pub(super) fn slot(&self, slot: usize) -> Option<Arc<Link>> {
        self.slots.get(slot).and_then(usable)
    }

    /// A receiver that notices each change of a slot, and each beginning and end of an alarm.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.clone()
    }

    /// The connection of one slot, waiting for it for as long as it takes.
    ///
    /// # Errors
    /// [`Unavailable::ShuttingDown`].
    pub(super) async fn wait_slot(&self, slot: usize) -> Result<Arc<Link>, Error> {
        self.wait_until(|| self.slot(slot)).await
    }

    async fn wait_until(&self, pick: impl Fn() -> Option<Arc<Link>>) -> Result<Arc<Link>, Error> {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            if let Some(link) = pick() {
                return Ok(link);
            }
            tokio::select! {
                () = self.given_up() => return Err(Error::NotSent(Unavailable::ShuttingDown)),
                change = changed.changed() => if change.is_err() { return Err(Error::NotSent(Unavailable::ShuttingDown)) },
            }
        }
    }

    /// Ends after [`Self::give_up_waiting`].
    pub(super) async fn given_up(&self) {
        self.give_up.cancelled().await;
    }

    /// Why there was no place to publish, or no turn, until the deadline.
    pub(super) fn why_busy(&self) -> Error {
        if self.up().next().is_some() { Error::NotSent(Unavailable::Busy) } else { self.why_down() }
    }

    /// Why there is no connection now.
    pub(super) fn why_down(&self) -> Error {
        if let Some(why) = self.denial() {
            return Error::NotSent(Unavailable::Denied(why));
        }
        let has_failed = self.slots.iter().any(|slot| slot.borrow().has_failed());
        let is_busy = self.is_on_need && !has_failed;
        Error::NotSent(if is_busy { Unavailable::Busy } else { Unavailable::NoConnection })
    }

    /// From now on no caller waits for a connection that is not up.
    pub(super) fn give_up_waiting(&self) {
        self.give_up.cancel();
    }

    /// Whether no caller waits for a connection any more.
    pub(super) fn has_given_up(&self) -> bool {
        self.give_up.is_cancelled()
    }

    /// Cancelled when they are closed for good.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether they are being closed for good.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Hangs up at once, for good: RabbitMQ, which may still be at an operation, would not answer a close before that is done.
    pub(super) fn hang_up(&self) {
        let up: Vec<_> = self.up().collect();
        self.stop();
        for link in up {
            link.kill();
        }
    }

    /// Closes all connections; the slots' tasks end when that is done.
    pub(super) fn stop(&self) {
        self.give_up.cancel();
        self.stop.cancel();
    }
}

fn usable(slot: &watch::Receiver<State<Arc<Link>>>) -> Option<Arc<Link>> {
    slot.borrow().part().filter(|link| link.is_usable()).cloned()
}

/// Pause before a channel is opened again where the last try failed although the connection is up.
pub(super) const REOPEN_PAUSE: Duration = Duration::from_millis(20);
