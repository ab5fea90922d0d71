//! One reply queue, and its pending replies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::broker::error::{Cause, Error};
use crate::broker::own_queue::Receiver;
use crate::broker::wire::ContentHeader;
use crate::domain::message::ReceivedMessage;
use crate::fairness::{Held, Holder, OverShare, Shares};

/// The pending replies, by correlation id.
type PendingReplies = HashMap<Uuid, oneshot::Sender<ReceivedMessage>>;

/// A reply queue. Its table of pending replies is gone when the queue is lost.
pub(super) struct ReplyQueue {
    name: String,
    callers: Mutex<Option<PendingReplies>>,
    unmatched: IntCounter,
}

/// Why a call cannot register a pending reply.
pub(super) enum NotRegistered {
    /// The queue is lost.
    Lost,
    /// The maximum number of callers already waits.
    TooMany,
    /// The principal of the call has its fair share.
    OverShare(OverShare),
}

impl ReplyQueue {
    /// A queue with this name, which RabbitMQ chose.
    /// Counts the replies without a caller in `unmatched`.
    pub(super) fn new(name: String, unmatched: IntCounter) -> Arc<Self> {
        Arc::new(Self { name, callers: Mutex::new(Some(HashMap::new())), unmatched })
    }

    fn lock(&self) -> MutexGuard<'_, Option<PendingReplies>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a pending reply.
    pub(super) fn expect(
        self: Arc<Self>,
        holder: &Holder,
        shares: &Shares,
        max_waiting: usize,
    ) -> Result<PendingReply, NotRegistered> {
        let (sender, reply) = oneshot::channel();
        let id = Uuid::new_v4();
        let share = {
            let mut callers = self.lock();
            let callers = callers.as_mut().ok_or(NotRegistered::Lost)?;
            let free = max_waiting.saturating_sub(callers.len());
            if free == 0 {
                return Err(NotRegistered::TooMany);
            }
            let share = shares.take(holder, 1, free).map_err(NotRegistered::OverShare)?;
            callers.insert(id, sender);
            share
        };
        Ok(PendingReply { queue: self, id, reply, _share: share })
    }

    /// The number of waiting callers.
    pub(super) fn waiting(&self) -> usize {
        self.lock().as_ref().map_or(0, HashMap::len)
    }

    /// Removes and returns the caller with this correlation id.
    fn take_caller(&self, correlation_id: &str) -> Option<oneshot::Sender<ReceivedMessage>> {
        self.remove(Uuid::try_parse(correlation_id).ok()?)
    }

    fn remove(&self, id: Uuid) -> Option<oneshot::Sender<ReceivedMessage>> {
        self.lock().as_mut()?.remove(&id)
    }

    /// Records that the queue is lost and tells its callers. Returns the number of callers.
    pub(super) fn lose(&self) -> usize {
        // Each caller learns of the loss because its sender is dropped.
        self.lock().take().map_or(0, |callers| callers.len())
    }
}

/// A reply belongs to the caller with its correlation id. A reply without a waiting caller is counted and skipped.
impl Receiver for Arc<ReplyQueue> {
    type Kept = oneshot::Sender<ReceivedMessage>;

    fn keep(&self, header: &ContentHeader<'_>) -> Option<Self::Kept> {
        let id = header.properties.correlation_id().as_ref();
        let caller = id.and_then(|id| self.take_caller(id.as_str()));
        if caller.is_none() {
            self.unmatched.inc();
        }
        caller
    }

    fn receive(&self, caller: Self::Kept, reply: ReceivedMessage) {
        if caller.send(reply).is_err() {
            self.unmatched.inc();
        }
    }
}

/// A caller's entry in the table; dropping it removes the entry.
pub(in crate::broker) struct PendingReply {
    queue: Arc<ReplyQueue>,
    id: Uuid,
    reply: oneshot::Receiver<ReceivedMessage>,
    _share: Held,
}

impl PendingReply {
    /// The `reply_to` for the request: the name of the reply queue.
    pub(in crate::broker) fn reply_to(&self) -> &str {
        &self.queue.name
    }

    /// The correlation id that the reply must carry.
    pub(in crate::broker) fn correlation_id(&self) -> String {
        self.id.to_string()
    }

    /// Waits for the reply without a deadline.
    ///
    /// # Errors
    /// [`Cause::ReplyChannelLost`] as soon as the queue is lost.
    pub(in crate::broker) async fn reply(&mut self) -> Result<ReceivedMessage, Error> {
        (&mut self.reply).await.map_err(|_| Error::Unknown(Cause::ReplyChannelLost))
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        self.queue.remove(self.id);
    }
}
