//! Keeps the topology file applied: at the start, and after each reconnect of the topology connection.
//!
//! While RabbitMQ refuses the document, the gateway tries again after a pause. It logs each new reason once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, error, info};

use super::Topology;
use super::document::{DocumentFailure, ItemResults};
use crate::broker::connection::Connection;
use crate::broker::error::Error;
use crate::broker::{Settings, TopologyFile};
use crate::domain::topology::document::ItemResult;

/// The topology file, and the last attempt to apply it.
pub(in crate::broker) struct KeptFile {
    settings: TopologyFile,
    /// The pause after an attempt that failed.
    pause: Duration,
    state: Mutex<TopologyFileState>,
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
        Some(Self { settings: file, pause: settings.refused_delay, state: Mutex::default() })
    }

    /// Applies the file, and applies it again after each reconnect. Returns when the gateway closes the topology connection.
    pub(in crate::broker) async fn keep_applied(&self, topology: &Topology) {
        while let Ok(connection) = topology.connections().wait_long().await {
            let deadline = Instant::now() + self.settings.timeout;
            match topology.apply(&self.settings.document, deadline).await {
                Ok(results) => {
                    self.note_applied(&results);
                    until_gone(&connection).await;
                }
                Err(DocumentFailure { place, error, .. }) => {
                    self.note_failed(format!("{place} {}", self.settings.document.name_of(place)), error);
                    sleep(self.pause).await;
                }
            }
        }
    }

    /// The result of the attempts so far.
    pub(in crate::broker) fn state(&self) -> TopologyFileState {
        self.lock().clone()
    }

    /// Whether the gateway must not be ready before it has applied the file once.
    pub(in crate::broker) fn is_missing(&self) -> bool {
        self.settings.is_required && !self.lock().was_applied
    }

    fn note_applied(&self, results: &ItemResults) {
        let mut state = self.lock();
        let is_news = !state.was_applied || state.failure.is_some();
        *state = TopologyFileState { was_applied: true, failure: None };
        drop(state);
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
        let last = std::mem::replace(&mut self.lock().failure, failure.clone());
        // The log of the outage tells why there is no connection.
        if let Some((item, reason)) = failure.filter(|now| last.as_ref() != Some(now))
            && !matches!(reason, Error::NotSent(_))
        {
            error!(item, %reason, "RabbitMQ does not have the topology file, the gateway tries again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, TopologyFileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn until_gone(connection: &Connection) {
    tokio::select! {
        _why = connection.retired() => {}
        () = connection.router().end().cancelled_owned() => {}
    }
}
