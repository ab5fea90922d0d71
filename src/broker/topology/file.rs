//! Keeps the topology file applied: at the start, and after each reconnect of the topology connection.
//!
//! While RabbitMQ refuses the document, the gateway tries again after longer and longer pauses, since each attempt looks at all
//! objects. It logs each new reason once.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info};

use super::Topology;
use super::document::{DocumentFailure, ItemResults};
use crate::broker::connection::Connection;
use crate::broker::error::Error;
use crate::broker::{Settings, TopologyFile};
use crate::domain::topology::document::ItemResult;

/// The longest pause after an attempt that failed.
const MAX_PAUSE: Duration = Duration::from_mins(5);

/// The topology file, and the last attempt to apply it.
pub(in crate::broker) struct KeptFile {
    settings: TopologyFile,
    /// The pause after the first attempt that failed. Each later pause is twice as long.
    pause: Duration,
    state: watch::Sender<TopologyFileState>,
}

/// The result of the attempts to apply the topology file.
#[derive(Debug, Clone, Default)]
pub struct TopologyFileState {
    /// Whether the gateway has applied the file since its start.
    pub was_applied: bool,
    /// The item at which the last attempt failed, such as `queues[0] orders`, and the reason; `None` if it did not fail.
    pub failure: Option<(String, Error)>,
}

impl KeptFile {
    /// The file of these settings, if they name one.
    pub(in crate::broker) fn of(settings: &Settings) -> Option<Self> {
        let file = settings.topology_file.clone()?;
        Some(Self { settings: file, pause: settings.refused_delay, state: watch::Sender::default() })
    }

    /// Applies the file, and applies it again after each reconnect. Returns when the gateway closes the topology connection.
    pub(in crate::broker) async fn keep_applied(&self, topology: &Topology) {
        let mut pause = self.pause;
        while let Ok(connection) = topology.connections().wait_long().await {
            let deadline = Instant::now() + self.settings.timeout;
            match topology.apply(&self.settings.document, deadline).await {
                Ok(results) => {
                    self.note_applied(&results);
                    pause = self.pause;
                    until_gone(&connection).await;
                }
                Err(DocumentFailure { place, error, .. }) => {
                    self.note_failed(format!("{place} {}", self.settings.document.name_of(place)), error);
                    if timeout(pause, until_lost(&connection)).await.is_err() {
                        pause = MAX_PAUSE.min(pause * 2);
                    }
                }
            }
        }
    }

    /// The result of the attempts so far.
    pub(in crate::broker) fn state(&self) -> TopologyFileState {
        self.state.borrow().clone()
    }

    /// Whether the gateway must not be ready before it has applied the file once.
    pub(in crate::broker) fn is_missing(&self) -> bool {
        self.settings.is_required && !self.state.borrow().was_applied
    }

    /// Resolves when the gateway may be ready, as far as this file is concerned.
    pub(in crate::broker) async fn until_not_missing(&self) {
        let mut state = self.state.subscribe();
        let may_be_ready = |state: &TopologyFileState| state.was_applied || !self.settings.is_required;
        // It cannot fail: `self` has the sender.
        let _seen = state.wait_for(may_be_ready).await.is_ok();
    }

    fn note_applied(&self, results: &ItemResults) {
        let last = self.state.send_replace(TopologyFileState { was_applied: true, failure: None });
        let is_news = !last.was_applied || last.failure.is_some();
        let items = results.all().count();
        let created = results.all().filter(|result| **result == ItemResult::Created).count();
        if is_news || created > 0 {
            info!(items, created, "the topology file is applied");
        } else {
            debug!(items, "the topology file is applied again");
        }
    }

    fn note_failed(&self, item: String, reason: Error) {
        debug!(item, %reason, "an attempt to apply the topology file failed");
        let failure = Some((item, reason));
        let mut last = None;
        self.state.send_modify(|state| last = std::mem::replace(&mut state.failure, failure.clone()));
        // The log of the outage tells why there is no connection.
        if let Some((item, reason)) = failure.filter(|now| last.as_ref() != Some(now))
            && !matches!(reason, Error::NotSent(_))
        {
            error!(item, %reason, "RabbitMQ does not have the topology file, the gateway tries again");
        }
    }
}

/// Waits until the connection is lost, or until another one replaces it.
async fn until_gone(connection: &Connection) {
    tokio::select! {
        _why = connection.retired() => {}
        () = connection.router().end().cancelled_owned() => {}
    }
}

/// Waits until the connection is lost. Does not resolve when the gateway replaces it: a long document uses up channel numbers
/// at each attempt, and the gateway replaces the connection for that.
async fn until_lost(connection: &Connection) {
    connection.router().end().cancelled_owned().await;
    if connection.retired_for().is_some() {
        pending::<()>().await;
    }
}
