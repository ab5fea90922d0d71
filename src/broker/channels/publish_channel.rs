//! An owned channel in confirm mode: it writes publishes, and gives RabbitMQ's answers to their callers.
//!
//! When the channel or its connection ends, the channel hands back the unwritten publishes. The written ones are lost,
//! except if RabbitMQ's close text can refer to one message only.

mod owner;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer_history::{AnswerHistory, Progress};
use super::in_flight::{InFlight, NotWritten, Pending, WriteResult};
use crate::broker::destination::KnownDestination;
use crate::broker::error::{Cause, Error};
use crate::broker::wire::{Encoded, Outlet, Owner};

/// The owner of a confirm channel.
pub(in crate::broker) struct PublishChannel {
    outlet: Outlet,
    state: Mutex<State>,
    /// The publish watch sets this, and the next answer clears it.
    is_silent: AtomicBool,
    /// Notified when the last publish in flight has its answer.
    emptied: Notify,
    ended: CancellationToken,
}

struct State {
    in_flight: InFlight,
    /// The rest of a large body that is being written.
    rest: Bytes,
    is_inside: bool,
    /// Whether the router is going to call `write`.
    is_queued: bool,
    takes_no_more: bool,
    /// RabbitMQ's text of a return whose content header has not arrived yet.
    returning: Option<String>,
    /// Bytes of a returned body that have not arrived yet.
    skip: u64,
    history: AnswerHistory,
}

impl PublishChannel {
    /// The owner of a channel that was just put into confirm mode.
    pub(super) fn new(outlet: Outlet) -> Arc<Self> {
        let state = State {
            in_flight: InFlight::new(),
            rest: Bytes::new(),
            is_inside: false,
            is_queued: false,
            takes_no_more: false,
            returning: None,
            skip: 0,
            history: AnswerHistory::default(),
        };
        Arc::new(Self {
            outlet,
            state: Mutex::new(state),
            is_silent: AtomicBool::new(false),
            emptied: Notify::new(),
            ended: CancellationToken::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel's number, and the largest frame size in bytes.
    pub(in crate::broker) fn frame_target(&self) -> (u16, usize) {
        (self.outlet.channel(), self.outlet.frame_max())
    }

    /// Hands in a publish. From here on it is finished even if its caller leaves.
    ///
    /// # Errors
    /// The gateway has not written the publish, and will not write it.
    pub(in crate::broker) fn hand_in(
        self: &Arc<Self>,
        pending: Pending,
        encoded: Encoded,
    ) -> Result<(), NotWritten> {
        let mut state = self.lock();
        if self.ended.is_cancelled() || state.takes_no_more {
            return Err(NotWritten::Closed);
        }
        // The check needs the lock: the router notes an alarm before it takes back the unwritten publishes.
        if self.outlet.is_blocked() {
            return Err(NotWritten::Blocked);
        }
        state.in_flight.push(pending, encoded).map_err(|_same_id| NotWritten::SameId)?;
        let was_queued = std::mem::replace(&mut state.is_queued, true);
        drop(state);
        if !was_queued {
            self.outlet.has_work(Arc::clone(self) as Arc<dyn Owner>);
        }
        Ok(())
    }

    /// Accepts no more publishes from now on. Those in flight wait for their answers.
    pub(in crate::broker) fn take_no_more(&self) {
        self.lock().takes_no_more = true;
    }

    /// Called when the gateway stops. Accepts no more publishes, hands back the unwritten ones, and tells the callers of
    /// the written ones [`Cause::Stopped`].
    pub(in crate::broker) fn give_up(&self) {
        let unwritten = {
            let mut state = self.lock();
            state.takes_no_more = true;
            let unwritten = state.in_flight.take_unwritten();
            state.in_flight.leave_written(&Error::Unknown(Cause::Stopped));
            unwritten
        };
        for pending in unwritten {
            pending.tell(WriteResult::NotWritten(NotWritten::Closed));
        }
    }

    /// Whether publishes are in flight and RabbitMQ has answered none for some time.
    pub(in crate::broker) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// Sets whether the channel is silent.
    pub(in crate::broker) fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// The time of the last answer, or of the oldest publish without an answer if that is later. `None` if every publish
    /// has its answer.
    pub(in crate::broker) fn silent_since(&self) -> Option<Instant> {
        let state = self.lock();
        let oldest = state.in_flight.waiting().next()?.since;
        Some(state.history.progress().last_answer.map_or(oldest, |at| at.max(oldest)))
    }

    /// When the caller handed in the oldest publish without an answer.
    pub(in crate::broker) fn oldest_since(&self) -> Option<Instant> {
        Some(self.lock().in_flight.waiting().next()?.since)
    }

    /// Whether every publish has its answer.
    pub(in crate::broker) fn is_empty(&self) -> bool {
        self.unanswered() == 0
    }

    /// Number of publishes without an answer.
    pub(in crate::broker) fn unanswered(&self) -> usize {
        self.lock().in_flight.unanswered()
    }

    /// Distance from the oldest publish without an answer to the newest publish.
    pub(in crate::broker) fn span(&self) -> usize {
        self.lock().in_flight.span()
    }

    /// The last answers on the channel.
    pub(in crate::broker) fn progress(&self) -> Progress {
        self.lock().history.progress()
    }

    /// Calls `look` for each publish without an answer, oldest first.
    pub(in crate::broker) fn look_at_waiting(&self, look: impl FnMut(&Pending)) {
        self.lock().in_flight.waiting().for_each(look);
    }

    /// The latest deadline of the publishes without an answer.
    pub(in crate::broker) fn last_deadline(&self) -> Option<Instant> {
        self.lock().in_flight.waiting().map(|pending| pending.deadline).max()
    }

    /// The destinations for which RabbitMQ has sent only nacks since this instant or longer.
    pub(in crate::broker) fn nacked_since(&self, instant: Instant) -> Vec<KnownDestination> {
        self.lock().history.nacked_since(instant)
    }

    /// Whether the channel or its connection has ended.
    pub(in crate::broker) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Resolves when the channel or its connection has ended.
    pub(in crate::broker) async fn until_ended(&self) {
        self.ended.cancelled().await;
    }

    /// Resolves when every publish has its answer.
    pub(in crate::broker) async fn until_empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }
}

#[cfg(test)]
mod tests;
