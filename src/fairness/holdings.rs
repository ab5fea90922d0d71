//! How much of a resource each principal holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Holder;

/// The parts of one resource that principals hold. Clones share them. A principal that holds nothing takes no memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Holdings(Arc<Mutex<HashMap<Arc<str>, usize>>>);

impl Holdings {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a part of this size for its holder.
    pub(super) fn hold(&self, holder: &Holder, count: usize) -> Held {
        match holder.name() {
            Some(name) => self.hold_in(&mut self.lock(), name, count),
            None => Held(None),
        }
    }

    /// The same for one who has the lock.
    pub(super) fn hold_in(&self, held: &mut HashMap<Arc<str>, usize>, name: &Arc<str>, count: usize) -> Held {
        *held.entry(Arc::clone(name)).or_default() += count;
        Held(Some(Part { holdings: self.clone(), name: Arc::clone(name), count }))
    }

    fn release(&self, name: &Arc<str>, count: usize) {
        let mut held = self.lock();
        if let Some(all) = held.get_mut(name) {
            *all = all.saturating_sub(count);
            if *all == 0 {
                held.remove(name);
            }
        }
    }
}

/// A part of a resource that a principal holds, until it is dropped.
#[derive(Debug, Default)]
pub struct Held(Option<Part>);

#[derive(Debug)]
struct Part {
    holdings: Holdings,
    name: Arc<str>,
    count: usize,
}

impl Held {
    /// Adds a part of the same principal and resource.
    pub fn merge(&mut self, mut more: Self) {
        match (&mut self.0, &mut more.0) {
            // The other part releases nothing when it is dropped.
            (Some(part), Some(other)) => part.count += std::mem::take(&mut other.count),
            (this @ None, other) => *this = other.take(),
            (Some(_), None) => {}
        }
    }

    /// Splits off a part of this size, or all.
    #[must_use]
    pub fn split(&mut self, count: usize) -> Self {
        let Some(part) = &mut self.0 else { return Self(None) };
        let count = count.min(part.count);
        part.count -= count;
        Self(Some(Part { holdings: part.holdings.clone(), name: Arc::clone(&part.name), count }))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.count > 0 {
            self.holdings.release(&self.name, self.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_split_and_merged_and_counted_until_they_are_dropped() {
        let (holdings, name) = (Holdings::default(), Arc::from("shop"));
        let of_shop = || holdings.lock().get(&name).copied();
        let mut first = holdings.hold(&Holder::principal(&name), 10);
        let second = first.split(4);
        assert_eq!(of_shop(), Some(10));
        drop(second);
        assert_eq!(of_shop(), Some(6));
        let mut none = Held::default();
        none.merge(first.split(100));
        drop(first);
        none.merge(holdings.hold(&Holder::principal(&name), 3));
        none.merge(Held::default());
        assert_eq!(of_shop(), Some(9));
        drop(none);
        assert_eq!(of_shop(), None);
        assert!(holdings.hold(&Holder::default(), 3).0.is_none());
        assert!(holdings.lock().is_empty());
    }
}
