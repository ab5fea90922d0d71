//! The callers who wait for messages of a queue, first come first served.
//!
//! There may be thousands, and the worker looks at them after each event. So no question about them takes longer the more there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::consume::command::Caller;

/// How long a caller waits for RabbitMQ beside its wait for messages.
const PATIENCE: Duration = Duration::from_secs(10);

/// The callers who wait.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// By their numbers, and so in the order in which they came.
    by_number: BTreeMap<u64, Caller>,
    by_wait_end: BTreeSet<(Instant, u64)>,
    wanted: usize,
}

impl Callers {
    pub(super) fn add(&mut self, caller: Caller) {
        self.wanted += caller.max;
        self.by_wait_end.insert((caller.wait_end, caller.number));
        self.by_number.insert(caller.number, caller);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    /// The number of messages that all callers want.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
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

    fn caller(number: u64, wait_end: Instant) -> Caller {
        let lease = Duration::from_secs(1);
        let answer = oneshot::channel().0;
        Caller { number, principal: Arc::from(""), max: 10, lease, wait_end, is_before_cancel: false, answer }
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
        assert_eq!((callers.wanted(), numbers(callers.take_first())), (30, vec![1]));
        assert_eq!((callers.wanted(), numbers(callers.take_all())), (20, vec![3, 4]));
        assert_eq!((callers.is_empty(), callers.wanted(), callers.first_wait_end()), (true, 0, None));
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
    fn callers_give_up_some_time_after_their_wait() {
        let now = Instant::now();
        let mut callers = four(now);
        let first = now + Duration::from_secs(1) + PATIENCE;
        assert_eq!(callers.first_give_up(), Some(first));
        assert_eq!(numbers(callers.take_given_up(first)), [4]);
        assert_eq!(callers.first_give_up(), Some(first + Duration::from_secs(1)));
    }
}
