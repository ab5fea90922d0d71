//! An owned channel in confirm mode: it writes publishes, and gives RabbitMQ's answers to their callers.
//!
//! When the channel or its connection ends, the channel hands back the unwritten publishes. The written ones are lost,
//! except if RabbitMQ's close text can refer to one message only.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amq_protocol::frame::{AMQPFrame, parse_frame};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer_history::{AnswerHistory, Progress};
use super::in_flight::{Answered, InFlight, NotWritten, Pending, WriteResult};
use super::lost::tell_lost;
use crate::broker::destination::KnownDestination;
use crate::broker::error::{Cause, Error};
use crate::broker::lapin_compat::sanitise;
use crate::broker::wire::{BASIC_RETURN, Batch, Encoded, End, Malformed, Outlet, Owner, Step, method_of};

/// Class and method of RabbitMQ's answers to a publish.
const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
const BASIC_NACK: [u8; 4] = [0, 60, 0, 120];
/// Offset of a method's arguments in its frame.
const ARGUMENTS: usize = 11;
/// Bytes that one channel writes before the next channel takes its turn.
const TURN: usize = 32 * 1024;

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

    fn answer(&self, frame: &[u8], is_ack: bool) -> Result<(), Malformed> {
        let arguments = frame.get(ARGUMENTS..).ok_or(Malformed::Frame("a confirm is too short"))?;
        let (Some(tag), Some(bits)) = (arguments.first_chunk(), arguments.get(8)) else {
            return Err(Malformed::Frame("a confirm is too short"));
        };
        let now = Instant::now();
        let mut state = self.lock();
        let State { in_flight, history, .. } = &mut *state;
        history.note_frame(now);
        in_flight.answer(u64::from_be_bytes(*tag), bits & 1 == 1, |answered| {
            history.note_answer(&answered.pending, is_ack, now);
            answered.tell(is_ack);
        })?;
        let is_empty = in_flight.unanswered() == 0;
        drop(state);
        self.is_silent.store(false, Ordering::Relaxed);
        if is_empty {
            self.emptied.notify_waiters();
        }
        Ok(())
    }
}

impl Answered {
    fn tell(self, is_ack: bool) {
        let answer = match (is_ack, self.returned) {
            (true, None) => Ok(()),
            (true, Some(reason)) => Err(Error::Unroutable { reason }),
            (false, _) => Err(Error::Rejected),
        };
        self.pending.tell(WriteResult::Written(answer));
    }
}

impl Owner for PublishChannel {
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed> {
        match method_of(frame) {
            Some(BASIC_ACK) => self.answer(frame, true),
            Some(BASIC_NACK) => self.answer(frame, false),
            Some(BASIC_RETURN) => {
                self.lock().returning = Some(return_reason(frame)?);
                Ok(())
            }
            _ => Err(Malformed::Frame("a confirm channel does not expect this method")),
        }
    }

    /// Reads the content header of a returned message.
    fn header(&self, frame: &[u8]) -> Result<(), Malformed> {
        let Ok((_, AMQPFrame::Header(_, header))) = parse_frame(frame) else {
            return Err(Malformed::Frame("the content header of a returned message cannot be read"));
        };
        let mut state = self.lock();
        let reason = state.returning.take().ok_or(Malformed::UnknownReturn)?;
        let id = header.properties.message_id().as_ref().ok_or(Malformed::UnknownReturn)?;
        state.skip = header.body_size;
        state.in_flight.note_return(id.as_str(), reason)
    }

    fn body(&self, payload: &[u8]) -> Result<(), Malformed> {
        let mut state = self.lock();
        let rest = state.skip.checked_sub(payload.len() as u64);
        state.skip = rest.ok_or(Malformed::Frame("a returned message is longer than it says"))?;
        Ok(())
    }

    fn write(&self, batch: &mut Batch) -> Step {
        let mut state = self.lock();
        let end = batch.len() + TURN;
        while !batch.is_full() && batch.len() < end {
            if state.is_inside {
                let (channel, frame_max) = self.frame_target();
                batch.push_body(channel, frame_max, &mut state.rest);
                state.is_inside = !state.rest.is_empty();
            } else if let Some(mut encoded) = state.in_flight.next_unwritten() {
                batch.buffer().append(&mut encoded.frames);
                state.is_inside = !encoded.body.is_empty();
                state.rest = encoded.body;
            } else {
                state.is_queued = false;
                return Step::Done;
            }
        }
        if state.is_inside { Step::Inside } else { Step::More }
    }

    fn blocked(&self) {
        let unwritten = self.lock().in_flight.take_unwritten();
        for pending in unwritten {
            pending.tell(WriteResult::NotWritten(NotWritten::Blocked));
        }
    }

    fn closed(&self, end: &End) {
        let (unwritten, written) = {
            let mut state = self.lock();
            self.ended.cancel();
            (state.in_flight.take_unwritten(), state.in_flight.take_written())
        };
        for pending in unwritten {
            pending.tell(WriteResult::NotWritten(NotWritten::Closed));
        }
        tell_lost(written, end, self.outlet.is_blocked());
        self.emptied.notify_waiters();
    }
}

/// Reads RabbitMQ's text in a return.
fn return_reason(frame: &mut [u8]) -> Result<String, Malformed> {
    let malformed = Malformed::Frame("a return cannot be read");
    let end = frame.len() - 1;
    sanitise::returned(&mut frame[ARGUMENTS - 4..end]).ok_or(malformed)?;
    // After the reply code come the length of the text in one byte, and the text.
    let (length, rest) = frame.get(ARGUMENTS + 2..).and_then(<[u8]>::split_first).ok_or(malformed)?;
    let text = rest.get(..usize::from(*length)).ok_or(malformed)?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests;
