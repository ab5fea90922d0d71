//! The order of the messages of a request with one routing key.
//!
//! A message is in one of two states: it waits for its turn, or it is handed in and has no result.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use crate::broker::error::Error;

/// The order. `L` is the lane; the tests use a plain value.
pub(super) struct DestinationOrder<L>(Mutex<State<L>>);

struct State<L> {
    /// The messages that wait for their turn, by position, with the waker of each that was polled.
    waiting: BTreeMap<u64, Option<Waker>>,
    /// The number of messages that are handed in and have no result.
    unsettled: usize,
    /// The lane that they were handed in to.
    lane: Option<Arc<L>>,
    /// RabbitMQ's last refusal of the exchange, and the time when the gateway asked.
    refused: Option<(Instant, Error)>,
}

impl<L> Default for DestinationOrder<L> {
    fn default() -> Self {
        Self(Mutex::new(State { waiting: BTreeMap::new(), unsettled: 0, lane: None, refused: None }))
    }
}

impl<L> DestinationOrder<L> {
    fn lock(&self) -> MutexGuard<'_, State<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message that waits for its turn.
    pub(super) fn enter(&self, position: u64) {
        self.lock().waiting.insert(position, None);
    }

    /// Whether it is the turn of the message at this position.
    pub(super) fn is_first(&self, position: u64) -> bool {
        self.lock().is_first(position)
    }

    /// Ready when it is the turn of the message at this position, which took its place at the instant `since`.
    pub(super) fn poll_turn(
        &self,
        position: u64,
        since: Instant,
        cx: &Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut state = self.lock();
        match &state.refused {
            Some((asked, error)) if since <= *asked => Poll::Ready(Err(error.clone())),
            _ if state.is_first(position) => Poll::Ready(Ok(())),
            _ => state.wait(position, cx),
        }
    }

    /// Ready when every earlier message has its result. A message that was handed in and waits again is earlier too.
    pub(super) fn poll_settled(&self, position: u64, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.unsettled == 0 && state.is_first(position) {
            Poll::Ready(())
        } else {
            state.wait(position, cx)
        }
    }

    /// The lane with messages that have no result.
    pub(super) fn lane(&self) -> Option<Arc<L>> {
        self.lock().lane.clone()
    }

    /// Records that the first waiting message was handed in to this lane.
    pub(super) fn handed_in(&self, position: u64, lane: &Arc<L>) {
        let mut state = self.lock();
        if state.waiting.remove(&position).is_some() {
            state.unsettled += 1;
            state.lane.get_or_insert_with(|| Arc::clone(lane));
            state.wake_first();
        }
    }

    /// Lets a message wait for its turn again.
    pub(super) fn enter_again(&self, position: u64) {
        let mut state = self.lock();
        if let Entry::Vacant(place) = state.waiting.entry(position) {
            place.insert(None);
            state.settle();
        }
    }

    /// Removes a message.
    pub(super) fn leave(&self, position: u64) {
        let mut state = self.lock();
        if state.waiting.remove(&position).is_none() {
            state.settle();
        }
        state.wake_first();
    }

    /// Gives an error to all messages that took their places before this instant and still wait.
    pub(super) fn refuse(&self, asked: Instant, error: &Error) {
        let mut state = self.lock();
        state.refused = Some((asked, error.clone()));
        state.waiting.values_mut().filter_map(Option::take).for_each(Waker::wake);
    }
}

impl<L> State<L> {
    fn is_first(&self, position: u64) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| *first == position)
    }

    fn wait<T>(&mut self, position: u64, cx: &Context<'_>) -> Poll<T> {
        if let Some(waker) = self.waiting.get_mut(&position) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn settle(&mut self) {
        self.unsettled -= 1;
        if self.unsettled == 0 {
            self.lane = None;
            self.wake_first();
        }
    }

    fn wake_first(&mut self) {
        if let Some(waker) = self.waiting.first_entry().and_then(|mut first| first.get_mut().take()) {
            waker.wake();
        }
    }
}
