//! The callers who wait for messages of a queue, first come first served.
//!
//! There may be thousands, and the worker looks at them after each event. So no question about them takes longer the more there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::consume::command::Caller;
use crate::fairness::{OverShare, Promised, Shares};

/// How long a caller waits for RabbitMQ beside its wait for messages.
const PATIENCE: Duration = Duration::from_secs(10);

/// The waiting callers that a round looks at, beside those whom it refuses, where principals have shares.
const MOST_LOOKED_AT: usize = 1000;

/// The callers who wait.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// By their numbers, and so in the order in which they came.
    by_number: BTreeMap<u64, Caller>,
    by_wait_end: BTreeSet<(Instant, u64)>,
    wanted: usize,
    /// The number of callers of principals that have shares.
    with_share: usize,
}

impl Callers {
    pub(super) fn add(&mut self, caller: Caller) {
        self.wanted += caller.max;
        self.with_share += usize::from(caller.holder.has_share());
        self.by_wait_end.insert((caller.wait_end, caller.number));
        self.by_number.insert(caller.number, caller);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// The number of messages that the first callers may have by the shares of their principals, at most `most`, while `free` leases are
    /// free. Removes those of them whose principals may have none. [`Shares::take_up_to`] for these callers in turn gives the same.
    pub(super) fn permitted(
        &mut self,
        shares: &Shares,
        free: usize,
        most: usize,
    ) -> (usize, Vec<(Caller, OverShare)>) {
        if self.with_share == 0 {
            return (self.wanted.min(most), Vec::new());
        }
        let (mut count, mut refused, mut by_holder) = (0, Vec::new(), HashMap::<_, usize>::new());
        for (place, (number, caller)) in self.by_number.iter().enumerate() {
            // Those who are refused do not wait any more, so a look past them happens once.
            if count >= most || place - refused.len() >= MOST_LOOKED_AT {
                break;
            }
            let holders = by_holder.entry(&caller.holder).or_default();
            let promised = Promised { to_holder: *holders, to_others: count > *holders };
            let wanted = caller.max.min(most - count);
            match shares.allowance(&caller.holder, promised, wanted, free - count) {
                Ok(messages) => {
                    *holders += messages;
                    count += messages;
                }
                Err(share) if *holders == 0 => refused.push((*number, share)),
                // A further caller of a principal that gets its share by this round.
                Err(_) => {}
            }
        }
        let refused = refused.into_iter().filter_map(|(number, share)| Some((self.remove(number)?, share)));
        (count, refused.collect())
    }

    /// Takes the caller who came first.
    pub(super) fn take_first(&mut self) -> Option<Caller> {
        let number = *self.by_number.first_key_value()?.0;
        self.remove(number)
    }

    /// Removes the caller with this number, if it still waits.
    pub(super) fn remove(&mut self, number: u64) -> Option<Caller> {
        let caller = self.by_number.remove(&number)?;
        self.by_wait_end.remove(&(caller.wait_end, number));
        self.wanted -= caller.max;
        self.with_share -= usize::from(caller.holder.has_share());
        Some(caller)
    }

    /// Takes all callers.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Caller> + use<> {
        std::mem::take(self).by_number.into_values()
    }

    /// When the first wait for a message ends.
    pub(super) fn first_wait_end(&self) -> Option<Instant> {
        self.by_wait_end.first().map(|(wait_end, _)| *wait_end)
    }

    /// When the first caller no longer waits for RabbitMQ.
    pub(super) fn first_give_up(&self) -> Option<Instant> {
        self.first_wait_end().map(|wait_end| wait_end + PATIENCE)
    }

    /// Takes the callers who no longer wait for RabbitMQ.
    pub(super) fn take_given_up(&mut self, now: Instant) -> Vec<Caller> {
        self.take_late(|wait_end| wait_end + PATIENCE <= now, |_| true)
    }

    /// The worker has written the cancel of a round.
    pub(super) fn note_cancel(&mut self) {
        for caller in self.by_number.values_mut() {
            caller.is_before_cancel = true;
        }
    }

    /// Takes the callers whose wait is over and who came before the last cancel.
    pub(super) fn take_unserved(&mut self, now: Instant) -> Vec<Caller> {
        self.take_late(|wait_end| wait_end <= now, |caller| caller.is_before_cancel)
    }

    /// Takes the late callers that `is_meant` is true for. Later wait ends are never late.
    fn take_late(
        &mut self,
        is_late: impl Fn(Instant) -> bool,
        is_meant: impl Fn(&Caller) -> bool,
    ) -> Vec<Caller> {
        let late = self.by_wait_end.iter().take_while(|(wait_end, _)| is_late(*wait_end));
        let is_meant = |number: &u64| self.by_number.get(number).is_some_and(&is_meant);
        let numbers: Vec<_> = late.map(|(_, number)| *number).filter(is_meant).collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::fairness::Holder;

    fn caller(number: u64, wait_end: Instant) -> Caller {
        let lease = Duration::from_secs(1);
        let (answer, holder) = (oneshot::channel().0, Holder::default());
        let principal = Arc::from("");
        Caller { number, principal, holder, max: 10, lease, wait_end, is_before_cancel: false, answer }
    }

    fn numbers(callers: impl IntoIterator<Item = Caller>) -> Vec<u64> {
        callers.into_iter().map(|caller| caller.number).collect()
    }

    /// Callers 1 to 4, who wait for 4 to 1 seconds.
    fn four(now: Instant) -> Callers {
        let mut callers = Callers::default();
        for number in 1..=4 {
            callers.add(caller(number, now + Duration::from_secs(5 - number)));
        }
        callers
    }

    #[test]
    fn the_first_caller_is_served_first_and_one_who_left_is_not_served() {
        let mut callers = four(Instant::now());
        assert!(callers.remove(2).is_some());
        assert!(callers.remove(2).is_none());
        assert_eq!((callers.wanted, numbers(callers.take_first())), (30, vec![1]));
        assert_eq!((callers.wanted, numbers(callers.take_all())), (20, vec![3, 4]));
        assert_eq!((callers.is_empty(), callers.wanted, callers.first_wait_end()), (true, 0, None));
    }

    #[test]
    fn a_caller_who_came_after_the_cancel_waits_for_a_further_round() {
        let now = Instant::now();
        let mut callers = four(now);
        callers.note_cancel();
        callers.add(caller(5, now));
        assert_eq!(callers.first_wait_end(), Some(now));
        assert_eq!(numbers(callers.take_unserved(now + Duration::from_secs(2))), [4, 3]);
        assert_eq!(numbers(callers.take_all()), [1, 2, 5]);
    }

    #[test]
    fn a_round_asks_for_the_shares_of_principals_and_refuses_one_that_has_its_share() {
        let (mut callers, now) = (Callers::default(), Instant::now());
        let [greedy, small] = ["greedy", "small"].map(|name| Holder::principal(&Arc::from(name)));
        for (number, holder) in [(1, &greedy), (2, &small), (3, &small), (4, &greedy), (5, &small)] {
            callers.add(Caller { holder: holder.clone(), ..caller(number, now) });
        }
        let shares = Shares::new(1024);
        assert_eq!(callers.permitted(&shares, 1024, 250).0, 50);
        assert_eq!(callers.permitted(&shares, 1024, 15).0, 15);
        let _greedy = shares.take(&greedy, 900, 1024).expect("alone");
        let _small = shares.take(&small, 3, 124).expect("little");
        // The small principal may hold 16.
        let (wanted, refused) = callers.permitted(&shares, 121, 250);
        let refused = refused.into_iter().map(|(caller, share)| (caller.number, share.held));
        assert_eq!((wanted, refused.collect::<Vec<_>>()), (30, vec![(1, 900), (4, 900)]));
        assert_eq!(callers.permitted(&shares, 13, 250).0, 13);
        assert_eq!(numbers(callers.take_all()), [2, 3, 5]);
        assert_eq!(callers.with_share, 0);
    }

    #[test]
    fn a_caller_behind_a_thousand_who_are_refused_gets_its_round() {
        let (mut callers, now) = (Callers::default(), Instant::now());
        let [greedy, small] = ["greedy", "small"].map(|name| Holder::principal(&Arc::from(name)));
        let last = 2 * MOST_LOOKED_AT as u64 + 1;
        for number in 1..=last {
            let holder = if number == last { &small } else { &greedy };
            callers.add(Caller { holder: holder.clone(), ..caller(number, now) });
        }
        let shares = Shares::new(1024);
        let _greedy = shares.take(&greedy, 900, 1024).expect("alone");
        let _small = shares.take(&small, 1, 124).expect("little");
        let (wanted, refused) = callers.permitted(&shares, 123, 250);
        assert_eq!(
            (wanted, refused.len(), numbers(callers.take_all())),
            (10, 2 * MOST_LOOKED_AT, vec![last])
        );
    }

    #[test]
    fn a_round_asks_for_as_many_messages_as_its_callers_can_then_take() {
        let names = ["a", "b", "c"].map(|name| Holder::principal(&Arc::from(name)));
        for limit in [16, 40, 100, 1024] {
            let (mut callers, now) = (Callers::default(), Instant::now());
            for number in 0..9 {
                let holder = names[usize::try_from(number * number % 3).expect("small")].clone();
                callers.add(Caller { holder, ..caller(number, now) });
            }
            let shares = Shares::new(limit);
            let _held = shares.take(&names[2], limit / 5, limit).expect("alone");
            let free = limit - limit / 5;
            let (asked, _refused) = callers.permitted(&shares, free, 250);
            let (mut ready, mut parts) = (asked, Vec::new());
            while let Some(caller) = callers.take_first().filter(|_| ready > 0) {
                // The worker does the same when all messages have arrived: `ready` of them have no caller yet.
                if let Ok((taken, part)) =
                    shares.take_up_to(&caller.holder, caller.max.min(ready), free - asked + ready)
                {
                    ready -= taken;
                    parts.push(part);
                }
            }
            assert_eq!(ready, 0, "of {asked} with {limit}");
        }
    }

    #[test]
    fn callers_give_up_some_time_after_their_wait() {
        let now = Instant::now();
        let mut callers = four(now);
        let first = now + Duration::from_secs(1) + PATIENCE;
        assert_eq!(callers.first_give_up(), Some(first));
        assert_eq!(numbers(callers.take_given_up(first)), [4]);
        assert_eq!(callers.first_give_up(), Some(first + Duration::from_secs(1)));
    }
}
