//! The table of idempotency keys, without a clock and without a lock.
//!
//! It holds at most `max` keys. A key in flight stays until its publish ends. A finished key stays for the TTL after that, or until
//! it is the oldest finished one when a new key needs the place. Each operation takes constant time, amortised.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hashlink::LinkedHashMap;

use super::fingerprint::Fingerprint;
use super::key::ScopedKey;
use crate::broker::Receipt;

/// The most expired keys that one operation removes, so that no caller waits for the removal of many.
const SWEEP: usize = 16;

/// The idempotency keys that the gateway remembers.
pub(super) struct KeyTable {
    ttl: Duration,
    max: usize,
    in_flight: HashMap<ScopedKey, Fingerprint>,
    /// In the order of their ends.
    finished: LinkedHashMap<ScopedKey, Finished>,
}

/// A key whose publish has ended.
struct Finished {
    fingerprint: Fingerprint,
    ended: Instant,
    memory: Memory,
}

/// The part of a publish's result that the gateway remembers. A publish that left no message is not remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// RabbitMQ holds the message, and this was the receipt.
    Held(Receipt),
    /// The outcome is `rejected` or `unknown`: a copy may be in a queue.
    CopyPossible,
}

/// The answer of the table to a request with a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// The key is in flight from now on, and the request is to be published.
    Publish {
        /// Whether an earlier request may have left a copy of the message.
        earlier_copy_possible: bool,
        /// Whether the oldest finished key was removed for this one.
        evicted: bool,
    },
    /// An earlier request had this receipt.
    Replay(Receipt),
    /// An earlier request is in flight.
    InUse,
    /// The key belongs to another message.
    Reused,
    /// All keys are in flight, so the table has no place.
    Full,
}

impl KeyTable {
    pub(super) fn new(ttl: Duration, max: usize) -> Self {
        Self { ttl, max, in_flight: HashMap::new(), finished: LinkedHashMap::new() }
    }

    /// Begins a request with this key.
    ///
    /// Another message is refused first, also while the key is in flight: a later attempt of it can never succeed, so its caller
    /// must not be told to wait.
    pub(super) fn begin(&mut self, key: ScopedKey, fingerprint: Fingerprint, now: Instant) -> Begun {
        self.sweep(now);
        if let Some(known) = self.in_flight.get(&key) {
            return if *known == fingerprint { Begun::InUse } else { Begun::Reused };
        }
        match self.finished.get(&key) {
            Some(finished) if finished.is_expired(now, self.ttl) => {
                self.finished.remove(&key);
                self.begin_first(key, fingerprint)
            }
            Some(finished) if finished.fingerprint != fingerprint => Begun::Reused,
            Some(Finished { memory: Memory::Held(receipt), .. }) => Begun::Replay(*receipt),
            Some(Finished { memory: Memory::CopyPossible, .. }) => {
                self.finished.remove(&key);
                self.in_flight.insert(key, fingerprint);
                Begun::Publish { earlier_copy_possible: true, evicted: false }
            }
            None => self.begin_first(key, fingerprint),
        }
    }

    fn begin_first(&mut self, key: ScopedKey, fingerprint: Fingerprint) -> Begun {
        let is_full = self.len() >= self.max;
        if is_full && self.finished.pop_front().is_none() {
            return Begun::Full;
        }
        self.in_flight.insert(key, fingerprint);
        Begun::Publish { earlier_copy_possible: false, evicted: is_full }
    }

    /// Ends the publish of a key in flight. Without a memory the key is forgotten, and the next request with it is a first one.
    pub(super) fn end(&mut self, key: ScopedKey, memory: Option<Memory>, now: Instant) {
        let fingerprint = self.in_flight.remove(&key);
        if let (Some(fingerprint), Some(memory)) = (fingerprint, memory) {
            self.finished.insert(key, Finished { fingerprint, ended: now, memory });
        }
    }

    /// Removes some of the keys whose time is over; gives whether more may be left.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        for _ in 0..SWEEP {
            match self.finished.front() {
                Some((_, oldest)) if oldest.is_expired(now, self.ttl) => self.finished.pop_front(),
                _ => return false,
            };
        }
        true
    }

    /// The number of keys, those in flight included.
    pub(super) fn len(&self) -> usize {
        self.in_flight.len() + self.finished.len()
    }
}

impl Finished {
    fn is_expired(&self, now: Instant, ttl: Duration) -> bool {
        now.saturating_duration_since(self.ended) >= ttl
    }
}

#[cfg(test)]
mod tests;
