//! The reply queue and the callers waiting on it.
//!
//! One exclusive, auto-deleted queue on a connection of its own, named afresh by the broker on each
//! connection, so that an alarm on the publishing side does not hold back replies. A reply belongs
//! to the caller with its correlation id, which nobody can guess; every other one is counted and
//! dropped. When the queue is lost, all who wait on it are told at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable as AmqpTable;
use lapin::{Channel, Consumer};
use prometheus::IntCounter;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;
use uuid::Uuid;

use super::connections::{Connections, REFUSED_DELAY};
use super::convert::{self, short};
use super::error::{Cause, Error, Unavailable};
use super::pace::Crowd;
use crate::domain::message::ReceivedMessage;

/// How long the broker may take to declare the queue and start the consumer.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the queue is declared again.
const REDECLARE_PAUSE: Duration = Duration::from_millis(50);

/// The reply queue of now, and the one after it.
pub(super) struct Replies {
    connections: Arc<Connections>,
    current: watch::Receiver<Option<Arc<ReplyQueue>>>,
    max_waiting: usize,
}

impl Replies {
    /// Keeps a reply queue on `connections` until they are stopped; the second part is the task.
    pub(super) fn start(
        connections: Arc<Connections>,
        max_waiting: usize,
        unmatched: IntCounter,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, current) = watch::channel(None);
        let task = keep(Arc::clone(&connections), sender, unmatched);
        (Self { connections, current, max_waiting }, task)
    }

    /// A place to wait for one reply.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`] or [`Unavailable::LoginRefused`] without a reply queue until the deadline,
    /// [`Unavailable::TooManyCalls`].
    pub(super) async fn expect(&self, deadline: Instant) -> Result<Waiting, Error> {
        let mut current = self.current.clone();
        loop {
            let found = async { current.wait_for(Option::is_some).await.map(|queue| queue.clone()) };
            let queue = match timeout_at(deadline, found).await {
                Ok(Ok(queue)) => queue,
                Ok(Err(_)) => return Err(Error::NotSent(Unavailable::ShuttingDown)),
                Err(_) => return Err(self.connections.why_down()),
            };
            // A queue that was lost just now has been replaced in the channel, or will be.
            match queue.map(|queue| queue.expect(self.max_waiting)) {
                Some(Ok(waiting)) => return Ok(waiting),
                Some(Err(Refused::TooMany)) => return Err(Error::NotSent(Unavailable::TooManyCalls)),
                Some(Err(Refused::Lost)) | None => sleep(REDECLARE_PAUSE).await,
            }
        }
    }

    /// The connection.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Whether there is a reply queue.
    pub(super) fn is_ready(&self) -> bool {
        self.current.borrow().is_some()
    }

    /// Callers that wait.
    pub(super) fn waiting(&self) -> usize {
        self.current.borrow().as_ref().map_or(0, |queue| queue.lock().as_ref().map_or(0, HashMap::len))
    }
}

type Waiters = HashMap<Uuid, oneshot::Sender<ReceivedMessage>>;

/// One reply queue; its table of callers is gone when the queue is.
struct ReplyQueue {
    name: String,
    waiters: Mutex<Option<Waiters>>,
    crowd: Crowd,
}

enum Refused {
    Lost,
    TooMany,
}

impl ReplyQueue {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Waiters>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(self: Arc<Self>, max_waiting: usize) -> Result<Waiting, Refused> {
        let (sender, reply) = oneshot::channel();
        let id = Uuid::new_v4();
        match &mut *self.lock() {
            None => return Err(Refused::Lost),
            Some(waiters) if waiters.len() >= max_waiting => return Err(Refused::TooMany),
            Some(waiters) => {
                waiters.insert(id, sender);
                self.crowd.set(waiters.len());
            }
        }
        Ok(Waiting { queue: self, id, reply })
    }

    /// From now on nobody can wait; how many did.
    fn lose(&self) -> usize {
        let mut waiters = self.lock();
        self.crowd.set(0);
        waiters.take().map_or(0, |waiters| waiters.len())
    }

    fn remove(&self, id: Uuid) -> Option<oneshot::Sender<ReceivedMessage>> {
        let mut waiters = self.lock();
        let waiters = waiters.as_mut()?;
        let waiter = waiters.remove(&id);
        self.crowd.set(waiters.len());
        waiter
    }

    /// Gives a reply to its caller; false when nobody waits for it.
    fn deliver(&self, delivery: Delivery) -> bool {
        let id = delivery.properties.correlation_id().as_ref();
        let Some(id) = id.and_then(|id| Uuid::try_parse(id.as_str()).ok()) else { return false };
        let Some(waiter) = self.remove(id) else { return false };
        self.crowd.serve();
        waiter.send(convert::message(delivery)).is_ok()
    }
}

/// A caller's place in the table; leaves it when dropped.
pub(super) struct Waiting {
    queue: Arc<ReplyQueue>,
    id: Uuid,
    reply: oneshot::Receiver<ReceivedMessage>,
}

impl Waiting {
    /// Where the reply is to be sent.
    pub(super) fn reply_to(&self) -> &str {
        &self.queue.name
    }

    /// What the reply is to carry.
    pub(super) fn correlation_id(&self) -> String {
        self.id.to_string()
    }

    /// The reply, for as long as it takes.
    ///
    /// # Errors
    /// [`Cause::ReplyChannelLost`] as soon as the queue is lost.
    pub(super) async fn reply(&mut self) -> Result<ReceivedMessage, Error> {
        (&mut self.reply).await.map_err(|_| Error::Unknown(Cause::ReplyChannelLost))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.remove(self.id);
    }
}

async fn keep(
    connections: Arc<Connections>,
    current: watch::Sender<Option<Arc<ReplyQueue>>>,
    unmatched: IntCounter,
) {
    while let Ok(link) = connections.wait_long().await {
        match timeout(DECLARE_TIMEOUT, link.unless_gone(open(link.connection()))).await {
            Ok(Ok((_channel, name, consumer))) => {
                let queue = Arc::new(ReplyQueue {
                    name,
                    waiters: Mutex::new(Some(HashMap::new())),
                    crowd: link.crowd().clone(),
                });
                current.send_replace(Some(Arc::clone(&queue)));
                // Either way the queue is lost.
                let _end = link.unless_gone(take_replies(&queue, consumer, &unmatched)).await;
                current.send_replace(None);
                // Dropping the senders tells every caller.
                let lost = queue.lose();
                if connections.is_stopped() {
                    return;
                }
                warn!(callers = lost, "the reply queue is lost, declaring another");
            }
            Ok(Err(_)) if connections.is_stopped() => return,
            Ok(Err(error @ Error::Unknown(Cause::Lost { .. }))) => {
                warn!("cannot declare the reply queue: {error}");
            }
            Ok(Err(error)) => {
                warn!("the broker refuses the reply queue: {error}");
                // It would run out of channels that have not been refused, see `Link::not_opened`.
                link.retire("its reply queue is refused");
                link.kill();
                refused(&connections).await;
            }
            Err(_) => {
                warn!("cannot declare the reply queue: no answer in time");
                link.retire("its reply queue is not declared in time");
                link.kill();
            }
        }
        sleep(REDECLARE_PAUSE).await;
    }
}

/// A missing permission is not mended by hurry.
async fn refused(connections: &Connections) {
    tokio::select! {
        () = connections.given_up() => {}
        () = sleep(REFUSED_DELAY) => {}
    }
}

async fn open(connection: &lapin::Connection) -> Result<(Channel, String, Consumer), lapin::Error> {
    let channel = connection.create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = channel.queue_declare(short(""), exclusive, AmqpTable::default()).await?;
    let name = queue.name().to_string();
    let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
    let consumer =
        channel.basic_consume(queue.name().clone(), short("replies"), options, AmqpTable::default()).await?;
    Ok((channel, name, consumer))
}

/// Until the queue, its channel or its connection is lost.
async fn take_replies(
    queue: &ReplyQueue,
    mut consumer: Consumer,
    unmatched: &IntCounter,
) -> Result<(), lapin::Error> {
    while let Some(delivery) = consumer.next().await {
        if !queue.deliver(delivery?) {
            unmatched.inc();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowded() -> (Arc<ReplyQueue>, Vec<Waiting>) {
        let (name, waiters) = ("replies".to_owned(), Mutex::new(Some(HashMap::new())));
        let queue = Arc::new(ReplyQueue { name, waiters, crowd: Crowd::default() });
        let expect = |_| queue.clone().expect(100).ok().expect("there is room");
        let waiting = (0..100).map(expect).collect();
        assert!(queue.crowd.is_large());
        (queue, waiting)
    }

    #[test]
    fn callers_that_have_left_are_no_crowd() {
        let (queue, waiting) = crowded();
        drop(waiting);
        assert!(!queue.crowd.is_large());
    }

    #[test]
    fn callers_of_a_lost_queue_are_no_crowd() {
        let (queue, waiting) = crowded();
        assert_eq!(queue.lose(), waiting.len());
        assert!(!queue.crowd.is_large());
    }
}
