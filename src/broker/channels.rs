//! The deadpool-managed pool of confirm channels, spread over the publishing connections.
//!
//! One publish is in flight on a channel at a time, so a confirm, a return or a channel error has one
//! possible owner. A channel with an unanswered confirm is never handed out again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use deadpool::managed::{self, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult};
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::time::{Instant, sleep, timeout_at};

use super::SettingsError;
use super::connections::{Connections, REOPEN_PAUSE};
use super::error::Error;
use super::link::{Link, add_one, take_one};

/// A confirm channel and its place on the connection that it lives on.
pub(super) struct ConfirmChannel {
    channel: Channel,
    place: Place,
    unanswered: bool,
}

/// Counted among the channels of a connection for as long as it lives.
struct Place(Arc<Link>);

impl ConfirmChannel {
    /// The AMQP channel. From here until [`ConfirmChannel::answered`] the pool will not reuse it.
    pub(super) fn begin(&mut self) -> Channel {
        self.unanswered = true;
        self.channel.clone()
    }

    /// The broker has answered what was published last.
    pub(super) fn answered(&mut self) {
        self.unanswered = false;
    }

    /// Whether a publish may start on it.
    fn is_usable(&self) -> bool {
        self.channel.status().connected() && self.link().is_usable()
    }

    /// Gives it back to the pool, or its place where it is of no use any more: the broker closes a
    /// channel to answer some mistakes.
    pub(super) fn put_back(pooled: Object<ChannelManager>) {
        if !pooled.is_usable() {
            drop(Object::take(pooled));
        }
    }

    /// The connection.
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.place.0
    }
}

impl Place {
    fn on(link: Arc<Link>) -> Self {
        add_one(link.channels());
        Self(link)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        take_one(self.0.channels());
    }
}

/// Opens channels for the pool and decides which may be used again.
pub(super) struct ChannelManager {
    connections: Arc<Connections>,
    size: usize,
}

impl managed::Manager for ChannelManager {
    type Type = ConfirmChannel;
    type Error = Error;

    async fn create(&self) -> Result<ConfirmChannel, Error> {
        // Counted before it is open, so that channels opened at the same time are spread.
        let place = Place::on(self.connections.wait_long().await?);
        let channel = place.0.unless_gone(open(place.0.connection())).await?;
        Ok(ConfirmChannel { channel, place, unanswered: false })
    }

    async fn recycle(&self, confirm: &mut ConfirmChannel, _: &Metrics) -> RecycleResult<Error> {
        let refuse = |why: &'static str| Err(RecycleError::message(why));
        if confirm.unanswered {
            return refuse("a confirm is outstanding");
        }
        if !confirm.is_usable() {
            return refuse("the channel or its connection is gone");
        }
        if confirm.link().channels().load(Ordering::Relaxed) > self.fair_share() {
            return refuse("another connection has room");
        }
        Ok(())
    }
}

async fn open(connection: &Connection) -> Result<Channel, lapin::Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

impl ChannelManager {
    /// Channels that one connection should carry at the most, now.
    fn fair_share(&self) -> usize {
        self.size.div_ceil(self.connections.up().count().max(1))
    }
}

/// The pool.
pub(super) struct ConfirmChannels {
    pool: Pool<ChannelManager>,
}

impl ConfirmChannels {
    /// A pool of at most `size` channels.
    pub(super) fn new(connections: Arc<Connections>, size: usize) -> Result<Self, SettingsError> {
        // The last one used comes first: the fewer channels are open, the less lapin has to look at.
        let pool = Pool::builder(ChannelManager { connections, size })
            .max_size(size)
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| SettingsError::Pool { reason: error.to_string() })?;
        Ok(Self { pool })
    }

    /// A channel, waiting for one until the deadline. Nothing is published meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`] at the deadline, [`Error::Blocked`] at once, or what opening a channel met.
    pub(super) async fn get(&self, deadline: Instant) -> Result<Object<ChannelManager>, Error> {
        tokio::select! {
            biased;
            () = self.pool.manager().connections.until_blocked() => Err(Error::Blocked),
            got = self.wait(deadline) => got,
        }
    }

    async fn wait(&self, deadline: Instant) -> Result<Object<ChannelManager>, Error> {
        loop {
            match timeout_at(deadline, self.pool.get()).await {
                Ok(Ok(channel)) => return Ok(channel),
                // The connection was lost while the channel was being opened: wait for the next one.
                Ok(Err(PoolError::Backend(Error::Lost { .. }))) => sleep(REOPEN_PAUSE).await,
                Ok(Err(PoolError::Backend(error))) => return Err(error),
                Ok(Err(PoolError::Closed)) => return Err(Error::ShuttingDown),
                Ok(Err(_)) | Err(_) => return Err(self.why_none()),
            }
        }
    }

    fn why_none(&self) -> Error {
        let connections = &self.pool.manager().connections;
        if connections.up().next().is_some() { Error::Busy } else { connections.why_down() }
    }

    /// Channels in the pool, in use and idle together; those in use; callers that wait for one.
    pub(super) fn usage(&self) -> PoolUsage {
        let status = self.pool.status();
        PoolUsage {
            max: status.max_size,
            open: status.size,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }

    /// Hands out no more channels.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// How full the pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// Channels that there may be.
    pub max: usize,
    /// Channels that there are.
    pub open: usize,
    /// Channels with a publish in flight.
    pub in_use: usize,
    /// Publishes that wait for a channel.
    pub waiting: usize,
}
