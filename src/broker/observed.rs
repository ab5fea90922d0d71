//! The view of health checks and metrics on the broker side.

use super::probe::Look;
use super::state::{LeaseState, Publishing, ReplyState, RoleState};
use super::topology::{KeptFile, TopologyFileState};
use super::{Broker, Inner};
use crate::domain::names::QueueName;

/// The state of the broker side. It can do nothing.
#[derive(Clone, Copy)]
pub struct Observed<'a>(&'a Broker);

impl Observed<'_> {
    /// Whether the gateway would send a publish now, see [`Broker::is_ready`].
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// The state of the connections of each role. Does not ask RabbitMQ.
    #[must_use]
    pub fn roles(&self) -> [RoleState; 9] {
        let [publish, isolated, topology_role, reply, probe] =
            self.0.connections().map(|(role, connections)| role.state([connections]));
        let Inner { publisher, topology, consuming, .. } = &*self.0.inner;
        let slow = publisher.slow_connections();
        let [removal, declaration] = topology.alone();
        let lease = consuming.role();
        [publish, isolated, slow, topology_role, removal, declaration, reply, lease, probe]
    }

    /// The state of the publishing connections. Does not ask RabbitMQ.
    #[must_use]
    pub fn publishing(&self) -> Publishing {
        self.0.inner.publisher.state()
    }

    /// The state of the reply queue. Does not ask RabbitMQ.
    #[must_use]
    pub fn replies(&self) -> ReplyState {
        let replies = &self.0.inner.replies;
        ReplyState { ready: replies.is_ready(), denial: replies.denial(), waiting: replies.waiting() }
    }

    /// The messages that callers hold, and their limits. Does not ask RabbitMQ.
    #[must_use]
    pub fn leases(&self) -> LeaseState {
        self.0.inner.consuming.state()
    }

    /// The state of the topology file, if there is one. Does not ask RabbitMQ.
    #[must_use]
    pub fn topology_file(&self) -> Option<TopologyFileState> {
        self.0.inner.topology_file.as_ref().map(KeptFile::state)
    }

    /// Asks RabbitMQ, at most once a second, for a round trip and for the counts of these queues.
    pub async fn look(&self, queues: &[QueueName]) -> Look {
        self.0.inner.probe.look(queues).await
    }
}

impl Broker {
    /// The state of this side, for health checks and metrics.
    #[must_use]
    pub fn observed(&self) -> Observed<'_> {
        Observed(self)
    }
}
