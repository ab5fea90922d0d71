//! Tests of the order of one destination, by random steps: messages are handed in, taken by RabbitMQ, answered, handed
//! back and lost, while the destination changes its lane.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Waker};

use proptest::prelude::*;
use tokio::time::Instant;

use super::destination::DestinationOrder;
use crate::broker::error::{Error, Refusal};

/// One random step.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new message takes its place.
    Enter,
    /// The destination uses another lane from now on.
    ChangeLane,
    /// The message with the turn is handed in, if its lane allows it.
    HandIn,
    /// RabbitMQ takes the oldest message of the n-th lane.
    Take(usize),
    /// RabbitMQ answers the oldest message of the n-th lane that it has taken.
    Answer(usize),
    /// The n-th lane closes: messages that RabbitMQ has not answered are handed in again.
    Close(usize),
    /// The n-th waiting message ends at its deadline.
    Expire(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..8_usize;
    let step = prop_oneof![
        4 => Just(Step::Enter),
        1 => Just(Step::ChangeLane),
        6 => Just(Step::HandIn),
        4 => n.clone().prop_map(Step::Take),
        4 => n.clone().prop_map(Step::Answer),
        1 => n.clone().prop_map(Step::Close),
        1 => n.prop_map(Step::Expire),
    ];
    prop::collection::vec(step, 1..200)
}

/// A lane: messages in the order in which they were handed in.
#[derive(Default)]
struct FakeLane {
    untaken: VecDeque<u64>,
    unanswered: VecDeque<u64>,
    is_closed: bool,
}

#[derive(Default)]
struct Stage {
    order: DestinationOrder<usize>,
    lanes: Vec<FakeLane>,
    /// The messages that have no final result.
    open: Vec<u64>,
    entered: u64,
    /// The messages that RabbitMQ has taken, in their order.
    taken: Vec<u64>,
    /// The message that had its turn, and waits until the earlier ones have their results.
    until_settled: Option<u64>,
}

impl Stage {
    fn is_ready<T>(poll: &std::task::Poll<T>) -> bool {
        poll.is_ready()
    }

    /// The message whose turn it is.
    fn first(&self, since: Instant) -> Option<u64> {
        let cx = Context::from_waker(Waker::noop());
        let has_turn = |it: &&u64| Self::is_ready(&self.order.poll_turn(**it, since, &cx));
        let first: Vec<_> = self.open.iter().filter(has_turn).copied().collect();
        assert!(first.len() <= 1, "several messages have their turn: {first:?}");
        first.first().copied()
    }

    fn hand_in(&mut self, since: Instant) {
        let cx = Context::from_waker(Waker::noop());
        let waited = self.until_settled.filter(|it| self.order.poll_settled(*it, &cx).is_ready());
        let Some(position) = waited.or_else(|| self.first(since)) else { return };
        self.until_settled = self.until_settled.filter(|_| waited.is_none());
        let newest = self.lanes.len() - 1;
        let lane = match self.order.lane() {
            Some(lane) if *lane == newest && !self.lanes[newest].is_closed => newest,
            Some(_) if self.order.poll_settled(position, &cx).is_pending() => {
                self.until_settled = Some(position);
                return;
            }
            _ => newest,
        };
        if self.lanes[lane].is_closed {
            self.lanes.push(FakeLane::default());
            return;
        }
        self.lanes[lane].untaken.push_back(position);
        self.order.handed_in(position, &Arc::new(lane));
    }

    fn take(&mut self, n: usize) {
        let lane = n % self.lanes.len();
        let Some(position) = self.lanes[lane].untaken.pop_front() else { return };
        let is_repeated = self.taken.contains(&position);
        let overtaken: Vec<_> =
            self.open.iter().filter(|it| **it < position && !self.taken.contains(it)).collect();
        assert!(is_repeated || overtaken.is_empty(), "{position} overtakes {overtaken:?}");
        self.taken.push(position);
        self.lanes[lane].unanswered.push_back(position);
    }

    fn end(&mut self, position: u64) {
        self.order.leave(position);
        self.until_settled = self.until_settled.filter(|it| *it != position);
        self.open.retain(|it| *it != position);
    }

    fn close(&mut self, n: usize) {
        let lane = n % self.lanes.len();
        let lost = std::mem::take(&mut self.lanes[lane]);
        self.lanes[lane].is_closed = true;
        for position in lost.unanswered.into_iter().chain(lost.untaken).rev() {
            self.order.enter_again(position);
        }
    }

    fn expire(&mut self, n: usize) {
        let handed_in: Vec<_> =
            self.lanes.iter().flat_map(|lane| lane.untaken.iter().chain(&lane.unanswered)).collect();
        let waiting: Vec<_> = self.open.iter().filter(|it| !handed_in.contains(it)).collect();
        if let Some(position) = waiting.get(n).map(|it| **it) {
            self.end(position);
        }
    }

    fn step(&mut self, step: Step, since: Instant) {
        match step {
            Step::Enter => {
                self.order.enter(self.entered);
                self.open.push(self.entered);
                self.entered += 1;
            }
            Step::ChangeLane => self.lanes.push(FakeLane::default()),
            Step::HandIn => self.hand_in(since),
            Step::Take(n) => self.take(n),
            Step::Answer(n) => {
                let lane = n % self.lanes.len();
                if let Some(position) = self.lanes[lane].unanswered.pop_front() {
                    self.end(position);
                }
            }
            Step::Close(n) => self.close(n),
            Step::Expire(n) => self.expire(n),
        }
    }

    /// Runs until every message has its result.
    fn finish(&mut self, since: Instant) {
        for _ in 0..10_000 {
            if self.open.is_empty() {
                return;
            }
            for lane in 0..self.lanes.len() {
                self.take(lane);
                self.step(Step::Answer(lane), since);
            }
            self.hand_in(since);
        }
        panic!("{} messages never get a result", self.open.len());
    }
}

proptest! {
    #[test]
    fn no_message_overtakes_an_earlier_one_of_its_destination_whatever_happens_to_its_lanes(steps in steps()) {
        let since = Instant::now();
        let mut stage = Stage { lanes: vec![FakeLane::default()], ..Stage::default() };
        for step in steps {
            stage.step(step, since);
        }
        stage.finish(since);
        let firsts = stage.taken.iter().enumerate().filter(|(at, it)| !stage.taken[..*at].contains(it));
        let firsts: Vec<_> = firsts.map(|(_, it)| *it).collect();
        prop_assert!(firsts.is_sorted(), "{firsts:?}");
        prop_assert!(stage.order.lane().is_none());
    }
}

#[test]
fn a_refusal_of_the_exchange_reaches_the_messages_that_waited_when_the_gateway_asked() {
    let (order, cx) = (DestinationOrder::<usize>::default(), Context::from_waker(Waker::noop()));
    let (early, asked) = (Instant::now(), Instant::now());
    let late = asked + std::time::Duration::from_millis(1);
    (0..3).for_each(|position| order.enter(position));
    let refusal = Error::Refused(Refusal::ExchangeMissing { reason: "no exchange 'e'".to_owned() });
    order.refuse(asked, &refusal);
    let answer = |position, since| order.poll_turn(position, since, &cx).map(Result::err);
    assert!(matches!(answer(1, early), std::task::Poll::Ready(Some(error)) if error == refusal));
    assert!(answer(2, late).is_pending());
    assert!(matches!(answer(0, late), std::task::Poll::Ready(None)));
}

#[test]
fn a_message_that_is_handed_back_keeps_its_place() {
    let order = DestinationOrder::default();
    let lanes = HashMap::from([("shared", Arc::new(1)), ("fresh", Arc::new(2))]);
    (0..3).for_each(|position| order.enter(position));
    order.handed_in(0, &lanes["shared"]);
    order.handed_in(1, &lanes["shared"]);
    order.enter_again(1);
    assert!(!order.is_first(2), "the message in front of it waits again");
    order.leave(0);
    order.enter_again(1);
    assert!(order.is_first(1) && order.lane().is_none());
    order.handed_in(1, &lanes["fresh"]);
    assert!(order.is_first(2) && order.lane() == Some(Arc::clone(&lanes["fresh"])));
}
