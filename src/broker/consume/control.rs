//! The control queue: other replicas ask there to settle the leases of this one.
//!
//! It is on the connection of the leases, and its name is in each lease id. When RabbitMQ returns a request to it, that connection is
//! gone, and RabbitMQ has put the messages back. So the gateway ends the connection at once when it loses the queue.

mod failure;
pub(super) mod protocol;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::counts::ControlResult;
use crate::broker::connection::Connection;
use crate::broker::error::Error;
use crate::broker::own_queue::{self, OwnQueue, Receiver};
use crate::broker::wire::ContentHeader;
use crate::domain::message::ReceivedMessage;
use crate::domain::names::QueueName;
use crate::metrics::Metrics;

/// The beginning of each name that RabbitMQ chooses.
const SERVER_NAMED: &str = "amq.gen-";
/// How long RabbitMQ may take to declare the queue and start the consumer.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest request in bytes: a thousand lease ids with their actions, and much spare.
const MAX_REQUEST: u64 = 1024 * 1024;
/// Requests that wait. Further ones are dropped, and their callers get no answer.
pub(super) const MAX_WAITING: usize = 256;

/// The queue of the replica with this name.
pub(super) fn queue_of(owner: &str) -> Option<QueueName> {
    QueueName::parse(&format!("{SERVER_NAMED}{owner}")).ok()
}

/// The control queue of the current connection.
pub(super) struct Control {
    current: Mutex<Option<(Arc<Connection>, Arc<str>)>>,
    requests: mpsc::Sender<ReceivedMessage>,
    metrics: Metrics,
}

impl Control {
    /// Gives each request to the second value.
    pub(super) fn new(metrics: Metrics) -> (Self, mpsc::Receiver<ReceivedMessage>) {
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        (Self { current: Mutex::default(), requests, metrics }, receiver)
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
        let (waiting, metrics) = (self.requests.clone(), self.metrics.clone());
        let receiver = |name: String| Requests { owner: owner_of(&name), waiting, metrics };
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

/// Passes requests on.
struct Requests {
    owner: Arc<str>,
    waiting: mpsc::Sender<ReceivedMessage>,
    metrics: Metrics,
}

impl Receiver for Requests {
    type Kept = ();

    fn keep(&self, header: &ContentHeader<'_>) -> Option<()> {
        let is_kept = header.body_bytes <= MAX_REQUEST;
        if !is_kept {
            ControlResult::Dropped.count(&self.metrics.consume);
        }
        is_kept.then_some(())
    }

    fn receive(&self, (): (), request: ReceivedMessage) {
        if self.waiting.try_send(request).is_err() {
            ControlResult::Dropped.count(&self.metrics.consume);
            tracing::debug!("too many requests wait at the control queue of leases: one is dropped");
        }
    }
}
