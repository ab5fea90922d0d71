//! The requests to settle leases, until each of their actions has a result.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::broker::consume::command::SettleResult;
use crate::broker::consume::settle::NotSettled;
use crate::broker::error::{Cause, Error};

/// The place of one action: its request, and its number there.
pub(super) type Place = (u64, usize);

/// The requests without all results.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: HashMap<u64, Open>,
    by_deadline: BTreeSet<(Instant, u64)>,
    last: u64,
}

#[derive(Debug)]
struct Open {
    results: Vec<Option<SettleResult>>,
    missing: usize,
    deadline: Instant,
    answer: oneshot::Sender<Vec<SettleResult>>,
}

impl Requests {
    /// Adds a request with this number of actions, and returns its number.
    pub(super) fn add(
        &mut self,
        count: usize,
        deadline: Instant,
        answer: oneshot::Sender<Vec<SettleResult>>,
    ) -> u64 {
        self.last += 1;
        let results = std::iter::repeat_with(|| None).take(count).collect();
        self.by_deadline.insert((deadline, self.last));
        self.open.insert(self.last, Open { results, missing: count, deadline, answer });
        self.last
    }

    /// Sets the result of an action. The request is answered when no result is missing.
    pub(super) fn set(&mut self, (number, index): Place, result: SettleResult) {
        let Some(open) = self.open.get_mut(&number) else { return };
        if let Some(slot @ None) = open.results.get_mut(index) {
            *slot = Some(result);
            open.missing -= 1;
        }
        if open.missing == 0 {
            self.answer(number);
        }
    }

    /// Answers the requests whose deadline has come: missing results are unknown.
    pub(super) fn on_time(&mut self, now: Instant) {
        while let Some((_, number)) =
            self.by_deadline.first().copied().filter(|(deadline, _)| *deadline <= now)
        {
            self.answer(number);
        }
    }

    /// When the next request has its deadline.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    fn answer(&mut self, number: u64) {
        let Some(open) = self.open.remove(&number) else { return };
        self.by_deadline.remove(&(open.deadline, number));
        let silence = || Err(NotSettled::Failed(Error::Unknown(Cause::Silence)));
        let results = open.results.into_iter().map(|result| result.unwrap_or_else(silence));
        let _gone = open.answer.send(results.collect());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::consume::settle::Settled;

    #[test]
    fn a_request_is_answered_with_its_last_result_or_at_its_deadline() {
        let mut requests = Requests::default();
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let (answer, mut first) = oneshot::channel();
        let one = requests.add(2, later, answer);
        let (answer, mut second) = oneshot::channel();
        let two = requests.add(2, now, answer);
        requests.set((one, 1), Ok(Settled::Acked));
        requests.set((one, 1), Ok(Settled::Released));
        requests.set((two, 0), Ok(Settled::Rejected));
        assert_eq!(requests.next_deadline(), Some(now));
        requests.on_time(now);
        let silence = Err(NotSettled::Failed(Error::Unknown(Cause::Silence)));
        assert_eq!(second.try_recv(), Ok(vec![Ok(Settled::Rejected), silence]));
        assert!(first.try_recv().is_err());
        requests.set((one, 0), Ok(Settled::Released));
        assert_eq!(first.try_recv(), Ok(vec![Ok(Settled::Released), Ok(Settled::Acked)]));
        requests.set((two, 1), Ok(Settled::Acked));
        assert_eq!(requests.next_deadline(), None);
    }
}
