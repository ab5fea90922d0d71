//! The control queue: other replicas ask there to settle the leases of this one.
//!
//! It is on the connection of the leases, and its name is in each lease id. When RabbitMQ returns a request to it, that connection is
//! gone, and RabbitMQ has put the messages back. So the gateway ends the connection at once when it loses the queue.

mod carried;
mod failure;
pub(super) mod protocol;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use self::requests::{Budgets, Outgoing, Requests};
pub(in crate::broker) use self::requests::{Incoming, NoRoom};
use crate::broker::connection::Connection;
use crate::broker::error::Error;
use crate::broker::own_queue::{self, OwnQueue};
use crate::domain::names::QueueName;
use crate::metrics::Metrics;

/// The beginning of each name that RabbitMQ chooses.
const SERVER_NAMED: &str = "amq.gen-";
/// How long RabbitMQ may take to declare the queue and start the consumer.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);

/// The queue of the replica with this name.
pub(super) fn queue_of(owner: &str) -> Option<QueueName> {
    QueueName::parse(&format!("{SERVER_NAMED}{owner}")).ok()
}

/// The control queue of the current connection.
pub(super) struct Control {
    current: Mutex<Option<(Arc<Connection>, Arc<str>)>>,
    budgets: Budgets,
    outgoing: Outgoing,
    metrics: Metrics,
}

impl Control {
    /// Gives each request to the second value. All requests for copies together take at most `bytes`.
    pub(super) fn new(bytes: usize, metrics: Metrics) -> (Self, Incoming) {
        let (outgoing, incoming) = requests::way();
        (Self { current: Mutex::default(), budgets: Budgets::new(bytes), outgoing, metrics }, incoming)
    }

    /// Whether there is a control queue now.
    pub(super) fn is_open(&self) -> bool {
        // While it is declared, the lock is taken.
        let current = self.current.try_lock();
        current.is_ok_and(|it| it.as_ref().is_some_and(|(connection, _)| connection.is_connected()))
    }

    /// The name of the owner of the leases on this connection. Declares its control queue, if there is none.
    ///
    /// # Errors
    /// RabbitMQ's refusal, or the end of the connection.
    pub(super) async fn owner(&self, connection: &Arc<Connection>) -> Result<Arc<str>, Error> {
        let mut current = self.current.lock().await;
        if let Some((of, owner)) = &*current
            && Arc::ptr_eq(of, connection)
        {
            return Ok(Arc::clone(owner));
        }
        let owner = self.declare(connection).await?;
        *current = Some((Arc::clone(connection), Arc::clone(&owner)));
        Ok(owner)
    }

    async fn declare(&self, connection: &Arc<Connection>) -> Result<Arc<str>, Error> {
        let (outgoing, metrics) = (self.outgoing.clone(), self.metrics.clone());
        let budgets = self.budgets.clone();
        let receiver = |name: String| Requests { owner: owner_of(&name), budgets, outgoing, metrics };
        let opening = own_queue::open(connection, receiver);
        let opened = timeout(DECLARE_TIMEOUT, connection.unless_gone(opening)).await;
        let (channel, queue) = opened.unwrap_or_else(|_| Err(Error::gone())).inspect_err(|_| {
            // The number of the channel is perhaps not usable again.
            connection.numbers().lose_one();
        })?;
        let owner = Arc::clone(&queue.receiver().owner);
        tokio::spawn(end_with_the_queue(Arc::clone(connection), channel, queue));
        Ok(owner)
    }
}

/// Ends the connection when the queue is lost. Holds the channel until then.
async fn end_with_the_queue(
    connection: Arc<Connection>,
    channel: lapin::Channel,
    queue: Arc<OwnQueue<Requests>>,
) {
    queue.until_lost().await;
    if connection.is_connected() {
        tracing::warn!(
            "the control queue of leases is lost: the gateway ends the connection, and RabbitMQ puts their messages back"
        );
    }
    connection.kill();
    drop(channel);
}

fn owner_of(queue: &str) -> Arc<str> {
    Arc::from(queue.strip_prefix(SERVER_NAMED).unwrap_or(queue))
}
