//! The order of those who wait for a resource: the principal that holds least of it goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Holder;
use super::holdings::{Held, Holdings};

/// Turns for a resource, such as the permits of a lane. One who wants a part of it waits for its turn, then for the part itself, and
/// ends the turn. Some may have their turns at the same time, so that the resource is never idle while one of them wakes up.
#[derive(Debug)]
pub struct Turns {
    at_once: usize,
    holdings: Holdings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of turns that have begun and not ended.
    begun: usize,
    waiting: HashMap<Arc<str>, Waiting>,
    last_number: u64,
}

/// Those of one principal who wait, in the order in which they came.
type Waiting = BTreeMap<u64, oneshot::Sender<()>>;

impl Turns {
    /// Turns of which this number may run at the same time.
    #[must_use]
    pub fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Self { at_once, holdings: Holdings::default(), state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a new request of this holder needs no turn: no fair share applies, or all requests that wait are of principals that
    /// hold more.
    #[must_use]
    pub fn are_free_for(&self, holder: &Holder) -> bool {
        let Some(name) = holder.shared_name() else { return true };
        let state = self.lock();
        if state.waiting.is_empty() {
            return true;
        }
        let holdings = self.holdings.lock();
        let held = |name: &Arc<str>| holdings.get(name).copied().unwrap_or_default();
        state.waiting.keys().all(|other| held(name) < held(other))
    }

    /// Counts a part of the resource for its holder.
    #[must_use]
    pub fn hold(&self, holder: &Holder, count: usize) -> Held {
        self.holdings.hold(holder, count)
    }

    /// Waits for the turn of a holder. Drop the future to leave the queue.
    pub async fn wait(self: &Arc<Self>, holder: &Holder) -> Turn {
        let Some(name) = holder.shared_name() else { return Turn(None) };
        let (mut place, begins) = self.queue_up(name);
        // The sender is dropped only with these turns, or after it has sent.
        let _begun = begins.await;
        place.is_taken = true;
        Turn(Some(Arc::clone(self)))
    }

    fn queue_up(self: &Arc<Self>, name: &Arc<str>) -> (Place, oneshot::Receiver<()>) {
        let (sender, begins) = oneshot::channel();
        let mut state = self.lock();
        state.last_number += 1;
        let number = state.last_number;
        state.waiting.entry(Arc::clone(name)).or_default().insert(number, sender);
        self.begin_turns(&mut state);
        (Place { turns: Arc::clone(self), name: Arc::clone(name), number, is_taken: false }, begins)
    }

    /// Begins the next turns, as many as may run.
    fn begin_turns(&self, state: &mut State) {
        while state.begun < self.at_once
            && let Some(next) = self.take_next(state)
        {
            state.begun += 1;
            // One who has just left ends its turn with its place.
            let _left = next.send(());
        }
    }

    /// The first one of the principal that holds least; of several such principals the one that has waited longest.
    fn take_next(&self, state: &mut State) -> Option<oneshot::Sender<()>> {
        let holdings = self.holdings.lock();
        let rank = |(name, waiting): &(&Arc<str>, &Waiting)| {
            let held = holdings.get(*name).copied().unwrap_or_default();
            (held, waiting.first_key_value().map(|(number, _)| *number))
        };
        let name = Arc::clone(state.waiting.iter().min_by_key(rank)?.0);
        drop(holdings);
        let waiting = state.waiting.get_mut(&name)?;
        let (_, next) = waiting.pop_first()?;
        if waiting.is_empty() {
            state.waiting.remove(&name);
        }
        Some(next)
    }

    fn end_turn(&self, state: &mut State) {
        state.begun -= 1;
        self.begin_turns(state);
    }
}

/// The turn to take a part of a resource. It ends when it is dropped.
#[derive(Debug)]
pub struct Turn(Option<Arc<Turns>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = &self.0 {
            turns.end_turn(&mut turns.lock());
        }
    }
}

/// The place of one who waits.
struct Place {
    turns: Arc<Turns>,
    name: Arc<str>,
    number: u64,
    /// Whether its turn has begun, and is a [`Turn`] now.
    is_taken: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_taken {
            return;
        }
        let mut state = self.turns.lock();
        match state
            .waiting
            .get_mut(&self.name)
            .map(|waiting| (waiting.remove(&self.number), waiting.is_empty()))
        {
            Some((Some(_), true)) => drop(state.waiting.remove(&self.name)),
            Some((Some(_), false)) => {}
            // Its turn has begun unseen.
            Some((None, _)) | None => self.turns.end_turn(&mut state),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn named(name: &str) -> Holder {
        Holder::principal(&Arc::from(name))
    }

    /// A principal that holds 5, one that holds 2, and one that holds nothing.
    fn three(turns: &Turns) -> ([Holder; 3], [Held; 2]) {
        let holders = ["large", "small", "none"].map(named);
        let held = [turns.hold(&holders[0], 5), turns.hold(&holders[1], 2)];
        (holders, held)
    }

    #[test]
    fn the_principal_that_holds_least_goes_first_and_then_the_one_that_came_first() {
        let turns = Turns::new(1);
        let ([large, small, none], _held) = three(&turns);
        let first = turns.wait(&large).now_or_never().expect("no one waits");
        assert!(turns.are_free_for(&none));
        let waits = [&large, &large, &small, &none, &small].map(|holder| Box::pin(turns.wait(holder)));
        let mut waits: Vec<_> = waits.into_iter().enumerate().collect();
        for (_, wait) in &mut waits {
            assert!(wait.now_or_never().is_none());
        }
        assert!(!turns.are_free_for(&none) && turns.are_free_for(&Holder::default()));
        assert!(turns.are_free_for(&Holder::only_principal(&Arc::from("none"))));
        let (mut turn, mut order) = (first, Vec::new());
        while !waits.is_empty() {
            drop(turn);
            let mut begun = waits.iter_mut().map(|(n, wait)| (*n, wait.now_or_never()));
            let (n, next) = begun.find_map(|(n, turn)| Some((n, turn?))).expect("a turn begins");
            waits.retain(|(number, _)| *number != n);
            order.push(n);
            turn = next;
        }
        assert_eq!(order, [3, 2, 4, 0, 1]);
        drop(turn);
        assert!(turns.lock().begun == 0 && turns.lock().waiting.is_empty());
    }

    #[test]
    fn one_that_holds_less_than_all_who_wait_may_take_what_is_free() {
        let turns = Turns::new(1);
        let ([large, small, none], _held) = three(&turns);
        let _first = turns.wait(&large).now_or_never().expect("no one waits");
        let mut second = Box::pin(turns.wait(&large));
        assert!((&mut second).now_or_never().is_none());
        assert_eq!([&large, &small, &none].map(|it| turns.are_free_for(it)), [false, true, true]);
        let mut third = Box::pin(turns.wait(&small));
        assert!((&mut third).now_or_never().is_none());
        assert_eq!([&large, &small, &none].map(|it| turns.are_free_for(it)), [false, false, true]);
    }

    #[test]
    fn one_who_leaves_blocks_no_one() {
        let turns = Turns::new(2);
        let shop = named("shop");
        let [first, second] = [(); 2].map(|()| turns.wait(&shop).now_or_never().expect("two at once"));
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(turns.wait(&shop))).collect();
        for wait in &mut waits {
            assert!(wait.now_or_never().is_none());
        }
        // This one leaves while it waits, and the next one when its turn has begun.
        drop(waits.remove(0));
        drop(first);
        drop(waits.remove(0));
        assert!(waits.remove(0).now_or_never().is_some());
        drop(second);
        assert_eq!(turns.lock().begun, 0);
        assert!(turns.lock().waiting.is_empty());
    }
}
