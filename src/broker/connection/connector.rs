//! Starts the connections of every role, and spreads them over the nodes of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::alarms::Alarms;
use super::dial_record::DialRecord;
use super::dialler::{Dialler, Reports};
use super::node::Node;
use super::outage_log::OutageLog;
use super::supervision::SupervisedConnection;
use super::{Connections, Role};
use crate::broker::supervised::{StateSender, supervise};
use crate::broker::{Settings, SettingsError};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;

/// Starts the connections of every role, and spreads them over the nodes of a cluster.
#[derive(Clone)]
pub(in crate::broker) struct Connector(Arc<ConnectorParts>);

struct ConnectorParts {
    settings: Settings,
    metrics: Metrics,
    nodes: Vec<Node>,
    tasks: TaskTracker,
    log: OutageLog,
    lifecycle: Lifecycle,
    /// The index of the node that the next connection dials first.
    next_node: AtomicUsize,
}

impl Connector {
    /// Makes a connector that runs the supervisors of the connections in this tracker.
    ///
    /// # Errors
    /// A setting that can never work, such as an unreadable certificate.
    pub(in crate::broker) fn new(
        settings: &Settings,
        metrics: &Metrics,
        (log, lifecycle): (&OutageLog, &Lifecycle),
        tasks: &TaskTracker,
    ) -> Result<Self, SettingsError> {
        Ok(Self(Arc::new(ConnectorParts {
            nodes: Node::all(settings)?,
            settings: settings.clone(),
            metrics: metrics.clone(),
            tasks: tasks.clone(),
            log: log.clone(),
            lifecycle: lifecycle.clone(),
            next_node: AtomicUsize::new(0),
        })))
    }

    /// Starts to dial `size` connections, called `<role>-<n>` with `n` from `first` on; returns at once.
    pub(in crate::broker) fn start(&self, role: Role, first: usize, size: usize) -> Connections {
        let ConnectorParts { settings, metrics, nodes, tasks, log, lifecycle, next_node } = &*self.0;
        let (changes, watched) = watch::channel(());
        let changes = Arc::new(changes);
        let (stop, alarms) = (CancellationToken::new(), Arc::new(Alarms::new(log.clone())));
        let record = Arc::new(DialRecord::new(nodes.len()));
        let slot = |index: usize| {
            let (sender, slot) = StateSender::new(&changes);
            let first_node = next_node.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
            let nodes = (nodes.clone(), first_node);
            let name = format!("{}-{}", role.name(), first + index);
            let log = log.of_connection(&name);
            let reports = Reports { role, metrics: metrics.clone(), record: Arc::clone(&record), log };
            let dialler = Dialler::new(name, role, nodes, settings, reports);
            let connection = SupervisedConnection::new(dialler, settings, (&alarms, &changes), &stop);
            tasks.spawn(supervise(connection, sender, stop.clone()));
            slot
        };
        let slots = (0..size).map(slot).collect();
        let (give_up, is_on_need) = (lifecycle.draining_token(), role.is_on_need());
        Connections { slots, changed: watched, alarms, record, give_up, stop, is_on_need }
    }
}
