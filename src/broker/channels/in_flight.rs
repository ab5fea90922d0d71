//! The publishes of one confirm channel that have no answer yet, in the order of their delivery tags.
//!
//! RabbitMQ counts the publishes of a channel from 1 on and names each by its number, the delivery tag. Publishes are
//! written in the order in which they were handed in, so the tag follows from the place in the ring.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::broker::destination::KnownDestination;
use crate::broker::error::Error;
use crate::broker::wire::{Encoded, HeaderTooLarge, Malformed};
use crate::domain::message::MessageId;

/// How a publish on a channel ended.
#[derive(Debug)]
pub(in crate::broker) enum WriteResult {
    /// It was written. This is RabbitMQ's answer, or how the wait for it ended.
    Written(Result<(), Error>),
    /// It was not written.
    NotWritten(NotWritten),
}

/// Why a publish was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum NotWritten {
    /// The channel takes no more.
    Closed,
    /// A message with the same id is in flight on the channel.
    SameId,
    /// RabbitMQ blocks the connection.
    Blocked,
    /// Its properties and headers do not fit a frame of the connection.
    HeaderTooLarge(HeaderTooLarge),
}

/// A publish that waits for its answer.
#[derive(Debug)]
pub(in crate::broker) struct Pending {
    /// A returned message is recognised by it; two messages in flight on a channel never have the same.
    pub(in crate::broker) id: MessageId,
    /// Where it goes.
    pub(in crate::broker) destination: KnownDestination,
    /// When it was handed in.
    pub(in crate::broker) since: Instant,
    /// Until when its caller waits.
    pub(in crate::broker) deadline: Instant,
    /// Whether the lane carries one message at a time.
    pub(in crate::broker) is_alone: bool,
    /// Its place in the window, which it keeps until its answer.
    #[expect(dead_code, reason = "it is held until the publish is answered, and then dropped")]
    pub(in crate::broker) permit: OwnedSemaphorePermit,
    /// Where its result is told.
    pub(in crate::broker) caller: oneshot::Sender<WriteResult>,
}

impl Pending {
    /// Tells the caller, who may be gone.
    pub(in crate::broker) fn tell(self, result: WriteResult) {
        let _gone = self.caller.send(result);
    }
}

struct Entry {
    /// `None` when it is answered.
    pending: Option<Pending>,
    encoded: Encoded,
    returned: Option<String>,
}

/// A publish that was written and waits no more.
pub(super) struct Answered {
    pub(super) pending: Pending,
    /// RabbitMQ's words where it returned the message.
    pub(super) returned: Option<String>,
}

/// The ring.
pub(super) struct InFlight {
    entries: VecDeque<Entry>,
    /// Delivery tag of the first entry.
    first_tag: u64,
    /// Entries at the front that are written, at least in part.
    written: usize,
    /// Entries without an answer, unwritten ones included.
    unanswered: usize,
    /// Delivery tags by message id.
    tags: HashMap<MessageId, u64>,
}

impl InFlight {
    /// The ring of a channel that was put into confirm mode just now.
    pub(super) fn new() -> Self {
        let (entries, tags) = (VecDeque::new(), HashMap::new());
        Self { entries, first_tag: 1, written: 0, unanswered: 0, tags }
    }

    /// Takes a publish in.
    ///
    /// # Errors
    /// Gives it back when a message with its id is in flight.
    pub(super) fn push(&mut self, pending: Pending, encoded: Encoded) -> Result<(), Pending> {
        let tag = self.first_tag + self.entries.len() as u64;
        match self.tags.entry(pending.id.clone()) {
            MapEntry::Occupied(_) => return Err(pending),
            MapEntry::Vacant(vacant) => vacant.insert(tag),
        };
        self.unanswered += 1;
        self.entries.push_back(Entry { pending: Some(pending), encoded, returned: None });
        Ok(())
    }

    /// The next publish that is to be written; it counts as written from now on.
    pub(super) fn next_unwritten(&mut self) -> Option<Encoded> {
        let entry = self.entries.get_mut(self.written)?;
        self.written += 1;
        Some(std::mem::replace(&mut entry.encoded, Encoded { frames: Vec::new(), body: Bytes::new() }))
    }

    /// Takes out the publishes that are not written.
    pub(super) fn take_unwritten(&mut self) -> Vec<Pending> {
        let unwritten: Vec<_> =
            self.entries.drain(self.written..).filter_map(|entry| entry.pending).collect();
        for pending in &unwritten {
            self.tags.remove(&pending.id);
        }
        self.unanswered -= unwritten.len();
        unwritten
    }

    /// Takes out all publishes that are written and have no answer.
    pub(super) fn take_written(&mut self) -> Vec<Answered> {
        self.written = 0;
        let written: Vec<_> = self.entries.drain(..).filter_map(|mut entry| entry.take()).collect();
        self.first_tag = u64::MAX;
        self.unanswered = 0;
        self.tags.clear();
        written
    }

    /// Tells the callers of all publishes that are written how their wait ended. The publishes themselves still wait.
    pub(super) fn leave_written(&mut self, error: &Error) {
        for pending in self.entries.iter_mut().filter_map(|entry| entry.pending.as_mut()) {
            let (nobody, _) = oneshot::channel();
            let caller = std::mem::replace(&mut pending.caller, nobody);
            let _gone = caller.send(WriteResult::Written(Err(error.clone())));
        }
    }

    /// RabbitMQ answers one publish, or with `multiple` all up to this tag; tag 0 means all that are written.
    ///
    /// # Errors
    /// The tag was never written, or a single answer is for a publish that is answered already.
    pub(super) fn answer(
        &mut self,
        tag: u64,
        multiple: bool,
        mut each: impl FnMut(Answered),
    ) -> Result<(), Malformed> {
        let unknown = Malformed::UnknownTag(tag);
        let end = self.first_tag.saturating_add(self.written as u64);
        let (start, last) = match (tag, multiple) {
            (0, true) => (0, self.written),
            (0, false) => return Err(unknown),
            _ if tag >= end => return Err(unknown),
            (_, true) => (0, usize::try_from((tag + 1).saturating_sub(self.first_tag)).unwrap_or(0)),
            (_, false) => {
                let at = tag.checked_sub(self.first_tag).and_then(|at| usize::try_from(at).ok());
                let at = at.ok_or(unknown)?;
                if self.entries[at].pending.is_none() {
                    return Err(unknown);
                }
                (at, at + 1)
            }
        };
        for at in start..last {
            if let Some(answered) = self.entries[at].take() {
                self.tags.remove(&answered.pending.id);
                self.unanswered -= 1;
                each(answered);
            }
        }
        self.drop_answered();
        Ok(())
    }

    fn drop_answered(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.pending.is_none()) {
            self.entries.pop_front();
            self.first_tag += 1;
            self.written -= 1;
        }
    }

    /// RabbitMQ returns the message with this id.
    ///
    /// # Errors
    /// No message with this id is written and waits for its answer.
    pub(super) fn note_return(&mut self, id: &str, reason: String) -> Result<(), Malformed> {
        let tag = self.tags.get(id).ok_or(Malformed::UnknownReturn)?;
        let at = usize::try_from(tag - self.first_tag).unwrap_or(usize::MAX);
        let written = self.entries.range_mut(..self.written).nth(at).ok_or(Malformed::UnknownReturn)?;
        written.returned = Some(reason);
        Ok(())
    }

    /// Publishes without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// How far the newest publish is ahead of the oldest without an answer.
    pub(super) fn span(&self) -> usize {
        self.entries.len()
    }

    /// The publishes without an answer, oldest first.
    pub(super) fn waiting(&self) -> impl DoubleEndedIterator<Item = &Pending> {
        self.entries.iter().filter_map(|entry| entry.pending.as_ref())
    }
}

impl Entry {
    fn take(&mut self) -> Option<Answered> {
        Some(Answered { pending: self.pending.take()?, returned: self.returned.take() })
    }
}

#[cfg(test)]
mod tests;
