//! The open channel of a queue.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::lease_channel::{Event, LeaseChannel};
use super::shared::Shared;
use crate::broker::connection::Connection;
use crate::broker::error::{Error, Unavailable};
use crate::broker::lapin_compat::until_noticed;
use crate::broker::wire::push_tx_select;
use crate::domain::names::QueueName;

/// How long RabbitMQ may take to answer the questions about a queue and to open its channel.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);

/// The open channel of a queue, and the events on it.
pub(super) struct Link {
    connection: Arc<Connection>,
    /// lapin closes the channel when this is dropped.
    channel: Channel,
    /// A connection that is to be replaced stays open while the channel is in use.
    _user: TaskTrackerToken,
    pub(super) owner: Arc<LeaseChannel>,
    /// The name of the owner in the ids of the leases on this channel.
    pub(super) owner_name: Arc<str>,
    events: UnboundedReceiver<Event>,
}

impl Link {
    /// Asks whether the queue can be consumed, then opens its channel.
    ///
    /// # Errors
    /// RabbitMQ's refusal, or why there is no channel.
    pub(super) async fn open(shared: Arc<Shared>, queue: QueueName) -> Result<Self, Error> {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let connection = shared.connections().wait(deadline).await?;
        let owner_name = shared.control.owner(&connection).await?;
        shared.topology.check_consumable(&queue, deadline).await?;
        let dialled = Arc::clone(&connection);
        let opening = Arc::clone(&connection).finish(async move { Ok(dialled.open_channel().await?) });
        let opened = timeout(OPEN_TIMEOUT, opening).await;
        let channel = opened
            .map_err(|_| Error::NotSent(Unavailable::NoConnection))?
            .map_err(|error| connection.not_opened(error))?;
        let (outlet, user) = (connection.router().outlet(channel.id()), connection.users().token());
        let (owner, events) = LeaseChannel::new(outlet, Arc::clone(&shared.free_bytes));
        connection.router().register(channel.id(), Arc::clone(&owner) as _);
        owner.write_frames(push_tx_select);
        Ok(Self { connection, owner_name, channel, _user: user, owner, events })
    }

    /// Whether the connection is about to be replaced.
    pub(super) fn is_retired(&self) -> bool {
        !self.connection.is_usable()
    }

    /// Drops the channel after its end, as soon as lapin has noticed the end. If RabbitMQ closed it, lapin cannot use its number
    /// again.
    pub(super) fn forget(self, is_refused: bool) {
        if is_refused {
            self.connection.numbers().lose_one();
        }
        tokio::spawn(async move { until_noticed(&self.channel).await });
    }
}

/// The next event of an open channel; waits for ever without one.
pub(super) async fn next_event(link: &mut Option<Link>) -> Event {
    match link {
        Some(link) => link.events.recv().await.unwrap_or_else(|| Event::Closed(Error::gone())),
        None => pending().await,
    }
}
