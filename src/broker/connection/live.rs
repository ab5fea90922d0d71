//! One live connection: its state for its users, and how it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::Channel;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Reached;
use crate::broker::Address;
use crate::broker::convert::short_string;
use crate::broker::error::{Cause, Error};
use crate::broker::lapin_compat::{ChannelNumbers, Gone, finish};
use crate::broker::wire::Router;

/// How long RabbitMQ may take to answer `connection.close`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// AMQP's reply code for a normal end.
const REPLY_SUCCESS: u16 = 200;

/// The reason for replacing a connection that has no usable channel numbers left.
pub(super) const NUMBERS_USED_UP: &str = "its channel numbers are used up";

/// A connection in a slot, shared by all its users. When it is lost, the supervisor replaces the whole object.
pub(in crate::broker) struct Connection {
    lapin: lapin::Connection,
    router: Router,
    address: Address,
    /// How long publishes may be in flight on it without any answer before the gateway replaces it.
    patience: Duration,
    has_answered: AtomicBool,
    /// Whether publishes are in flight on it and RabbitMQ has answered none for `patience`.
    is_silent: watch::Sender<bool>,
    users: TaskTracker,
    numbers: ChannelNumbers,
    retired: CancellationToken,
    retired_for: OnceLock<&'static str>,
    gone: Gone,
}

impl Connection {
    pub(in crate::broker) fn new(
        lapin: lapin::Connection,
        router: Router,
        address: Address,
        patience: Duration,
    ) -> Self {
        let users = TaskTracker::new();
        users.close();
        Self {
            lapin,
            router,
            address,
            patience,
            has_answered: AtomicBool::new(false),
            is_silent: watch::Sender::new(false),
            users,
            numbers: ChannelNumbers::default(),
            retired: CancellationToken::new(),
            retired_for: OnceLock::new(),
            gone: Gone::default(),
        }
    }

    /// lapin's handle of the connection.
    pub(in crate::broker) fn lapin(&self) -> &lapin::Connection {
        &self.lapin
    }

    /// The server and virtual host that it reached, with this user.
    pub(in crate::broker) fn reached(&self, user: Option<&str>) -> Reached {
        Reached {
            address: self.address.clone(),
            server: self.router.server(),
            user: user.map(str::to_owned),
            vhost: self.lapin.status().vhost().to_string(),
        }
    }

    /// Whether the TCP connection and the AMQP session on it are up.
    pub(in crate::broker) fn is_connected(&self) -> bool {
        self.lapin.status().connected()
    }

    /// Whether new work may start on it: it is connected and not about to be replaced.
    pub(in crate::broker) fn is_usable(&self) -> bool {
        self.is_connected() && !self.retired.is_cancelled()
    }

    /// Whether RabbitMQ has stopped reading from this connection because of an alarm. Keeps the last value when the
    /// connection is lost.
    pub(in crate::broker) fn is_blocked(&self) -> bool {
        self.router.is_blocked()
    }

    /// Resolves when RabbitMQ does not block the connection.
    pub(in crate::broker) async fn until_unblocked(&self) {
        let mut blocked = self.router.blocked();
        while blocked.borrow_and_update().is_some() {
            if blocked.changed().await.is_err() {
                return;
            }
        }
    }

    /// The router of its frames.
    pub(in crate::broker) fn router(&self) -> &Router {
        &self.router
    }

    /// The users of the connection. A retired connection is closed when it has no users any more.
    pub(in crate::broker) fn users(&self) -> &TaskTracker {
        &self.users
    }

    /// How long publishes may be in flight without any answer before the gateway replaces the connection.
    pub(in crate::broker) fn patience(&self) -> Duration {
        self.patience
    }

    /// Sets whether publishes are in flight on it and RabbitMQ has answered none for [`Self::patience`]. While this is
    /// true, the gateway dials a replacement. The connection accepts publishes until the replacement is up.
    pub(in crate::broker) fn set_silent(&self, is_silent: bool) {
        self.is_silent.send_if_modified(|before| std::mem::replace(before, is_silent) != is_silent);
    }

    /// Resolves when the connection is silent, or with `false` when it is no longer silent.
    pub(in crate::broker) async fn until_silent(&self, is_silent: bool) {
        let mut changed = self.is_silent.subscribe();
        while *changed.borrow_and_update() != is_silent {
            // The sender cannot be dropped: it is a field of this connection.
            let _open = changed.changed().await;
        }
    }

    /// Records that RabbitMQ has answered a publish on it.
    pub(in crate::broker) fn note_answer(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }

    /// Whether RabbitMQ has answered any publish on it.
    pub(in crate::broker) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// The largest frame size in bytes that the gateway and RabbitMQ agreed.
    pub(in crate::broker) fn frame_max(&self) -> usize {
        usize::try_from(self.lapin.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// Opens a channel for one operation.
    pub(in crate::broker) async fn open_channel(&self) -> Result<Channel, lapin::Error> {
        let channel = self.lapin.create_channel().await?;
        self.numbers.given(channel.id(), self.lapin.configuration().channel_max());
        Ok(channel)
    }

    /// The channel numbers.
    pub(in crate::broker) fn numbers(&self) -> &ChannelNumbers {
        &self.numbers
    }

    /// The error for a channel that could not be opened. It is no answer to the request that needed the channel.
    ///
    /// When RabbitMQ has closed a channel, lapin answers each request on a later channel of the same number with the text
    /// of that close. When lapin reuses such a number, the connection has no usable numbers left.
    pub(in crate::broker) fn not_opened(&self, error: Error) -> Error {
        if matches!(error, Error::Unknown(Cause::Lost { .. })) {
            return error;
        }
        self.retire(NUMBERS_USED_UP);
        Error::lost(&error.to_string())
    }

    /// Asks the supervisor to replace this connection, with a reason for the log. RabbitMQ may still answer the publishes
    /// in flight.
    pub(in crate::broker) fn retire(&self, why: &'static str) {
        // Only the first reason is kept.
        let _later = self.retired_for.set(why);
        self.retired.cancel();
    }

    /// Why it is to be replaced, where it is.
    pub(in crate::broker) fn retired_for(&self) -> Option<&'static str> {
        self.retired_for.get().copied()
    }

    /// Ends after [`Connection::retire`], and says why.
    pub(in crate::broker) async fn retired(&self) -> &'static str {
        self.retired.cancelled().await;
        self.retired_for.get().copied().unwrap_or_default()
    }

    /// Does `work` on this connection, and fails with [`Cause::Lost`] when the connection is gone.
    pub(in crate::broker) async fn unless_gone<T, E: Into<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        self.gone.unless(work).await
    }

    /// Does `work` with a channel of this connection in a task, which runs to its end even if the caller leaves, see
    /// [`lapin_compat`](crate::broker::lapin_compat).
    pub(in crate::broker) async fn finish<T: Send + 'static>(
        self: Arc<Self>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        finish(self.gone.clone(), || self.is_connected(), work).await
    }

    /// Closes the connection with AMQP's close if RabbitMQ answers within a second, else closes the socket.
    pub(in crate::broker) async fn close(&self) {
        self.retired.cancel();
        if self.is_connected() && !self.is_blocked() {
            let goodbye = self.lapin.close(REPLY_SUCCESS, short_string("stopping"));
            // The answer does not matter: `kill` below ends the rest.
            let _ended = timeout(CLOSE_TIMEOUT, goodbye).await;
        }
        self.kill();
    }

    /// Closes the socket at once, without AMQP's close.
    pub(in crate::broker) fn kill(&self) {
        self.retired.cancel();
        self.router.kill();
        self.gone.set();
    }
}
