//! The leases of one queue, without any I/O: held → settling → settled, held → expired, any → lost.
//!
//! A lease whose message is copied first is held and copying: it does not expire, and after the copy it is settled or held again. The
//! state of a lease changes before its frame is written. So a message never has two live leases, and a lease is never settled twice.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::settle::{Final, Settled};

/// A delivery on the channel of its queue, and the round that fetched it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag {
    pub(super) delivery: u64,
    pub(super) round: u64,
}

/// The next step of the worker to settle a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Answer this delivery, or send the copy first.
    Begin(Tag),
    /// Wait for the copy: it is sent.
    JoinCopy,
    /// Wait for RabbitMQ: the frame is written. The result follows.
    JoinBarrier(Settled),
    /// Refuse: the lease is being settled in another way.
    Refuse,
    /// The table has no such lease.
    Unknown,
}

/// Why a lease is not extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotExtended {
    /// It would be older than the longest lease.
    TooLong,
    /// It is being settled.
    Settling,
    /// The table has no such lease.
    Unknown,
}

/// The leases of a queue, with their messages.
#[derive(Debug)]
pub(super) struct LeaseTable<M> {
    held: HashMap<u64, Held<M>>,
    by_expiry: BTreeSet<(Instant, u64)>,
    /// Leases whose frame is written and not known to be read.
    settling: HashMap<u64, Settled>,
    longest: Duration,
}

#[derive(Debug)]
struct Held<M> {
    tag: Tag,
    arrived: Instant,
    expires: Instant,
    /// The action that a copy is sent for.
    copying: Option<Final>,
    message: M,
}

impl<M> Held<M> {
    /// When it expires, with the longest lease.
    fn ends(&self, longest: Duration) -> Instant {
        if self.copying.is_some() { self.arrived + longest } else { self.expires }
    }
}

impl<M> LeaseTable<M> {
    /// No leases yet. Each lasts at most `longest` from the arrival of its message on.
    pub(super) fn new(longest: Duration) -> Self {
        Self { held: HashMap::new(), by_expiry: BTreeSet::new(), settling: HashMap::new(), longest }
    }

    /// Adds a lease for a message that arrived at this time, and returns when the lease expires.
    pub(super) fn add(
        &mut self,
        serial: u64,
        (tag, arrived): (Tag, Instant),
        message: M,
        lease: Duration,
        now: Instant,
    ) -> Instant {
        let expires = (now + lease).min(arrived + self.longest);
        self.held.insert(serial, Held { tag, arrived, expires, copying: None, message });
        self.by_expiry.insert((expires, serial));
        expires
    }

    /// Begins to settle a lease without a copy.
    pub(super) fn settle(&mut self, serial: u64, settled: Settled, now: Instant) -> Step {
        let Some(how) = settled.how() else { return Step::Unknown };
        if let Some(held) = self.held_at(serial, now) {
            if let Some(copying) = held.copying {
                return if copying == how { Step::JoinCopy } else { Step::Refuse };
            }
            let tag = held.tag;
            self.remove(serial);
            self.settling.insert(serial, settled);
            return Step::Begin(tag);
        }
        self.join(serial, how)
    }

    /// Begins to settle a lease with a copy.
    pub(super) fn begin_copy(&mut self, serial: u64, how: Final, now: Instant) -> Step {
        let longest = self.longest;
        let Some(held) = self.held_at(serial, now) else { return self.join(serial, how) };
        match held.copying {
            Some(copying) if copying == how => Step::JoinCopy,
            Some(_) => Step::Refuse,
            None => {
                let (expires, tag) = (held.expires, held.tag);
                held.copying = Some(how);
                let ends = held.ends(longest);
                self.by_expiry.remove(&(expires, serial));
                self.by_expiry.insert((ends, serial));
                Step::Begin(tag)
            }
        }
    }

    /// Ends the copy of a lease. With a result the lease is being settled, and its delivery tag is to be acked; without one it is held
    /// again. `None` if the lease is gone.
    pub(super) fn end_copy(&mut self, serial: u64, result: Option<Settled>) -> Option<Tag> {
        let longest = self.longest;
        let held = self.held.get_mut(&serial).filter(|held| held.copying.is_some())?;
        let (tag, ends, expires) = (held.tag, held.ends(longest), held.expires);
        if let Some(settled) = result {
            self.remove(serial);
            self.settling.insert(serial, settled);
        } else {
            held.copying = None;
            self.by_expiry.remove(&(ends, serial));
            self.by_expiry.insert((expires, serial));
        }
        Some(tag)
    }

    /// The message of a lease that is held.
    pub(super) fn message(&mut self, serial: u64) -> Option<&mut M> {
        self.held.get_mut(&serial).map(|held| &mut held.message)
    }

    fn join(&self, serial: u64, how: Final) -> Step {
        match self.settling.get(&serial) {
            Some(settled) if settled.how() == Some(how) => Step::JoinBarrier(settled.clone()),
            Some(_) => Step::Refuse,
            None => Step::Unknown,
        }
    }

    /// Ends the settling of a lease, and returns how it was settled.
    pub(super) fn finish(&mut self, serial: u64) -> Option<Settled> {
        self.settling.remove(&serial)
    }

    /// Gives a lease this time from now on, and returns when it expires.
    pub(super) fn extend(
        &mut self,
        serial: u64,
        lease: Duration,
        now: Instant,
    ) -> Result<Instant, NotExtended> {
        let longest = self.longest;
        let is_settling = self.settling.contains_key(&serial);
        let Some(held) = self.held_at(serial, now) else {
            return Err(if is_settling { NotExtended::Settling } else { NotExtended::Unknown });
        };
        if held.copying.is_some() {
            return Err(NotExtended::Settling);
        }
        let expires = now + lease;
        if expires > held.arrived + longest {
            return Err(NotExtended::TooLong);
        }
        let before = std::mem::replace(&mut held.expires, expires);
        self.by_expiry.remove(&(before, serial));
        self.by_expiry.insert((expires, serial));
        Ok(expires)
    }

    /// Removes the leases that have expired, and returns their numbers and delivery tags.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(u64, Tag)> {
        let mut expired = Vec::new();
        while let Some((ends, serial)) = self.by_expiry.first().copied()
            && ends <= now
        {
            self.by_expiry.remove(&(ends, serial));
            expired.extend(self.held.remove(&serial).map(|held| (serial, held.tag)));
        }
        expired
    }

    /// Removes a lease whose caller never got it. Returns its delivery tag, the arrival of the message, and the message.
    pub(super) fn take_back(&mut self, serial: u64, now: Instant) -> Option<(Tag, Instant, M)> {
        self.held_at(serial, now).filter(|held| held.copying.is_none())?;
        self.remove(serial).map(|held| (held.tag, held.arrived, held.message))
    }

    /// Removes all leases whose frame is not written, and returns their delivery tags.
    pub(super) fn take_all(&mut self) -> Vec<Tag> {
        self.by_expiry.clear();
        self.held.drain().map(|(_, held)| held.tag).collect()
    }

    /// Forgets everything: the channel of the messages is gone.
    pub(super) fn lose(&mut self) {
        self.take_all();
        self.settling.clear();
    }

    /// When the next lease expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.by_expiry.first().map(|(ends, _)| *ends)
    }

    /// Whether no lease is held or being settled.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.settling.is_empty()
    }

    /// The lease, unless it has expired at this time.
    fn held_at(&mut self, serial: u64, now: Instant) -> Option<&mut Held<M>> {
        let longest = self.longest;
        self.held.get_mut(&serial).filter(|held| held.ends(longest) > now)
    }

    fn remove(&mut self, serial: u64) -> Option<Held<M>> {
        let held = self.held.remove(&serial)?;
        self.by_expiry.remove(&(held.ends(self.longest), serial));
        Some(held)
    }
}

#[cfg(test)]
mod tests;
