//! The deadpool-managed pool of confirm channels of one connection slot.
//!
//! Whoever has a channel is its only publisher. A channel whose last publish is unanswered, or that
//! the broker has closed, is never handed out again.

use std::sync::Arc;

use deadpool::managed::{self, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult};
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::time::sleep;

use super::SettingsError;
use super::connections::{Connections, REOPEN_PAUSE};
use super::error::{Cause, Error, Unavailable};
use super::link::Link;

/// A confirm channel and the connection that it lives on.
pub(super) struct ConfirmChannel {
    channel: Channel,
    link: Arc<Link>,
}

impl ConfirmChannel {
    /// The AMQP channel.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The connection.
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Whether a publish may start on it.
    pub(super) fn is_usable(&self) -> bool {
        self.channel.status().connected() && self.link.is_usable()
    }
}

/// Opens channels for the pool and decides which may be used again.
pub(super) struct ChannelManager {
    connections: Arc<Connections>,
    slot: usize,
}

impl managed::Manager for ChannelManager {
    type Type = Arc<ConfirmChannel>;
    type Error = Error;

    async fn create(&self) -> Result<Self::Type, Error> {
        let link = self.connections.wait_slot(self.slot).await?;
        let opened = link.unless_gone(open(link.connection())).await;
        let channel = opened.map_err(|error| link.not_opened(error))?;
        Ok(Arc::new(ConfirmChannel { channel, link }))
    }

    async fn recycle(&self, confirm: &mut Self::Type, _: &Metrics) -> RecycleResult<Error> {
        if confirm.is_usable() {
            Ok(())
        } else {
            Err(RecycleError::message("the channel or its connection is gone"))
        }
    }
}

async fn open(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A channel of the pool; given back when dropped.
pub(super) type Pooled = Object<ChannelManager>;

/// The pool. Cheap to clone.
#[derive(Clone)]
pub(super) struct ConfirmChannels {
    pool: Pool<ChannelManager>,
}

impl ConfirmChannels {
    /// A pool of at most `size` channels, all on the connection in one slot.
    pub(super) fn new(
        connections: Arc<Connections>,
        slot: usize,
        size: usize,
    ) -> Result<Self, SettingsError> {
        // The last one used comes first: the fewer channels are open, the less lapin has to look at.
        let pool = Pool::builder(ChannelManager { connections, slot })
            .max_size(size)
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| SettingsError::Pool { reason: error.to_string() })?;
        Ok(Self { pool })
    }

    /// A channel, waiting for one for as long as it takes. Nothing is published meanwhile.
    ///
    /// # Errors
    /// [`Unavailable::ShuttingDown`], or what opening a channel met.
    pub(super) async fn get(&self) -> Result<Pooled, Error> {
        loop {
            match self.pool.get().await {
                Ok(channel) => return Ok(channel),
                // The connection was lost while the channel was being opened: wait for the next one.
                Err(PoolError::Backend(Error::Unknown(Cause::Lost { .. }))) => sleep(REOPEN_PAUSE).await,
                Err(PoolError::Backend(error)) => return Err(error),
                Err(_) => return Err(Error::NotSent(Unavailable::ShuttingDown)),
            }
        }
    }

    /// Channels that there are, idle ones included.
    pub(super) fn open(&self) -> usize {
        self.pool.status().size
    }

    /// Hands out no more channels.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}
