//! The leases of one queue, without any I/O: held → settling → settled, held → expired, any → lost.
//!
//! The state of a lease changes before its frame is written. So a message never has two live leases, and a lease is never settled
//! twice.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::settle::Settled;

/// An action that ends a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Final {
    Acked,
    Released,
    Rejected,
}

impl From<Final> for Settled {
    fn from(how: Final) -> Self {
        match how {
            Final::Acked => Self::Acked,
            Final::Released => Self::Released,
            Final::Rejected => Self::Rejected,
        }
    }
}

/// What the worker has to do to settle a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Write the frame for this delivery tag, and wait for RabbitMQ.
    Write(u64),
    /// Wait for RabbitMQ: the frame is written.
    Join,
    /// Refuse: the lease is being settled in this other way.
    Refuse(Final),
    /// The table has no such lease.
    Unknown,
}

/// Why a lease is not extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotExtended {
    /// It would be older than the longest lease.
    TooLong,
    /// It is being settled in this way.
    Settling(Final),
    /// The table has no such lease.
    Unknown,
}

/// The leases of a queue, with their messages.
#[derive(Debug)]
pub(super) struct LeaseTable<M> {
    held: HashMap<u64, Held<M>>,
    by_expiry: BTreeSet<(Instant, u64)>,
    /// Leases whose frame is written and not known to be read.
    settling: HashMap<u64, Final>,
    longest: Duration,
}

#[derive(Debug)]
struct Held<M> {
    tag: u64,
    arrived: Instant,
    expires: Instant,
    message: M,
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
        (tag, arrived): (u64, Instant),
        message: M,
        lease: Duration,
        now: Instant,
    ) -> Instant {
        let expires = (now + lease).min(arrived + self.longest);
        self.held.insert(serial, Held { tag, arrived, expires, message });
        self.by_expiry.insert((expires, serial));
        expires
    }

    /// Begins to settle a lease.
    pub(super) fn settle(&mut self, serial: u64, how: Final, now: Instant) -> Step {
        if let Some(held) = self.remove(serial, now) {
            self.settling.insert(serial, how);
            return Step::Write(held.tag);
        }
        match self.settling.get(&serial) {
            Some(other) if *other == how => Step::Join,
            Some(other) => Step::Refuse(*other),
            None => Step::Unknown,
        }
    }

    /// Ends the settling of a lease, and returns how it was settled.
    pub(super) fn finish(&mut self, serial: u64) -> Option<Final> {
        self.settling.remove(&serial)
    }

    /// Gives a lease this time from now on, and returns when it expires.
    pub(super) fn extend(
        &mut self,
        serial: u64,
        lease: Duration,
        now: Instant,
    ) -> Result<Instant, NotExtended> {
        let Some(held) = self.held.get_mut(&serial).filter(|held| held.expires > now) else {
            return Err(self
                .settling
                .get(&serial)
                .map_or(NotExtended::Unknown, |how| NotExtended::Settling(*how)));
        };
        let expires = now + lease;
        if expires > held.arrived + self.longest {
            return Err(NotExtended::TooLong);
        }
        self.by_expiry.remove(&(held.expires, serial));
        self.by_expiry.insert((expires, serial));
        held.expires = expires;
        Ok(expires)
    }

    /// Removes the leases that have expired, and returns their delivery tags.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<u64> {
        let mut tags = Vec::new();
        while let Some((expires, serial)) = self.by_expiry.first().copied()
            && expires <= now
        {
            self.by_expiry.remove(&(expires, serial));
            tags.extend(self.held.remove(&serial).map(|held| held.tag));
        }
        tags
    }

    /// Removes a lease whose caller never got it. Returns its delivery tag, the arrival of the message, and the message.
    pub(super) fn take_back(&mut self, serial: u64, now: Instant) -> Option<(u64, Instant, M)> {
        self.remove(serial, now).map(|held| (held.tag, held.arrived, held.message))
    }

    /// Removes all leases that can still be settled, and returns their delivery tags.
    pub(super) fn take_all(&mut self) -> Vec<u64> {
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
        self.by_expiry.first().map(|(expires, _)| *expires)
    }

    /// Whether no lease is held or being settled.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.settling.is_empty()
    }

    fn remove(&mut self, serial: u64, now: Instant) -> Option<Held<M>> {
        self.held.get(&serial).filter(|held| held.expires > now)?;
        let held = self.held.remove(&serial)?;
        self.by_expiry.remove(&(held.expires, serial));
        Some(held)
    }
}

#[cfg(test)]
mod tests;
