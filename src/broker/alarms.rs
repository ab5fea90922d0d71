//! The resource alarms of RabbitMQ, as the connections of one role know them.
//!
//! An alarm holds for a whole cluster, and a connection learns of one only by publishing. So one connection that knows of
//! it speaks for all, also one that is being replaced.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing::{info, warn};

use super::link::Link;

/// The connections of a role that RabbitMQ blocks.
#[derive(Default)]
pub(super) struct Alarms {
    blocked: AtomicUsize,
    /// RabbitMQ's reason for the last one.
    reason: Mutex<String>,
}

impl Alarms {
    /// RabbitMQ's reason, while it blocks one of the connections.
    pub(super) fn reason(&self) -> Option<String> {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Follows the alarms of one connection, and counts it among the blocked ones meanwhile.
pub(super) struct AlarmFollower {
    blocked: watch::Receiver<Option<String>>,
    is_counted: bool,
    alarms: Arc<Alarms>,
    changes: Arc<watch::Sender<()>>,
}

impl AlarmFollower {
    /// Notes each beginning and end of an alarm in `changes`.
    pub(super) fn new(link: &Link, alarms: Arc<Alarms>, changes: Arc<watch::Sender<()>>) -> Self {
        let mut blocked = link.wire().blocked();
        blocked.mark_changed();
        Self { blocked, is_counted: false, alarms, changes }
    }

    /// Ends with the next change: true when RabbitMQ blocks the connection. Cancel safe.
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
            warn!(reason, "the broker blocks publishers");
            *self.alarms.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
            self.alarms.blocked.fetch_add(1, Ordering::Relaxed);
        } else {
            info!("the broker takes messages again");
            self.alarms.blocked.fetch_sub(1, Ordering::Relaxed);
        }
        self.changes.send_replace(());
    }
}

impl Drop for AlarmFollower {
    fn drop(&mut self) {
        if self.is_counted {
            self.alarms.blocked.fetch_sub(1, Ordering::Relaxed);
            self.changes.send_replace(());
        }
    }
}
