//! The reply queue, on its own connection.
//!
//! The queue is exclusive and auto-deleted, and RabbitMQ chooses a new name on each connection. An alarm on the
//! publishing connections does not delay replies. A reply belongs to the caller with its correlation id, which no other
//! client can guess. Every other reply is counted and dropped. When the queue is lost, the gateway tells all waiting
//! callers at once.

mod reply_queue;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use prometheus::IntCounter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::warn;

pub(in crate::broker) use self::reply_queue::PendingReply;
use self::reply_queue::{NotRegistered, ReplyQueue};
use crate::broker::Settings;
use crate::broker::connection::{Connection, Connections, Refused, Reminders};
use crate::broker::error::{Denial, Error, Refusal, SharedResource, Unavailable};
use crate::broker::own_queue::{OwnQueue, open};
use crate::broker::supervised::{Reopen, State, StateSender, Supervised, supervise};
use crate::fairness::{Holder, Shares};

/// How long RabbitMQ may take to declare the queue and start the consumer.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the gateway declares the queue again.
const REDECLARE_PAUSE: Duration = Duration::from_millis(50);

/// The current reply queue, and its successors.
pub(in crate::broker) struct Replies {
    connections: Arc<Connections>,
    current: watch::Receiver<State<Arc<ReplyQueue>>>,
    refused: watch::Receiver<Option<Refused>>,
    max_waiting: usize,
    /// The shares of principals in the pending replies.
    shares: Shares,
}

impl Replies {
    /// Keeps a reply queue open on `connections` until they are stopped. The second value is the supervisor's future.
    pub(in crate::broker) fn start(
        connections: Connections,
        settings: &Settings,
        unmatched: IntCounter,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let (sender, current) = StateSender::new(&Arc::new(watch::Sender::new(())));
        let (refusal, refused) = watch::channel(None);
        let connections = Arc::new(connections);
        let stop = connections.stop_token();
        let supervised = SupervisedReplyQueue {
            connections: Arc::clone(&connections),
            channel: None,
            refused: refusal,
            unmatched,
            refused_delay: settings.refused_delay,
            reminders: Reminders::default(),
            losses: Reminders::default(),
        };
        let max_waiting = settings.max_pending_replies;
        let shares = Shares::new(max_waiting);
        (Self { connections, current, refused, max_waiting, shares }, supervise(supervised, sender, stop))
    }

    /// Registers a pending reply.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`] if no reply queue exists until the deadline, [`Unavailable::Denied`] as soon as it
    /// is certain, [`Unavailable::TooManyCalls`], [`Unavailable::OverShare`].
    pub(in crate::broker) async fn expect(
        &self,
        holder: &Holder,
        deadline: Instant,
    ) -> Result<PendingReply, Error> {
        let mut current = self.current.clone();
        loop {
            let found =
                async { current.wait_for(|it| it.part().is_some()).await.map(|it| it.part().cloned()) };
            let found = tokio::select! {
                biased;
                found = timeout_at(deadline, found) => found,
                why = self.until_denied() => return Err(Error::NotSent(Unavailable::Denied(why))),
            };
            let queue = match found {
                Ok(Ok(queue)) => queue,
                Ok(Err(_)) => return Err(Error::NotSent(Unavailable::ShuttingDown)),
                Err(_) => return Err(self.why_missing()),
            };
            // If the queue was lost just now, the watch channel has its successor already or will get it.
            match queue.map(|queue| queue.expect(holder, &self.shares, self.max_waiting)) {
                Some(Ok(pending)) => return Ok(pending),
                Some(Err(NotRegistered::OverShare(share))) => {
                    let of = SharedResource::PendingReplies;
                    return Err(Error::NotSent(Unavailable::OverShare { of, share }));
                }
                Some(Err(NotRegistered::TooMany)) => return Err(Error::NotSent(Unavailable::TooManyCalls)),
                Some(Err(NotRegistered::Lost)) | None if self.connections.has_given_up() => {
                    return Err(Error::NotSent(Unavailable::ShuttingDown));
                }
                Some(Err(NotRegistered::Lost)) | None => sleep(REDECLARE_PAUSE).await,
            }
        }
    }

    /// Resolves when no reply queue exists, and RabbitMQ certainly refuses the queue or its connection.
    async fn until_denied(&self) -> Denial {
        tokio::select! {
            why = self.connections.until_denied() => why,
            why = Refused::until_certain(self.refused.clone(), || *self.refused.borrow()) => why,
        }
    }

    fn why_missing(&self) -> Error {
        match *self.refused.borrow() {
            Some(Refused { why, .. }) => Error::NotSent(Unavailable::Denied(why)),
            None => self.connections.why_down(),
        }
    }

    /// Why RabbitMQ refuses the reply queue, if it refused the last declaration.
    pub(in crate::broker) fn denial(&self) -> Option<Denial> {
        self.refused.borrow().map(|refused| refused.why)
    }

    /// Tells every waiting caller at once that no reply will come.
    pub(in crate::broker) fn give_up(&self) {
        if let Some(queue) = self.current.borrow().part() {
            queue.lose();
        }
    }

    /// The connection.
    pub(in crate::broker) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Whether a reply queue exists.
    pub(in crate::broker) fn is_ready(&self) -> bool {
        self.current.borrow().part().is_some()
    }

    /// The number of waiting callers.
    pub(in crate::broker) fn waiting(&self) -> usize {
        self.current.borrow().part().map_or(0, |queue| queue.waiting())
    }
}

/// The supervised reply queue.
struct SupervisedReplyQueue {
    connections: Arc<Connections>,
    /// The channel of the open queue. lapin closes it when it is dropped.
    channel: Option<(Channel, Arc<OwnQueue<Arc<ReplyQueue>>>)>,
    /// RabbitMQ's refusal of the last declaration.
    refused: watch::Sender<Option<Refused>>,
    unmatched: IntCounter,
    refused_delay: Duration,
    reminders: Reminders,
    losses: Reminders,
}

impl Supervised for SupervisedReplyQueue {
    type Part = Arc<ReplyQueue>;
    type End = ();

    async fn open(&mut self) -> Result<Arc<ReplyQueue>, Reopen> {
        let connection = self.connections.wait_long().await.map_err(|_| Reopen::Never)?;
        let unmatched = self.unmatched.clone();
        match timeout(
            DECLARE_TIMEOUT,
            connection.unless_gone(open(&connection, |name| ReplyQueue::new(name, unmatched))),
        )
        .await
        {
            Ok(Ok((channel, replies))) => {
                self.refused.send_replace(None);
                self.reminders = Reminders::default();
                let queue = Arc::clone(replies.receiver());
                self.channel = Some((channel, replies));
                Ok(queue)
            }
            Ok(Err(error)) => Err(Reopen::After(self.failed(&connection, &error))),
            Err(_) => Err(Reopen::After(self.silent(&connection))),
        }
    }

    async fn until_ended(&mut self, _queue: &Arc<ReplyQueue>) -> ((), Option<Arc<ReplyQueue>>) {
        if let Some((_, replies)) = &self.channel {
            replies.until_lost().await;
        }
        ((), None)
    }

    async fn after(&mut self, queue: Arc<ReplyQueue>, (): ()) -> Reopen {
        self.channel = None;
        let callers = queue.lose();
        if !self.connections.is_stopped() && self.losses.is_due("lost") {
            warn!(callers, "the reply queue is lost, the gateway declares another one");
        }
        Reopen::After(REDECLARE_PAUSE)
    }
}

impl SupervisedReplyQueue {
    /// Records a failed declaration, and returns the pause before the next one. The pause is longer after a refusal,
    /// since a retry does not fix a missing permission.
    fn failed(&mut self, connection: &Connection, error: &Error) -> Duration {
        let denial = match error {
            Error::Unknown(_) => None,
            Error::Refused(Refusal::AccessRefused { .. }) => Some(Denial::ReplyQueueForbidden),
            _ => Some(Denial::ReplyQueue),
        };
        self.refused.send_modify(|it| *it = denial.map(|why| Refused::again(*it, why)));
        // RabbitMQ's text has the name that it chose for the queue, which is another one each time.
        self.tell(&denial.map_or_else(|| error.to_string(), |why| why.to_string()), error);
        if denial.is_none() {
            return REDECLARE_PAUSE;
        }
        // A refused channel makes a channel number unusable, see `Connection::not_opened`, so retries would use up the
        // numbers.
        connection.retire("its reply queue is refused");
        connection.kill();
        self.refused_delay
    }

    fn silent(&mut self, connection: &Connection) -> Duration {
        self.refused.send_replace(None);
        let text = format!("RabbitMQ does not answer within {DECLARE_TIMEOUT:?}");
        self.tell(&text, &text);
        connection.retire("its reply queue is not declared in time");
        connection.kill();
        REDECLARE_PAUSE
    }

    fn tell(&mut self, reason: &str, text: &impl Display) {
        if !self.connections.is_stopped() && self.reminders.is_due(reason) {
            warn!("cannot declare the reply queue: {text}");
        }
    }
}
