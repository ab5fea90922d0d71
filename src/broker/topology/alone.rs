//! Operations that run alone on a connection, one at a time.
//!
//! When RabbitMQ closes the connection, it is because of the one operation on it. An operation that has run for some time
//! keeps its connection, and the next one starts on another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::broker::connections::{Connections, Connector, Role};
use crate::broker::error::{Error, Unavailable};

/// An operation that has run for so long holds up the next one no longer.
const LONG: Duration = Duration::from_secs(5);
/// A connection without an operation for so long is closed, at the latest after twice as long.
const IDLE: Duration = Duration::from_mins(1);

/// The connections of operations of one kind. Clones are the same.
#[derive(Clone)]
pub(super) struct Alone(Arc<Parts>);

struct Parts {
    connector: Connector,
    role: Role,
    limit: usize,
    turn: Arc<tokio::sync::Mutex<()>>,
    places: Mutex<BTreeMap<usize, Place>>,
}

/// A connection that was dialled.
struct Place {
    connections: Arc<Connections>,
    /// Since when no operation uses it; `None` while one does.
    free_since: Option<Instant>,
}

impl Alone {
    /// At most `limit` connections; none is dialled yet.
    pub(super) fn new(connector: Connector, role: Role, limit: usize) -> Self {
        let (turn, places) = (Arc::default(), Mutex::default());
        Self(Arc::new(Parts { connector, role, limit, turn, places }))
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<usize, Place>> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Their role.
    pub(super) fn role(&self) -> Role {
        self.0.role
    }

    /// Connections that are up.
    pub(super) fn up(&self) -> usize {
        self.places().values().map(|place| place.connections.up().count()).sum()
    }

    /// Nobody waits for a connection that is not up.
    pub(super) fn give_up_waiting(&self) {
        for place in self.places().values() {
            place.connections.give_up_waiting();
        }
    }

    /// Closes the connections.
    pub(super) fn stop(&self) {
        for place in std::mem::take(&mut *self.places()).values() {
            place.connections.stop();
        }
    }

    /// Runs an operation when its turn comes. It is finished although its caller has gone: RabbitMQ may close the connection
    /// over it.
    ///
    /// # Errors
    /// Those of the operation; [`Unavailable::Busy`] without a turn until the deadline, [`Unavailable::TooManyLong`] at
    /// once.
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
        let mut turn = Some(turn.map_err(|_| Error::NotSent(Unavailable::Busy))?);
        let limit = self.0.limit;
        let (number, connections) = self.take().ok_or(Error::NotSent(Unavailable::TooManyLong { limit }))?;
        let (alone, mut work) = (self.clone(), Box::pin(work(connections)));
        let task = tokio::spawn(async move {
            let answer = tokio::select! {
                biased;
                answer = &mut work => answer,
                () = sleep(LONG) => {
                    turn = None;
                    work.await
                }
            };
            alone.give_back(number, answer.as_ref().err());
            drop(turn);
            answer
        });
        // It panics only by a defect, and nobody knows what it has done before.
        task.await.unwrap_or_else(|_| Err(Error::gone()))
    }

    /// The connection of a free place, or of a new one; `None` when operations run on all.
    fn take(&self) -> Option<(usize, Arc<Connections>)> {
        let mut places = self.places();
        if let Some((number, place)) = places.iter_mut().find(|(_, place)| place.free_since.is_some()) {
            place.free_since = None;
            return Some((*number, Arc::clone(&place.connections)));
        }
        let number = (0..self.0.limit).find(|number| !places.contains_key(number))?;
        let connections = Arc::new(self.0.connector.start(self.0.role, number, 1));
        places.insert(number, Place { connections: Arc::clone(&connections), free_since: None });
        tokio::spawn(self.clone().close_idle(number, Arc::clone(&connections)));
        Some((number, connections))
    }

    /// Frees the place of an operation. Where RabbitMQ may still be at it, its connection is closed.
    fn give_back(&self, number: usize, error: Option<&Error>) {
        let mut places = self.places();
        if matches!(error, Some(Error::Unknown(_) | Error::NotSent(_))) {
            if let Some(place) = places.remove(&number) {
                place.connections.stop();
            }
        } else if let Some(place) = places.get_mut(&number) {
            place.free_since = Some(Instant::now());
        }
    }

    async fn close_idle(self, number: usize, connections: Arc<Connections>) {
        loop {
            sleep(IDLE).await;
            let mut places = self.places();
            let is_here = |place: &&Place| Arc::ptr_eq(&place.connections, &connections);
            let Some(place) = places.get(&number).filter(is_here) else { return };
            if place.free_since.is_some_and(|since| since.elapsed() >= IDLE) {
                places.remove(&number);
                return connections.stop();
            }
        }
    }
}
