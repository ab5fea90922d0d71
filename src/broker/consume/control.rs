//! The control queue: other replicas ask there to settle the leases of this one.
//!
//! It is on the connection of the leases, and its name is in each lease id. When RabbitMQ returns a request to it, that connection is
//! gone, and RabbitMQ has put the messages back. So the gateway ends the connection at once when it loses the queue.

mod carried;
mod failure;
pub(super) mod protocol;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::counts::ControlResult;
use crate::broker::connection::Connection;
use crate::broker::error::Error;
use crate::broker::own_queue::{self, OwnQueue, Receiver};
use crate::broker::wire::ContentHeader;
use crate::domain::guarded::guarded;
use crate::domain::message::ReceivedMessage;
use crate::domain::names::QueueName;
use crate::metrics::Metrics;

/// The beginning of each name that RabbitMQ chooses.
const SERVER_NAMED: &str = "amq.gen-";
/// How long RabbitMQ may take to declare the queue and start the consumer.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests that wait. Further ones are dropped, and their callers get no answer.
pub(super) const MAX_WAITING: usize = 256;

/// The queue of the replica with this name.
pub(super) fn queue_of(owner: &str) -> Option<QueueName> {
    QueueName::parse(&format!("{SERVER_NAMED}{owner}")).ok()
}

/// The control queue of the current connection.
pub(super) struct Control {
    current: Mutex<Option<(Arc<Connection>, Arc<str>)>>,
    /// The bytes that requests may still take, until they are answered.
    free_bytes: Arc<Semaphore>,
    requests: mpsc::Sender<ReceivedMessage>,
    metrics: Metrics,
}

impl Control {
    /// Gives each request to the second value. All requests together take at most `bytes`.
    pub(super) fn new(bytes: usize, metrics: Metrics) -> (Self, mpsc::Receiver<ReceivedMessage>) {
        let (requests, receiver) = mpsc::channel(MAX_WAITING);
        let free_bytes = Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        (Self { current: Mutex::default(), free_bytes, requests, metrics }, receiver)
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
        let free_bytes = Arc::clone(&self.free_bytes);
        let receiver = |name: String| Requests { owner: owner_of(&name), free_bytes, waiting, metrics };
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

/// Passes requests on. One that finds no room is dropped, and its caller gets no answer.
struct Requests {
    owner: Arc<str>,
    free_bytes: Arc<Semaphore>,
    waiting: mpsc::Sender<ReceivedMessage>,
    metrics: Metrics,
}

impl Receiver for Requests {
    type Kept = OwnedSemaphorePermit;

    fn keep(&self, header: &ContentHeader<'_>) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(header.body_bytes).ok();
        let room = bytes.and_then(|bytes| Arc::clone(&self.free_bytes).try_acquire_many_owned(bytes).ok());
        if room.is_none() {
            ControlResult::Dropped.count(&self.metrics.consume);
        }
        room
    }

    fn receive(&self, room: OwnedSemaphorePermit, mut request: ReceivedMessage) {
        request.body = guarded(request.body, room);
        if self.waiting.try_send(request).is_err() {
            ControlResult::Dropped.count(&self.metrics.consume);
            tracing::debug!("too many requests wait at the control queue of leases: one is dropped");
        }
    }
}
