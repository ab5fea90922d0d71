//! The reply queue, which is kept on a connection of its own.
//!
//! One exclusive, auto-deleted queue, named afresh by RabbitMQ on each connection, so that an alarm on the publishing
//! side does not hold back replies. A reply belongs to the caller with its correlation id, which no other client can
//! guess; every other one is counted and dropped. When the queue is lost, all callers that wait on it are told at once.

mod reply_channel;
mod reply_queue;

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable as AmqpTable;
use prometheus::IntCounter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

use self::reply_channel::ReplyChannel;
pub(super) use self::reply_queue::PendingReply;
use self::reply_queue::{NoPlace, ReplyQueue};
use super::connections::{Connections, REFUSED_DELAY};
use super::convert::short;
use super::error::{Cause, Error, Unavailable};
use super::link::Link;

/// How long RabbitMQ may take to declare the queue and start the consumer.
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
        connections: Connections,
        max_waiting: usize,
        unmatched: IntCounter,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, current) = watch::channel(None);
        let connections = Arc::new(connections);
        let task = keep(Arc::clone(&connections), sender, unmatched);
        (Self { connections, current, max_waiting }, task)
    }

    /// A place to wait for one reply.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`] or [`Unavailable::LoginRefused`] without a reply queue until the deadline,
    /// [`Unavailable::TooManyCalls`].
    pub(super) async fn expect(&self, deadline: Instant) -> Result<PendingReply, Error> {
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
                Some(Ok(pending)) => return Ok(pending),
                Some(Err(NoPlace::TooMany)) => return Err(Error::NotSent(Unavailable::TooManyCalls)),
                Some(Err(NoPlace::Lost)) | None if self.connections.has_given_up() => {
                    return Err(Error::NotSent(Unavailable::ShuttingDown));
                }
                Some(Err(NoPlace::Lost)) | None => sleep(REDECLARE_PAUSE).await,
            }
        }
    }

    /// Tells every caller at once that no reply will come.
    pub(super) fn give_up(&self) {
        if let Some(queue) = &*self.current.borrow() {
            queue.lose();
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
        self.current.borrow().as_ref().map_or(0, |queue| queue.waiting())
    }
}

async fn keep(
    connections: Arc<Connections>,
    current: watch::Sender<Option<Arc<ReplyQueue>>>,
    unmatched: IntCounter,
) {
    while let Ok(link) = connections.wait_long().await {
        match timeout(DECLARE_TIMEOUT, link.unless_gone(open(&link, &unmatched))).await {
            Ok(Ok((_channel, replies))) => {
                current.send_replace(Some(Arc::clone(replies.queue())));
                replies.until_lost().await;
                current.send_replace(None);
                let lost = replies.queue().lose();
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

async fn open(link: &Link, unmatched: &IntCounter) -> Result<(Channel, Arc<ReplyChannel>), Error> {
    let channel = link.connection().create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let declared = channel.queue_declare(short(""), exclusive, AmqpTable::default()).await?;
    let queue = ReplyQueue::new(declared.name().to_string());
    let replies = ReplyChannel::new(queue, link.wire().outlet(channel.id()), unmatched.clone());
    link.wire().register(channel.id(), Arc::clone(&replies) as _);
    replies.consume().await?;
    Ok((channel, replies))
}
