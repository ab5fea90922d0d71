//! The resource alarms of RabbitMQ, as the connections of one role know them.
//!
//! An alarm holds for a whole cluster, and a connection learns of one only by publishing. So if RabbitMQ blocks one
//! connection, the gateway counts the whole role as blocked. This includes a connection that is being replaced.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::outage_log::OutageLog;

/// The connections of a role that RabbitMQ blocks.
pub(super) struct Alarms {
    log: OutageLog,
    /// The number of blocked connections, kept beside the list because each publish reads it.
    count: AtomicUsize,
    blocked: Mutex<Vec<Blocked>>,
}

/// A connection that RabbitMQ blocks.
struct Blocked {
    reason: String,
    /// Cancelled when the connection ends, before any caller learns of the loss. From then on the gateway does not know
    /// whether the alarm holds.
    end: CancellationToken,
}

impl Alarms {
    /// The alarms of a role without a connection yet.
    pub(super) fn new(log: OutageLog) -> Self {
        Self { log, count: AtomicUsize::new(0), blocked: Mutex::default() }
    }

    /// RabbitMQ's reason, while it blocks one of the connections.
    pub(super) fn reason(&self) -> Option<String> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.lock().iter().rfind(|it| !it.end.is_cancelled()).map(|it| it.reason.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Blocked>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, reason: String, end: CancellationToken) {
        self.log.blocked(&reason);
        self.lock().push(Blocked { reason, end });
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, end: &CancellationToken) {
        self.lock().retain(|it| it.end != *end);
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.log.unblocked();
    }
}

/// Follows the alarms of one connection, and counts the connection as blocked meanwhile.
pub(super) struct AlarmFollower {
    blocked: watch::Receiver<Option<String>>,
    end: CancellationToken,
    is_counted: bool,
    alarms: Arc<Alarms>,
    changes: Arc<watch::Sender<()>>,
}

impl AlarmFollower {
    /// Makes a follower that notifies `changes` at each beginning and end of an alarm.
    pub(super) fn new(connection: &Connection, alarms: Arc<Alarms>, changes: Arc<watch::Sender<()>>) -> Self {
        let mut blocked = connection.router().blocked();
        blocked.mark_changed();
        Self { blocked, end: connection.router().end(), is_counted: false, alarms, changes }
    }

    /// Resolves at the next change: true when RabbitMQ blocks the connection. Cancel safe.
    pub(super) async fn changed(&mut self) -> bool {
        loop {
            if self.blocked.changed().await.is_err() {
                pending::<()>().await;
            }
            let reason = self.blocked.borrow_and_update().clone();
            if reason.is_some() != self.is_counted {
                let is_blocked = reason.is_some();
                self.count(reason);
                return is_blocked;
            }
        }
    }

    fn count(&mut self, reason: Option<String>) {
        self.is_counted = reason.is_some();
        if let Some(reason) = reason {
            self.alarms.begin(reason, self.end.clone());
        } else {
            self.alarms.end(&self.end);
        }
        self.changes.send_replace(());
    }
}

impl Drop for AlarmFollower {
    fn drop(&mut self) {
        if self.is_counted {
            self.alarms.end(&self.end);
            self.changes.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_over_when_the_last_blocked_connection_has_ended() {
        let (alarms, first, second) =
            (Alarms::new(OutageLog::default()), CancellationToken::new(), CancellationToken::new());
        alarms.begin("low on disk".to_owned(), first.clone());
        alarms.begin("low on memory".to_owned(), second.clone());
        assert_eq!(alarms.reason().as_deref(), Some("low on memory"));
        second.cancel();
        assert_eq!(alarms.reason().as_deref(), Some("low on disk"));
        first.cancel();
        assert_eq!(alarms.reason(), None);
        alarms.end(&first);
        alarms.end(&second);
        assert_eq!(alarms.reason(), None);
    }
}
