//! A limit that principals share, and the rule of a fair share.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Holder;
use super::holdings::{Held, Holdings};

/// This part of a resource is kept for principals that hold little of it: a sixteenth.
const KEPT: usize = 16;
/// A principal holds little up to this part of a resource: a sixty-fourth.
const LITTLE: usize = 64;

/// A principal may not take more: it holds its fair share already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverShare {
    /// The part that it holds.
    pub held: usize,
    /// The whole resource.
    pub limit: usize,
}

/// The parts of a resource that are promised and not taken yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Promised {
    /// The part that is promised to the holder.
    pub to_holder: usize,
    /// Whether a part is promised to others.
    pub to_others: bool,
}

/// Why a limit has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// All together hold the whole resource.
    Full,
    /// There is room, but not for this principal.
    OverShare(OverShare),
}

/// The parts of a resource that principals hold; its user counts the whole. Clones share it.
///
/// A principal may take more, if it then holds at most as much as stays free, or as long as no other principal holds any. A
/// sixteenth of the resource is kept for principals that hold at most a sixty-fourth of it.
#[derive(Debug, Clone)]
pub struct Shares {
    limit: usize,
    holdings: Holdings,
}

impl Shares {
    /// Shares of a resource of this size.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, holdings: Holdings::default() }
    }

    /// Takes a part of this size for a holder, while `free` of the resource is free.
    ///
    /// # Errors
    /// [`OverShare`]; never for a holder without a share.
    pub fn take(&self, holder: &Holder, count: usize, free: usize) -> Result<Held, OverShare> {
        let Some(name) = holder.name() else { return Ok(Held::default()) };
        self.take_in(&mut self.holdings.lock(), (holder, name), count, free)
    }

    /// The same for one who has the lock.
    fn take_in(
        &self,
        holdings: &mut HashMap<Arc<str>, usize>,
        (holder, name): (&Holder, &Arc<str>),
        count: usize,
        free: usize,
    ) -> Result<Held, OverShare> {
        let held = holdings.get(name).copied().unwrap_or_default();
        let has_others = holdings.len() > usize::from(held > 0);
        if holder.has_share() && !may_take(self.limit, (held, has_others), free, count) {
            return Err(OverShare { held, limit: self.limit });
        }
        Ok(self.holdings.hold_in(holdings, name, count))
    }

    /// Takes as much as a holder may take, at most `count`, while `free` of the resource is free. Returns its size too.
    ///
    /// # Errors
    /// [`OverShare`] if it may take nothing.
    pub fn take_up_to(&self, holder: &Holder, count: usize, free: usize) -> Result<(usize, Held), OverShare> {
        let Some(name) = holder.name() else { return Ok((count, Held::default())) };
        let mut holdings = self.holdings.lock();
        let count = if holder.has_share() {
            self.allowed(&holdings, (name, Promised::default()), count, free)?
        } else {
            count
        };
        Ok((count, self.holdings.hold_in(&mut holdings, name, count)))
    }

    /// How much a holder may take at this moment, at most `count`, while `free` of the resource is free and parts are promised already:
    /// this much to the holder, and perhaps some to others.
    ///
    /// # Errors
    /// [`OverShare`] if it may take nothing.
    pub fn allowance(
        &self,
        holder: &Holder,
        promised: Promised,
        count: usize,
        free: usize,
    ) -> Result<usize, OverShare> {
        let Some(name) = holder.shared_name() else { return Ok(count) };
        self.allowed(&self.holdings.lock(), (name, promised), count, free)
    }

    fn allowed(
        &self,
        holdings: &HashMap<Arc<str>, usize>,
        (name, promised): (&Arc<str>, Promised),
        count: usize,
        free: usize,
    ) -> Result<usize, OverShare> {
        let held = holdings.get(name).copied().unwrap_or_default();
        let has_others = promised.to_others || holdings.len() > usize::from(held > 0);
        let held = held + promised.to_holder;
        let may_take = |count: usize| may_take(self.limit, (held, has_others), free, count);
        // A principal that may take a number may take each smaller one.
        let (mut most, mut too_many) = (0, count + 1);
        while most + 1 < too_many {
            let middle = most.midpoint(too_many);
            if may_take(middle) { most = middle } else { too_many = middle }
        }
        if most == 0 && count > 0 { Err(OverShare { held, limit: self.limit }) } else { Ok(most) }
    }
}

/// The rule: whether a principal that holds `held` may take `count` more of a resource of which `free` is free.
fn may_take(limit: usize, (held, has_others): (usize, bool), free: usize, count: usize) -> bool {
    let Some(left) = free.checked_sub(count) else { return false };
    let after = held + count;
    after <= limit.div_ceil(LITTLE) || (left >= limit.div_ceil(KEPT) && (!has_others || after <= left))
}

/// A limit for all, of which each principal gets its fair share. Clones have the same limit.
#[derive(Debug, Clone)]
pub struct SharedLimit {
    limit: usize,
    permits: Arc<Semaphore>,
    shares: Shares,
}

impl SharedLimit {
    /// A limit of this size; the largest one is that of a semaphore.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { limit, permits: Arc::new(Semaphore::new(limit)), shares: Shares::new(limit) }
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How much all together hold.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.limit.saturating_sub(self.permits.available_permits())
    }

    /// Takes a part of this size.
    ///
    /// # Errors
    /// [`NoRoom`], at once.
    pub fn take(&self, holder: &Holder, count: usize) -> Result<Permit, NoRoom> {
        let permits = u32::try_from(count).map_err(|_| NoRoom::Full)?;
        let acquire = || Arc::clone(&self.permits).try_acquire_many_owned(permits).map_err(|_| NoRoom::Full);
        let Some(name) = holder.name() else {
            return Ok(Permit { _share: Held::default(), _permits: acquire()? });
        };
        // One at a time, so that no two take the same free part.
        let mut holdings = self.shares.holdings.lock();
        let permits = acquire()?;
        let free = self.permits.available_permits() + count;
        let share = self.shares.take_in(&mut holdings, (holder, name), count, free);
        Ok(Permit { _share: share.map_err(NoRoom::OverShare)?, _permits: permits })
    }
}

/// A part of a [`SharedLimit`], until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _share: Held,
    _permits: OwnedSemaphorePermit,
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_with;
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn named(name: &str) -> Holder {
        Holder::principal(&Arc::from(name))
    }

    /// Takes parts of the size 1 until there is no room.
    fn take_all(limit: &SharedLimit, holder: &Holder) -> (Vec<Permit>, NoRoom) {
        let (mut permits, mut why) = (Vec::new(), None);
        for taken in repeat_with(|| limit.take(holder, 1)) {
            match taken {
                Ok(permit) => permits.push(permit),
                Err(no_room) => {
                    why = Some(no_room);
                    break;
                }
            }
        }
        (permits, why.expect("no room"))
    }

    #[test]
    fn a_principal_alone_takes_all_but_the_kept_part_and_nobody_takes_all() {
        let limit = SharedLimit::new(1024);
        let (all, why) = take_all(&limit, &Holder::default());
        assert_eq!((all.len(), limit.taken(), why), (1024, 1024, NoRoom::Full));
        drop(all);
        let (most, why) = take_all(&limit, &named("shop"));
        let over_share = NoRoom::OverShare(OverShare { held: 960, limit: 1024 });
        assert_eq!((most.len(), why, limit.taken()), (960, over_share, 960));
    }

    #[test]
    fn a_small_principal_finds_room_and_a_greedy_one_goes_back_to_its_half() {
        let limit = SharedLimit::new(1024);
        let (mut greedy, _) = take_all(&limit, &named("greedy"));
        let (small, why) = take_all(&limit, &named("small"));
        assert_eq!(small.len(), 16, "a sixty-fourth");
        assert_eq!(why, NoRoom::OverShare(OverShare { held: 16, limit: 1024 }));
        // The greedy one takes no more before it holds at most as much as is free.
        greedy.truncate(504);
        assert_eq!(
            limit.take(&named("greedy"), 1).err(),
            Some(NoRoom::OverShare(OverShare { held: 504, limit: 1024 }))
        );
        greedy.truncate(503);
        assert!(limit.take(&named("greedy"), 1).is_ok());
        drop(small);
        let (more, _) = take_all(&limit, &named("greedy"));
        assert_eq!(greedy.len() + more.len(), 960);
    }

    #[test]
    fn the_parts_of_an_only_principal_count_when_there_is_another_one() {
        let limit = SharedLimit::new(1024);
        let (mut parts, why) = take_all(&limit, &Holder::only_principal(&Arc::from("shop")));
        assert_eq!((parts.len(), why), (1024, NoRoom::Full));
        // The file has a second principal now.
        parts.truncate(600);
        let over_share = NoRoom::OverShare(OverShare { held: 600, limit: 1024 });
        let (small, _) = take_all(&limit, &named("small"));
        assert_eq!((limit.take(&named("shop"), 1).err(), small.is_empty()), (Some(over_share), false));
        let shares = Shares::new(16);
        let only = Holder::only_principal(&Arc::from("shop"));
        assert_eq!(shares.allowance(&only, Promised::default(), 100, 16), Ok(100));
        let (count, _held) = shares.take_up_to(&only, 16, 16).expect("no share");
        assert_eq!((count, shares.take(&named("shop"), 1, 1).err().map(|it| it.held)), (16, Some(16)));
    }

    #[test]
    fn the_kept_part_stays_free_when_many_take_at_the_same_time() {
        for round in 0..200 {
            let limit = SharedLimit::new(16);
            let start = Barrier::new(4);
            let permits: Vec<_> = thread::scope(|scope| {
                let greedy = || {
                    start.wait();
                    (0..16).filter_map(|_| limit.take(&named("greedy"), 1).ok()).collect::<Vec<_>>()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(greedy)).collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
            });
            assert_eq!((permits.len(), limit.taken()), (15, 15), "in round {round}");
        }
    }

    #[test]
    fn twenty_greedy_principals_leave_the_kept_part() {
        let limit = SharedLimit::new(4096);
        let names: Vec<_> = (0..20).map(|n| named(&format!("greedy-{n}"))).collect();
        let mut all = Vec::new();
        for _ in 0..4096 {
            all.extend(names.iter().filter_map(|name| limit.take(name, 1).ok()));
        }
        assert!(limit.taken() <= 4096 - 256, "{}", limit.taken());
        let (small, _) = take_all(&limit, &named("small"));
        assert_eq!(small.len(), 64);
    }

    #[test]
    fn small_limits_have_room_for_one_more_principal() {
        for size in 2..40 {
            let limit = SharedLimit::new(size);
            let (greedy, _) = take_all(&limit, &named("greedy"));
            assert_eq!(greedy.len(), size - size.div_ceil(16), "of {size}");
            assert!(limit.take(&named("small"), 1).is_ok(), "of {size}");
        }
        assert!(SharedLimit::new(1).take(&named("one"), 1).is_ok());
        assert_eq!(SharedLimit::new(1).take(&named("one"), 2).err(), Some(NoRoom::Full));
    }

    #[test]
    fn the_allowance_is_what_can_be_taken() {
        for (limit, others, held) in
            [(1024, 0, 0), (1024, 1, 0), (1024, 300, 100), (1024, 900, 20), (50, 20, 3)]
        {
            let shares = Shares::new(limit);
            let _others = shares.holdings.hold(&named("other"), others);
            let shop = named("shop");
            let _held = shares.holdings.hold(&shop, held);
            let free = limit - others - held;
            let allowed = (1..=limit).take_while(|count| shares.take(&shop, *count, free).is_ok()).count();
            assert_eq!(
                shares.allowance(&shop, Promised::default(), limit, free).unwrap_or(0),
                allowed,
                "{limit} {others} {held}"
            );
            assert_eq!(shares.allowance(&shop, Promised::default(), 2, free).unwrap_or(0), allowed.min(2));
            let taken = shares.take_up_to(&shop, limit, free).map(|(count, _held)| count);
            assert_eq!(taken.unwrap_or(0), allowed);
        }
        let none = Shares::new(16);
        assert_eq!(none.allowance(&Holder::default(), Promised::default(), 100, 0), Ok(100));
    }
}
