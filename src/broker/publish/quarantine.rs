//! Publishing alone: one in flight on a channel, on a connection that nobody else needs.
//!
//! For what may end its channel or its connection, so that it ends for its own caller only, and with
//! the broker's own words.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Object;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::letter::Letter;
use crate::broker::SettingsError;
use crate::broker::channels::{ConfirmChannels, Pooled};
use crate::broker::connections::Connections;
use crate::broker::error::{Cause, Error};
use crate::broker::link::Link;

/// How late a confirm may be before its connection is replaced.
const LATEST: Duration = Duration::from_mins(1);

/// The connection and its channels.
pub(super) struct Quarantine {
    connections: Arc<Connections>,
    channels: ConfirmChannels,
    tasks: TaskTracker,
}

impl Quarantine {
    /// At most `size` channels on the only connection of `connections`.
    pub(super) fn new(connections: Arc<Connections>, size: usize) -> Result<Self, SettingsError> {
        let channels = ConfirmChannels::new(Arc::clone(&connections), 0, size)?;
        Ok(Self { connections, channels, tasks: TaskTracker::new() })
    }

    /// A channel, waiting for one until the deadline. Nothing is published meanwhile.
    ///
    /// # Errors
    /// As those of a lane's place.
    pub(super) async fn channel(&self, deadline: Instant) -> Result<Pooled, Error> {
        self.connections.unwritten(deadline, self.channels.get()).await
    }

    /// Publishes, and waits for the verdict to the letter's deadline. Cancel safe: what was written
    /// is finished in a task of its own, for a channel with an unanswered confirm must be kept.
    ///
    /// # Errors
    /// The verdict, how the channel ended, or [`Cause::Silence`].
    pub(super) async fn publish(&self, channel: Pooled, letter: Box<Letter>) -> Result<(), Error> {
        let deadline = letter.deadline;
        let (verdict, settled) = oneshot::channel();
        self.tasks.spawn(async move {
            // The caller may have left.
            let _gone = verdict.send(settle(channel, letter).await);
        });
        match timeout_at(deadline, settled).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => Err(Error::gone()),
            Err(_) => Err(Error::Unknown(Cause::Silence)),
        }
    }

    /// The connection.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Channels that there are.
    pub(super) fn open(&self) -> usize {
        self.channels.open()
    }

    /// Hands out no more channels.
    pub(super) fn close(&self) {
        self.channels.close();
    }
}

async fn settle(pooled: Pooled, letter: Box<Letter>) -> Result<(), Error> {
    let confirm = Arc::clone(&pooled);
    let (link, deadline) = (confirm.link(), letter.deadline);
    let mut settling = pin!(link.unless_gone(letter.settle(&confirm)));
    let Ok(verdict) = timeout_at(deadline, &mut settling).await else {
        // Its place in the pool is free for another channel meanwhile.
        drop(Object::take(pooled));
        wait_for_late(link, settling).await;
        return Err(Error::Unknown(Cause::Silence));
    };
    if !confirm.is_usable() {
        drop(Object::take(pooled));
    }
    verdict.map_err(|error| match error {
        Error::Unknown(Cause::Lost { reason, repeatable }) => {
            Error::Unknown(Cause::Lost { reason, repeatable: repeatable && !link.is_blocked() })
        }
        other => other,
    })
}

/// Closing a channel before its confirm has come would take the connection with it.
async fn wait_for_late(link: &Link, mut settling: Pin<&mut impl Future<Output = Result<(), Error>>>) {
    link.add_late(1);
    while timeout(LATEST, &mut settling).await.is_err() {
        // During an alarm a new connection would learn of it only by holding a message too.
        if !link.is_blocked() {
            link.retire("a confirm is very late");
        }
    }
    link.take_late(1);
}
