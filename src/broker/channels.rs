//! The deadpool-managed pool of confirm channels of one connection slot.
//!
//! A channel of the pool has one user at a time, which is its only publisher. The pool never hands out a channel again
//! that has an unanswered publish, or that RabbitMQ has closed.

mod answer_history;
mod in_flight;
mod lost;
mod publish_channel;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult};
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::time::{sleep, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(super) use self::answer_history::Progress;
pub(super) use self::in_flight::{NotWritten, Pending, WindowPermit, WriteResult};
pub(super) use self::publish_channel::PublishChannel;
use super::SettingsError;
use super::connection::{Connection, Connections, REOPEN_PAUSE};
use super::error::{Cause, Error, Unavailable};
use super::lapin_compat::until_noticed;

/// How long RabbitMQ may take to open a channel.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// A confirm channel and its connection.
pub(super) struct ConfirmChannel {
    /// lapin's handle; lapin closes the channel when this is dropped.
    channel: Channel,
    owner: Arc<PublishChannel>,
    connection: Arc<Connection>,
    _user: TaskTrackerToken,
}

impl ConfirmChannel {
    /// The owner of the channel, which writes its publishes and gets RabbitMQ's answers.
    pub(super) fn owner(&self) -> &Arc<PublishChannel> {
        &self.owner
    }

    /// The connection.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Resolves when lapin has noticed that the channel has ended, see [`until_noticed`]. Await it before dropping the
    /// channel.
    pub(super) async fn until_noticed(&self) {
        if self.owner.has_ended() {
            until_noticed(&self.channel).await;
        }
    }

    /// Whether a publish may start on this channel.
    pub(super) fn is_usable(&self) -> bool {
        !self.owner.has_ended() && self.connection.is_usable()
    }
}

/// Opens channels for the pool, and decides which of them the pool may use again.
pub(super) struct ChannelManager {
    connections: Arc<Connections>,
    slot: usize,
    /// Whether the connection belongs to a slow destination. RabbitMQ may stop reading from it for as long as the
    /// destination is slow.
    may_be_stopped: bool,
    opened: Arc<Opened>,
}

/// The channels that were opened and still exist: in use, idle, or waiting for their last answers.
type Opened = Mutex<Vec<Weak<ConfirmChannel>>>;

impl managed::Manager for ChannelManager {
    type Type = Arc<ConfirmChannel>;
    type Error = Error;

    async fn create(&self) -> Result<Self::Type, Error> {
        let connection = self.connections.wait_slot(self.slot).await?;
        let channel = self.open(&connection).await?;
        let owner = PublishChannel::new(connection.router().outlet(channel.id()));
        connection.router().register(channel.id(), Arc::clone(&owner) as _);
        let user = connection.users().token();
        let confirm = Arc::new(ConfirmChannel { channel, owner, connection, _user: user });
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&confirm));
        Ok(confirm)
    }

    async fn recycle(&self, confirm: &mut Self::Type, _: &Metrics) -> RecycleResult<Error> {
        if confirm.is_usable() && confirm.owner.is_empty() {
            Ok(())
        } else {
            Err(RecycleError::message("the channel is gone, or a publish on it has no answer"))
        }
    }
}

impl ChannelManager {
    /// Opens a channel. If RabbitMQ opens none in time, the gateway replaces the connection, except during an alarm and
    /// except for the connection of a slow destination.
    async fn open(&self, connection: &Connection) -> Result<Channel, Error> {
        let mut opening = pin!(connection.unless_gone(open(connection.lapin())));
        loop {
            match timeout(OPEN_TIMEOUT, opening.as_mut()).await {
                Ok(opened) => return opened.map_err(|error| connection.not_opened(error)),
                Err(_) if self.may_be_stopped || self.connections.blocked().is_some() => {}
                Err(_) => {
                    connection.retire("RabbitMQ opens no channel on it");
                    return Err(Error::lost("RabbitMQ opens no channel"));
                }
            }
        }
    }
}

async fn open(connection: &lapin::Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A channel of the pool; dropping it gives it back.
pub(super) type Pooled = Object<ChannelManager>;

/// The pool. Cheap to clone.
#[derive(Clone)]
pub(super) struct ConfirmChannels {
    pool: Pool<ChannelManager>,
    opened: Arc<Opened>,
}

impl ConfirmChannels {
    /// Makes a pool of at most `size` channels, all on the connection in one slot.
    pub(super) fn new(
        connections: Arc<Connections>,
        slot: usize,
        size: usize,
        may_be_stopped: bool,
    ) -> Result<Self, SettingsError> {
        let opened = Arc::<Opened>::default();
        // The pool hands out the channel that was used last: fewer open channels cost lapin less.
        let pool =
            Pool::builder(ChannelManager { connections, slot, may_be_stopped, opened: Arc::clone(&opened) })
                .max_size(size)
                .queue_mode(QueueMode::Lifo)
                .build()
                .map_err(|error| SettingsError::Pool { reason: error.to_string() })?;
        Ok(Self { pool, opened })
    }

    /// Waits for a channel without a deadline. No message is written meanwhile.
    ///
    /// # Errors
    /// [`Unavailable::ShuttingDown`], or RabbitMQ's refusal to open a channel.
    pub(super) async fn get(&self) -> Result<Pooled, Error> {
        loop {
            match self.pool.get().await {
                Ok(channel) => return Ok(channel),
                // The connection was lost while the channel was opening: wait for the next connection.
                Err(PoolError::Backend(Error::Unknown(Cause::Lost { .. }))) => sleep(REOPEN_PAUSE).await,
                Err(PoolError::Backend(error)) => return Err(error),
                Err(_) => return Err(Error::NotSent(Unavailable::ShuttingDown)),
            }
        }
    }

    /// Every channel that was opened and still exists.
    pub(super) fn opened(&self) -> Vec<Arc<ConfirmChannel>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|channel| channel.strong_count() > 0);
        opened.iter().filter_map(Weak::upgrade).collect()
    }

    /// Channels that belong to the pool, idle ones included.
    pub(super) fn open(&self) -> usize {
        self.pool.status().size
    }

    /// Closes the pool: it hands out no more channels.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}
