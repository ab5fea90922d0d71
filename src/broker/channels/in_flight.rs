//! The unanswered publishes of one confirm channel, in the order of their delivery tags.
//!
//! RabbitMQ counts the publishes of a channel from 1 on and identifies each by its number, the delivery tag. The gateway
//! writes publishes in the order in which callers hand them in, so the position in the ring gives the tag.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use crate::broker::destination::KnownDestination;
use crate::broker::error::{Error, Refusal};
use crate::broker::wire::{Encoded, Malformed};
use crate::domain::message::MessageId;
use crate::fairness::Held;

/// How a publish on a channel ended.
#[derive(Debug)]
pub(in crate::broker) enum WriteResult {
    /// The gateway wrote it, or may still write it after the deadline of its caller. The value is RabbitMQ's answer, or
    /// the reason why the wait for it ended.
    Written(Result<(), Error>),
    /// The gateway did not write it.
    NotWritten(NotWritten),
}

/// Why the gateway did not write a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) enum NotWritten {
    /// The channel accepts no more publishes.
    Closed,
    /// A message with the same id is in flight on the channel.
    SameId,
    /// RabbitMQ blocks the connection.
    Blocked,
    /// RabbitMQ would refuse it: the message's properties and headers do not fit a frame of the connection.
    Refused(Refusal),
}

/// The permits of a message in the window of its lane, and the part of them that its principal holds.
#[derive(Debug)]
pub(in crate::broker) struct WindowPermit {
    pub(in crate::broker) _permits: OwnedSemaphorePermit,
    pub(in crate::broker) _held: Held,
}

#[cfg(test)]
impl WindowPermit {
    /// The only permit of a window.
    pub(in crate::broker) fn only() -> Self {
        let window = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
        Self { _permits: window.try_acquire_owned().expect("a permit"), _held: Held::default() }
    }
}

/// A publish that waits for RabbitMQ's answer.
#[derive(Debug)]
pub(in crate::broker) struct Pending {
    /// The message id. It identifies a returned message: two messages in flight on a channel never have the same id.
    pub(in crate::broker) id: MessageId,
    /// The exchange and routing key.
    pub(in crate::broker) destination: KnownDestination,
    /// When the caller handed it in.
    pub(in crate::broker) since: Instant,
    /// The caller's deadline.
    pub(in crate::broker) deadline: Instant,
    /// Whether the lane is isolated: it carries one message at a time.
    pub(in crate::broker) is_isolated: bool,
    /// The permit of the lane's window, held until RabbitMQ's answer.
    #[expect(dead_code, reason = "the permit is held until RabbitMQ answers the publish, and then dropped")]
    pub(in crate::broker) permit: WindowPermit,
    /// Receives the result for the caller.
    pub(in crate::broker) caller: oneshot::Sender<WriteResult>,
}

impl Pending {
    /// Tells the caller the result. The caller may have left.
    pub(in crate::broker) fn tell(self, result: WriteResult) {
        let _gone = self.caller.send(result);
    }
}

struct Entry {
    /// `None` after RabbitMQ has answered it.
    pending: Option<Pending>,
    encoded: Encoded,
    returned: Option<String>,
}

/// A written publish that no longer waits for an answer: RabbitMQ has answered it, or will never answer it.
pub(super) struct Finished {
    pub(super) pending: Pending,
    /// RabbitMQ's text if it returned the message.
    pub(super) returned: Option<String>,
}

/// The ring.
pub(super) struct InFlight {
    entries: VecDeque<Entry>,
    /// The delivery tag of the first entry.
    first_tag: u64,
    /// Number of entries at the front that are written, at least in part.
    written: usize,
    /// Number of entries without an answer, unwritten ones included.
    unanswered: usize,
    /// The delivery tags by message id.
    tags: HashMap<MessageId, u64>,
}

impl InFlight {
    /// The empty ring of a channel that was just put into confirm mode.
    pub(super) fn new() -> Self {
        let (entries, tags) = (VecDeque::new(), HashMap::new());
        Self { entries, first_tag: 1, written: 0, unanswered: 0, tags }
    }

    /// Adds a publish.
    ///
    /// # Errors
    /// Returns the publish if a message with the same id is in flight.
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

    /// Takes the next publish to write; it counts as written from now on.
    pub(super) fn next_unwritten(&mut self) -> Option<Encoded> {
        let entry = self.entries.get_mut(self.written)?;
        self.written += 1;
        Some(std::mem::replace(&mut entry.encoded, Encoded { frames: Vec::new(), body: Bytes::new() }))
    }

    /// Removes and returns the unwritten publishes.
    pub(super) fn take_unwritten(&mut self) -> Vec<Pending> {
        let unwritten: Vec<_> =
            self.entries.drain(self.written..).filter_map(|entry| entry.pending).collect();
        for pending in &unwritten {
            self.tags.remove(&pending.id);
        }
        self.unanswered -= unwritten.len();
        unwritten
    }

    /// Removes and returns all publishes that are written and have no answer.
    pub(super) fn take_written(&mut self) -> Vec<Finished> {
        self.written = 0;
        let written: Vec<_> = self.entries.drain(..).filter_map(|mut entry| entry.take()).collect();
        self.first_tag = u64::MAX;
        self.unanswered = 0;
        self.tags.clear();
        written
    }

    /// Tells the callers of all written publishes how their wait ended. The publishes themselves stay in the ring.
    pub(super) fn leave_written(&mut self, error: &Error) {
        for pending in self.entries.iter_mut().filter_map(|entry| entry.pending.as_mut()) {
            let (nobody, _) = oneshot::channel();
            let caller = std::mem::replace(&mut pending.caller, nobody);
            let _gone = caller.send(WriteResult::Written(Err(error.clone())));
        }
    }

    /// Records that RabbitMQ answers one publish, or with `multiple` all publishes up to this tag. Tag 0 means all
    /// written ones.
    ///
    /// # Errors
    /// The tag was never written, or a single answer is for a publish that already has its answer.
    pub(super) fn answer(
        &mut self,
        tag: u64,
        multiple: bool,
        mut each: impl FnMut(Finished),
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

    /// Records that RabbitMQ returns the message with this id.
    ///
    /// # Errors
    /// No written message with this id waits for its answer.
    pub(super) fn note_return(&mut self, id: &str, reason: String) -> Result<(), Malformed> {
        let tag = self.tags.get(id).ok_or(Malformed::UnknownReturn)?;
        let at = usize::try_from(tag - self.first_tag).unwrap_or(usize::MAX);
        let written = self.entries.range_mut(..self.written).nth(at).ok_or(Malformed::UnknownReturn)?;
        written.returned = Some(reason);
        Ok(())
    }

    /// Number of publishes without an answer.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Distance from the oldest publish without an answer to the newest publish.
    pub(super) fn span(&self) -> usize {
        self.entries.len()
    }

    /// The publishes without an answer, oldest first.
    pub(super) fn waiting(&self) -> impl DoubleEndedIterator<Item = &Pending> {
        self.entries.iter().filter_map(|entry| entry.pending.as_ref())
    }
}

impl Entry {
    fn take(&mut self) -> Option<Finished> {
        Some(Finished { pending: self.pending.take()?, returned: self.returned.take() })
    }
}

#[cfg(test)]
mod tests;
