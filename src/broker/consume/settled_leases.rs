//! The leases that are settled: a repeated request gets the answer of the first one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::settle::Settled;

/// How long a settled lease is remembered.
const KEPT: Duration = Duration::from_mins(10);

/// The settled leases of all queues.
#[derive(Debug)]
pub(super) struct SettledLeases {
    by_serial: HashMap<u64, Settled>,
    /// In the order in which they were settled.
    order: VecDeque<(Instant, u64)>,
    limit: usize,
    /// How long a lease is remembered even if the table is full.
    least: Duration,
}

impl SettledLeases {
    /// Remembers `limit` leases; more where the oldest are younger than `least`.
    pub(super) fn new(limit: usize, least: Duration) -> Self {
        Self { by_serial: HashMap::new(), order: VecDeque::new(), limit, least }
    }

    /// Remembers how a lease was settled.
    pub(super) fn add(&mut self, serial: u64, how: Settled, now: Instant) {
        self.forget(now);
        self.by_serial.insert(serial, how);
        self.order.push_back((now, serial));
    }

    /// How the lease was settled, where it is remembered.
    pub(super) fn get(&self, serial: u64) -> Option<Settled> {
        self.by_serial.get(&serial).cloned()
    }

    /// Whether no further lease should begin: the table is full, and its oldest entry must stay.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.order.len() >= self.limit
    }

    /// Forgets the leases that are too old, and the oldest ones if the table is full.
    fn forget(&mut self, now: Instant) {
        while let Some((settled, serial)) = self.order.front().copied() {
            let age = now.saturating_duration_since(settled);
            let is_over = age >= KEPT || self.order.len() >= self.limit && age >= self.least;
            if !is_over {
                return;
            }
            self.order.pop_front();
            self.by_serial.remove(&serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_remembered_for_ten_minutes_or_until_the_table_is_full() {
        let start = Instant::now();
        let least = Duration::from_mins(2);
        let mut settled = SettledLeases::new(2, least);
        settled.add(1, Settled::Acked, start);
        settled.add(2, Settled::Rejected, start);
        assert!(settled.is_full(start));
        settled.add(3, Settled::Released, start + Duration::from_secs(1));
        assert_eq!(settled.get(1), Some(Settled::Acked));
        assert!(!settled.is_full(start + least + Duration::from_secs(1)));
        assert_eq!((settled.get(1), settled.get(2), settled.get(3)), (None, None, Some(Settled::Released)));
        settled.add(4, Settled::Acked, start + least);
        assert!(!settled.is_full(start + least + KEPT));
        assert_eq!(settled.get(4), None);
    }
}
