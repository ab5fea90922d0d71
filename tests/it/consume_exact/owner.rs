//! The knowledge of the test about one process of the gateway: whether a lease of it lives, and whether the process is frozen.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// How long a gateway may take to notice the end of a connection.
const NOTICE: Duration = Duration::from_millis(500);

/// A process that gives out leases.
#[derive(Debug)]
pub struct Owner(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Leases that were asked for after this time live. `None` while a fault ends them.
    whole_since: Option<Instant>,
    /// The time until which a process that stops keeps its leases.
    stops_at: Option<Instant>,
    is_frozen: bool,
    freezes: usize,
}

impl Owner {
    pub fn new() -> Self {
        let whole_since = Some(Instant::now());
        Self(Mutex::new(State { whole_since, stops_at: None, is_frozen: false, freezes: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }

    /// A fault begins that ends its leases.
    pub fn lose(&self) {
        self.lock().whole_since = None;
    }

    /// The fault is over: later leases live.
    pub fn mend(&self) {
        self.lock().whole_since = Some(Instant::now() + NOTICE);
    }

    /// The process gets SIGTERM, and keeps its leases for this time.
    pub fn stop(&self, grace: Duration) {
        self.lock().stops_at = Some(Instant::now() + grace);
    }

    pub fn is_stopping(&self) -> bool {
        self.lock().stops_at.is_some()
    }

    /// Whether no fault has ended a lease that was asked for at this time.
    pub fn keeps(&self, asked: Instant) -> bool {
        let state = self.lock();
        let is_there = state.stops_at.is_none_or(|end| Instant::now() < end);
        is_there && state.whole_since.is_some_and(|since| since < asked)
    }

    pub fn freeze(&self) {
        let mut state = self.lock();
        state.is_frozen = true;
        state.freezes += 1;
    }

    pub fn thaw(&self) {
        self.lock().is_frozen = false;
    }

    /// The number of the freeze, while the process is frozen.
    pub fn frozen(&self) -> Option<usize> {
        let state = self.lock();
        state.is_frozen.then_some(state.freezes)
    }
}
