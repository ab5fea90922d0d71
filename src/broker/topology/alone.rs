//! Operations that run alone on a connection, one at a time.
//!
//! When RabbitMQ closes the connection, the reason is the one operation on it. An operation that has run for some time
//! keeps its connection, and the next operation starts on another one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::broker::RoleState;
use crate::broker::connection::{Connections, Connector, Role};
use crate::broker::error::{Error, Unavailable};
use crate::lifecycle::Lifecycle;

/// An operation that has run for this time no longer makes the next one wait.
const LONG: Duration = Duration::from_secs(5);
/// A connection without an operation for this time is closed, after at most twice this time.
const IDLE: Duration = Duration::from_mins(1);

/// The connections of operations of one kind. Clones share them.
#[derive(Clone)]
pub(super) struct Alone(Arc<Parts>);

struct Parts {
    connector: Connector,
    role: Role,
    limit: usize,
    turn: Arc<tokio::sync::Mutex<()>>,
    lifecycle: Lifecycle,
    slots: Mutex<BTreeMap<usize, Slot>>,
}

/// The slot of a connection that was dialled.
struct Slot {
    connections: Arc<Connections>,
    /// The time since which no operation uses it; `None` while one does.
    free_since: Option<Instant>,
}

/// The slot of an operation, until this is dropped.
struct TakenSlot {
    alone: Alone,
    number: usize,
    connections: Arc<Connections>,
    /// Whether RabbitMQ may still run an operation that was written on the connection.
    is_in_use: bool,
}

impl Drop for TakenSlot {
    /// Frees the slot, so that the next operation can also use an unfinished dial of the last one. If RabbitMQ may still
    /// run the operation, the gateway closes the socket, so that RabbitMQ does not keep that connection beside the next
    /// one.
    fn drop(&mut self) {
        let mut slots = self.alone.slots();
        if self.is_in_use {
            slots.remove(&self.number);
            self.connections.hang_up();
        } else if let Some(slot) = slots.get_mut(&self.number) {
            slot.free_since = Some(Instant::now());
        }
    }
}

impl Alone {
    /// At most `limit` connections; none is dialled yet.
    pub(super) fn new(connector: Connector, role: Role, limit: usize, lifecycle: &Lifecycle) -> Self {
        let (turn, lifecycle, slots) = (Arc::default(), lifecycle.clone(), Mutex::default());
        Self(Arc::new(Parts { connector, role, limit, turn, lifecycle, slots }))
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<usize, Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the connections.
    pub(super) fn state(&self) -> RoleState {
        self.0.role.state(self.slots().values().map(|slot| &*slot.connections))
    }

    /// Closes the connections.
    pub(super) fn stop(&self) {
        for slot in std::mem::take(&mut *self.slots()).values() {
            slot.connections.stop();
        }
    }

    /// Runs an operation when its turn comes. It runs to its end even if its caller leaves, because it can make RabbitMQ
    /// close the connection.
    ///
    /// # Errors
    /// The errors of the operation. If its turn does not come before the deadline, [`Unavailable::Busy`] or the reason
    /// why no connection is up. [`Unavailable::TooManyLong`] at once.
    pub(super) async fn run<T, F>(
        &self,
        deadline: Instant,
        work: impl FnOnce(Arc<Connections>) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let turn = timeout_at(deadline, Arc::clone(&self.0.turn).lock_owned()).await;
        let mut turn = Some(turn.map_err(|_| self.why_no_turn())?);
        let mut slot = self.take()?;
        slot.connections.wait(deadline).await?;
        slot.is_in_use = true;
        let mut work = Box::pin(work(Arc::clone(&slot.connections)));
        let task = tokio::spawn(async move {
            let answer = tokio::select! {
                biased;
                answer = &mut work => answer,
                () = sleep(LONG) => {
                    turn = None;
                    work.await
                }
            };
            slot.is_in_use = matches!(answer, Err(Error::Unknown(_) | Error::NotSent(_)));
            drop(slot);
            drop(turn);
            answer
        });
        // The task can panic only because of a defect, and it may have written the operation before that.
        task.await.unwrap_or_else(|_| Err(Error::gone()))
    }

    /// Why the current operation keeps its turn: it may wait for a connection.
    fn why_no_turn(&self) -> Error {
        let busy = Error::NotSent(Unavailable::Busy);
        let slots = self.slots();
        let mut reasons = slots.values().map(|slot| slot.connections.why_busy());
        reasons.find(|reason| *reason != busy).unwrap_or(busy)
    }

    /// Takes a free slot, preferably one whose connection is up, or makes a new slot.
    fn take(&self) -> Result<TakenSlot, Error> {
        let mut slots = self.slots();
        let taken =
            |number, connections| TakenSlot { alone: self.clone(), number, connections, is_in_use: false };
        let free = slots.iter_mut().filter(|(_, slot)| slot.free_since.is_some());
        if let Some((number, slot)) = free.max_by_key(|(_, slot)| slot.connections.up().count()) {
            slot.free_since = None;
            return Ok(taken(*number, Arc::clone(&slot.connections)));
        }
        if self.0.lifecycle.is_draining() {
            return Err(Error::NotSent(Unavailable::ShuttingDown));
        }
        let limit = self.0.limit;
        let number = (0..limit).find(|number| !slots.contains_key(number));
        let number = number.ok_or(Error::NotSent(Unavailable::TooManyLong { limit }))?;
        let connections = Arc::new(self.0.connector.start(self.0.role, number, 1));
        slots.insert(number, Slot { connections: Arc::clone(&connections), free_since: None });
        tokio::spawn(self.clone().close_idle(number, Arc::clone(&connections)));
        Ok(taken(number, connections))
    }

    async fn close_idle(self, number: usize, connections: Arc<Connections>) {
        loop {
            sleep(IDLE).await;
            let mut slots = self.slots();
            let is_here = |slot: &&Slot| Arc::ptr_eq(&slot.connections, &connections);
            let Some(slot) = slots.get(&number).filter(is_here) else { return };
            if slot.free_since.is_some_and(|since| since.elapsed() >= IDLE) {
                slots.remove(&number);
                return connections.stop();
            }
        }
    }
}
