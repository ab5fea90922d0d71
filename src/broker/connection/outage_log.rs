//! The log of an outage, for the gateway as a whole: connections report to it, and it decides which reports become log
//! lines.
//!
//! It logs one line when the first connection is lost, one for each new reason why the gateway cannot connect, reminders
//! at growing intervals, and one when all connections are up again. The debug level logs each report.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::broker::Address;

/// Time from a line to the first reminder. Each later interval is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Longest time between reminders.
const LAST_PAUSE: Duration = Duration::from_mins(10);
/// When this time has passed without an outage, the next outage is logged from its beginning.
const CALM: Duration = Duration::from_mins(1);
/// The number of different reasons of one outage that get a line of their own. Further reasons appear in the reminders.
const MAX_REASONS: usize = 5;

/// Decides which of many equal reports become lines: the first, each one with a new reason, and reminders.
#[derive(Debug, Default)]
pub(in crate::broker) struct Reminders {
    told: BTreeSet<String>,
    next: Option<(Instant, Duration)>,
}

impl Reminders {
    /// Whether a report with this reason becomes a line now.
    pub(in crate::broker) fn is_due(&mut self, reason: &str) -> bool {
        let now = Instant::now();
        let is_reminder = self.next.is_some_and(|(at, _)| now >= at);
        let is_new = self.told.len() < MAX_REASONS && self.told.insert(reason.to_owned());
        if is_reminder || self.next.is_none() {
            let pause = self.next.map_or(FIRST_PAUSE, |(_, pause)| LAST_PAUSE.min(pause * 2));
            self.next = Some((now + pause, pause));
        }
        is_new || is_reminder
    }
}

/// The log of the current outage. Clones share the state.
#[derive(Clone, Default)]
pub(in crate::broker) struct OutageLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    next_connection: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The connections that the gateway wants and that are not up.
    down: BTreeSet<u64>,
    since: Option<Instant>,
    /// Whether a line about this outage was logged.
    is_told: bool,
    last_end: Option<Instant>,
    failures: Reminders,
    replacements: Reminders,
    /// The number of connections that RabbitMQ blocks.
    blocked: usize,
    /// Whether the gateway closes its connections, which is no outage.
    is_stopping: bool,
}

impl OutageLog {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log of one connection.
    pub(in crate::broker) fn of_connection(&self, name: &str) -> ConnectionLog {
        let id = self.0.next_connection.fetch_add(1, Ordering::Relaxed);
        ConnectionLog { log: self.clone(), id, name: name.to_owned() }
    }

    /// Records that the gateway closes its connections from now on.
    pub(in crate::broker) fn stop(&self) {
        self.lock().is_stopping = true;
    }

    /// Records that RabbitMQ blocks one more connection.
    pub(in crate::broker) fn blocked(&self, reason: &str) {
        let mut state = self.lock();
        state.blocked += 1;
        if state.blocked == 1 {
            warn!(reason, "RabbitMQ blocks publishers");
        }
    }

    /// Records that RabbitMQ unblocks a connection, or that a blocked connection is gone.
    pub(in crate::broker) fn unblocked(&self) {
        let mut state = self.lock();
        state.blocked = state.blocked.saturating_sub(1);
        if state.blocked == 0 && !state.is_stopping {
            info!("RabbitMQ accepts messages again");
        }
    }
}

/// The reports of one connection. The gateway wants the connection until this is dropped.
pub(in crate::broker) struct ConnectionLog {
    log: OutageLog,
    id: u64,
    name: String,
}

impl ConnectionLog {
    /// Records that the connection is up.
    pub(in crate::broker) fn connected(&self, address: &Address) {
        debug!(connection = self.name, host = address.host, port = address.port, "connected");
        self.is_not_down();
    }

    /// Records that the connection was lost.
    pub(in crate::broker) fn lost(&self, reason: &str) {
        debug!(connection = self.name, reason, "connection lost");
        let mut state = self.log.lock();
        if state.begin(self.id) && state.tells("lost") {
            warn!(
                connection = self.name,
                reason, "a connection to RabbitMQ is lost, the gateway connects again"
            );
        }
    }

    /// Records that a dial failed.
    pub(in crate::broker) fn failed(&self, address: &Address, reason: &impl Display) {
        let (connection, host, port, reason) =
            (&*self.name, &*address.host, address.port, reason.to_string());
        debug!(connection, host, port, reason, "cannot connect");
        let mut state = self.log.lock();
        state.begin(self.id);
        if state.tells(&reason) {
            let (down, for_s) = (state.down.len(), state.seconds());
            warn!(
                connection,
                host,
                port,
                connections_down = down,
                for_s,
                "cannot connect to RabbitMQ: {reason}"
            );
        }
    }

    /// Records that another connection replaces this one.
    pub(in crate::broker) fn replaced(&self, why: &str) {
        debug!(connection = self.name, "connection replaced: {why}");
        if self.log.lock().replacements.is_due(why) {
            warn!(connection = self.name, "a connection to RabbitMQ is replaced: {why}");
        }
    }

    /// Records that another connection replaces this one in time, which is no fault.
    pub(in crate::broker) fn renewed(&self, why: &str) {
        info!(connection = self.name, "a connection to RabbitMQ is replaced: {why}");
    }

    fn is_not_down(&self) {
        let mut state = self.log.lock();
        if state.down.remove(&self.id) && state.down.is_empty() {
            state.end();
        }
    }
}

impl Drop for ConnectionLog {
    fn drop(&mut self) {
        self.is_not_down();
    }
}

impl State {
    /// Counts a connection as down; true if it is the first one.
    fn begin(&mut self, connection: u64) -> bool {
        self.down.insert(connection);
        let is_first = self.since.is_none();
        if is_first {
            self.since = Some(Instant::now());
            // Connections that are lost as soon as they are up belong to one outage.
            if self.last_end.is_none_or(|end| end.elapsed() >= CALM) {
                self.failures = Reminders::default();
            }
        }
        is_first
    }

    /// Whether a report with this reason becomes a line now.
    fn tells(&mut self, reason: &str) -> bool {
        let is_due = !self.is_stopping && self.failures.is_due(reason);
        self.is_told |= is_due;
        is_due
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_told) && !self.is_stopping {
            info!(after_s = self.seconds(), "all connections to RabbitMQ are up again");
        }
        (self.since, self.last_end) = (None, Some(Instant::now()));
    }

    /// The duration of the outage in seconds, with one decimal digit.
    fn seconds(&self) -> f64 {
        let lasts = self.since.map(|since| since.elapsed()).unwrap_or_default();
        (lasts.as_secs_f64() * 10.0).round() / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn equal_reports_are_logged_less_and_less_often_and_a_new_reason_at_once() {
        let (mut reminders, begun) = (Reminders::default(), Instant::now());
        let mut lines = Vec::new();
        while begun.elapsed() < Duration::from_mins(2) {
            if reminders.is_due("connection refused") {
                lines.push(begun.elapsed().as_secs());
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert_eq!(lines, [0, 10, 30, 70]);
        assert!(reminders.is_due("no answer"));
        assert!(!reminders.is_due("connection refused"), "it was told before");
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_logged_reasons_is_bounded() {
        let mut reminders = Reminders::default();
        let lines = (0..1_000).filter(|number| reminders.is_due(&number.to_string())).count();
        assert_eq!(lines, MAX_REASONS);
    }
}
