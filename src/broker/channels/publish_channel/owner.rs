//! A confirm channel as the router sees it: RabbitMQ's answers go in, frames of publishes come out.

use std::sync::atomic::Ordering;

use amq_protocol::frame::{AMQPFrame, parse_frame};
use tokio::time::Instant;

use super::{PublishChannel, State};
use crate::broker::channels::in_flight::{Finished, NotWritten, WriteResult};
use crate::broker::channels::lost::tell_lost;
use crate::broker::error::Error;
use crate::broker::lapin_compat::sanitise;
use crate::broker::wire::{BASIC_RETURN, Batch, End, Malformed, Owner, Step, method_of};

/// Class and method of RabbitMQ's answers to a publish.
pub(super) const BASIC_ACK: [u8; 4] = [0, 60, 0, 80];
pub(super) const BASIC_NACK: [u8; 4] = [0, 60, 0, 120];
/// Offset of a method's arguments in its frame.
const ARGUMENTS: usize = 11;
/// Bytes that one channel writes before the next channel writes.
const WRITE_LIMIT: usize = 32 * 1024;

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
        let end = batch.len() + WRITE_LIMIT;
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

impl PublishChannel {
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

impl Finished {
    fn tell(self, is_ack: bool) {
        let answer = match (is_ack, self.returned) {
            (true, None) => Ok(()),
            (true, Some(reason)) => Err(Error::Unroutable { reason }),
            (false, _) => Err(Error::Rejected),
        };
        self.pending.tell(WriteResult::Written(answer));
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
