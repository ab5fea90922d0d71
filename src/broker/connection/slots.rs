//! The connections of one role, each in a slot that [`supervise`](crate::broker::supervised::supervise) keeps filled.
//!
//! The backoff limits dials, not callers: a caller that needs a connection waits for a slot until its own deadline, or
//! until it is certain that RabbitMQ refuses the gateway.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::alarms::Alarms;
use super::dial_record::{DialRecord, Refused};
use crate::broker::error::{Denial, Error, Unavailable};
use crate::broker::supervised::State;

/// All connections of one role.
pub(in crate::broker) struct Connections {
    pub(super) slots: Vec<watch::Receiver<State<Arc<Connection>>>>,
    pub(super) changed: watch::Receiver<()>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) record: Arc<DialRecord>,
    pub(super) give_up: CancellationToken,
    pub(super) stop: CancellationToken,
    /// Whether the gateway dials these connections on demand. Then a missing connection is no hint that RabbitMQ
    /// is absent, until a dial has failed.
    pub(super) is_on_need: bool,
}

impl Connections {
    /// Every connection that is up, blocked or not.
    pub(in crate::broker) fn up(&self) -> impl Iterator<Item = Arc<Connection>> {
        self.slots.iter().filter_map(usable)
    }

    /// The number of slots.
    pub(in crate::broker) fn len(&self) -> usize {
        self.slots.len()
    }

    /// RabbitMQ's reason while it blocks publishers. An alarm holds for a whole cluster, and a connection learns of one
    /// only by publishing, so one blocked connection is enough.
    pub(in crate::broker) fn blocked(&self) -> Option<String> {
        self.alarms.reason()
    }

    /// Waits for `wait`, a step before a message is written, at the longest to the deadline.
    ///
    /// # Errors
    /// [`Unavailable::Blocked`] at once, [`Unavailable::Denied`] as soon as it is certain; at the deadline the reason for
    /// the long wait.
    pub(in crate::broker) async fn wait_before_write<T>(
        &self,
        deadline: Instant,
        wait: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.until_blocked() => Err(Error::NotSent(Unavailable::Blocked)),
            done = timeout_at(deadline, wait) => done.unwrap_or_else(|_| Err(self.why_busy())),
            why = self.until_denied() => Err(Error::NotSent(Unavailable::Denied(why))),
        }
    }

    /// Resolves when no connection is up and RabbitMQ certainly refuses the gateway, see [`DialRecord`].
    pub(in crate::broker) async fn until_denied(&self) -> Denial {
        let refused = || if self.up().next().is_some() { None } else { self.record.refused() };
        Refused::until_certain(self.changed.clone(), refused).await
    }

    /// Why RabbitMQ refused the last dial of an address, where it did.
    pub(in crate::broker) fn any_denial(&self) -> Option<Denial> {
        self.record.any_denial()
    }

    /// Why RabbitMQ refuses further connections, where the last dial of every address was refused.
    pub(in crate::broker) fn denial(&self) -> Option<Denial> {
        self.record.refused().map(|refused| refused.why)
    }

    /// Whether no connection has been up for this time, or none has ever been up.
    pub(in crate::broker) fn are_absent_for(&self, time: Duration) -> bool {
        self.up().next().is_none() && self.record.is_lost_for(time)
    }

    /// Resolves when RabbitMQ blocks publishers; at once if it does already.
    async fn until_blocked(&self) {
        let mut changed = self.changed.clone();
        changed.mark_unchanged();
        while self.blocked().is_none() {
            if changed.changed().await.is_err() {
                // The supervisors of the slots have ended, and every alarm ended with them.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for a connection until the deadline.
    ///
    /// # Errors
    /// [`Unavailable::NoConnection`] at the deadline, [`Unavailable::Denied`] as soon as it is certain, and at the deadline;
    /// [`Unavailable::ShuttingDown`].
    pub(in crate::broker) async fn wait(&self, deadline: Instant) -> Result<Arc<Connection>, Error> {
        tokio::select! {
            biased;
            connection = timeout_at(deadline, self.wait_long()) => connection.unwrap_or_else(|_| Err(self.why_down())),
            why = self.until_denied() => Err(Error::NotSent(Unavailable::Denied(why))),
        }
    }

    /// Waits for a connection without a deadline. For callers that have their own deadline.
    ///
    /// # Errors
    /// [`Unavailable::ShuttingDown`].
    pub(in crate::broker) async fn wait_long(&self) -> Result<Arc<Connection>, Error> {
        self.wait_until(|| self.up().next()).await
    }

    /// The connection of one slot, if it is up.
    pub(in crate::broker) fn slot(&self, slot: usize) -> Option<Arc<Connection>> {
        self.slots.get(slot).and_then(usable)
    }

    /// A receiver of each change of a slot, and of each beginning and end of an alarm.
    pub(in crate::broker) fn changes(&self) -> watch::Receiver<()> {
        self.changed.clone()
    }

    /// Waits for the connection of one slot without a deadline.
    ///
    /// # Errors
    /// [`Unavailable::ShuttingDown`].
    pub(in crate::broker) async fn wait_slot(&self, slot: usize) -> Result<Arc<Connection>, Error> {
        self.wait_until(|| self.slot(slot)).await
    }

    async fn wait_until(&self, pick: impl Fn() -> Option<Arc<Connection>>) -> Result<Arc<Connection>, Error> {
        let mut changed = self.changed.clone();
        loop {
            changed.mark_unchanged();
            if let Some(connection) = pick() {
                return Ok(connection);
            }
            tokio::select! {
                () = self.given_up() => return Err(Error::NotSent(Unavailable::ShuttingDown)),
                change = changed.changed() => if change.is_err() { return Err(Error::NotSent(Unavailable::ShuttingDown)) },
            }
        }
    }

    /// Resolves after [`Self::give_up_waiting`].
    pub(in crate::broker) async fn given_up(&self) {
        self.give_up.cancelled().await;
    }

    /// Why the caller got no permit, or no turn, until the deadline.
    pub(in crate::broker) fn why_busy(&self) -> Error {
        if self.up().next().is_some() { Error::NotSent(Unavailable::Busy) } else { self.why_down() }
    }

    /// Why no connection is up now.
    pub(in crate::broker) fn why_down(&self) -> Error {
        if let Some(why) = self.denial() {
            return Error::NotSent(Unavailable::Denied(why));
        }
        let has_failed = self.slots.iter().any(|slot| slot.borrow().has_failed());
        let is_busy = self.is_on_need && !has_failed;
        Error::NotSent(if is_busy { Unavailable::Busy } else { Unavailable::NoConnection })
    }

    /// From now on no caller waits for a connection that is not up.
    pub(in crate::broker) fn give_up_waiting(&self) {
        self.give_up.cancel();
    }

    /// Whether no caller waits for a connection any more.
    pub(in crate::broker) fn has_given_up(&self) -> bool {
        self.give_up.is_cancelled()
    }

    /// Cancelled when the gateway closes these connections for good.
    pub(in crate::broker) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Whether the gateway closes these connections for good.
    pub(in crate::broker) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Closes the sockets at once and for good, without AMQP's close: RabbitMQ would answer a close only after an
    /// operation that it still runs.
    pub(in crate::broker) fn hang_up(&self) {
        let up: Vec<_> = self.up().collect();
        self.stop();
        for connection in up {
            connection.kill();
        }
    }

    /// Closes all connections. The supervisors of the slots end after that.
    pub(in crate::broker) fn stop(&self) {
        self.give_up.cancel();
        self.stop.cancel();
    }
}

fn usable(slot: &watch::Receiver<State<Arc<Connection>>>) -> Option<Arc<Connection>> {
    slot.borrow().part().filter(|connection| connection.is_usable()).cloned()
}

/// Pause before a channel is opened again if the last try failed although the connection is up.
pub(in crate::broker) const REOPEN_PAUSE: Duration = Duration::from_millis(20);
