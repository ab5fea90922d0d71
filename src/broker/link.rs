//! One live connection: the questions of its users, and how it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::{Channel, Connection};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::convert::short;
use super::error::{Cause, Error};
use super::wire::Wire;

/// How long the broker may take to answer `connection.close`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long lapin may take to tell the users of a connection that it is gone. Requests that are made
/// while the connection is being lost never get an answer from it.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// AMQP's reply code for a normal end.
const REPLY_SUCCESS: u16 = 200;

/// Why a connection is replaced that has no good channel numbers left.
pub(super) const NUMBERS_USED_UP: &str = "its channel numbers are used up";

/// A connection in a slot. Shared by all who use it; replaced as a whole when it is lost.
pub(super) struct Link {
    connection: Connection,
    wire: Wire,
    /// How long publishes may be in flight on it without any answer before it is replaced.
    patience: Duration,
    has_answered: AtomicBool,
    /// Whether publishes are in flight on it and none was answered for `patience`.
    is_silent: watch::Sender<bool>,
    users: TaskTracker,
    /// Some channel numbers cannot be used again.
    has_lost_numbers: AtomicBool,
    numbers_run_out: CancellationToken,
    retired: CancellationToken,
    retired_for: OnceLock<&'static str>,
    gone: CancellationToken,
}

impl Link {
    pub(super) fn new(connection: Connection, wire: Wire, patience: Duration) -> Self {
        let users = TaskTracker::new();
        users.close();
        Self {
            connection,
            wire,
            patience,
            has_answered: AtomicBool::new(false),
            is_silent: watch::Sender::new(false),
            users,
            has_lost_numbers: AtomicBool::new(false),
            numbers_run_out: CancellationToken::new(),
            retired: CancellationToken::new(),
            retired_for: OnceLock::new(),
            gone: CancellationToken::new(),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Whether the TCP connection and the AMQP session on it are up.
    pub(super) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether new work may start here: connected and not about to be replaced.
    pub(super) fn is_usable(&self) -> bool {
        self.is_connected() && !self.retired.is_cancelled()
    }

    /// Whether RabbitMQ has stopped reading from this connection because of an alarm. Keeps its
    /// last value when the connection is lost.
    pub(super) fn is_blocked(&self) -> bool {
        self.wire.is_blocked()
    }

    /// Ends when RabbitMQ does not block the connection.
    pub(super) async fn until_unblocked(&self) {
        let mut blocked = self.wire.blocked();
        while blocked.borrow_and_update().is_some() {
            if blocked.changed().await.is_err() {
                return;
            }
        }
    }

    /// The connection's frames.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// A retired connection is closed when it has no users any more.
    pub(super) fn users(&self) -> &TaskTracker {
        &self.users
    }

    /// How long publishes may be in flight without any answer before the connection is replaced.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Sets whether publishes are in flight on it and none was answered for [`Self::patience`]. While it is so, the
    /// gateway dials a replacement; the connection takes publishes until that one is there.
    pub(super) fn set_silent(&self, is_silent: bool) {
        self.is_silent.send_if_modified(|before| std::mem::replace(before, is_silent) != is_silent);
    }

    /// Ends when it is silent, or is no more.
    pub(super) async fn until_silent(&self, is_silent: bool) {
        let mut changed = self.is_silent.subscribe();
        while *changed.borrow_and_update() != is_silent {
            // The sender is a part of this connection.
            let _open = changed.changed().await;
        }
    }

    /// A publish on it was answered.
    pub(super) fn note_answer(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
    }

    /// Whether any publish on it was answered.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// Bytes that a frame may have, as agreed with RabbitMQ.
    pub(super) fn frame_max(&self) -> usize {
        usize::try_from(self.connection.configuration().frame_max()).unwrap_or(usize::MAX)
    }

    /// Opens a channel for one operation. lapin gives numbers in turn: from the second half of them on, it soon comes to those
    /// that cannot be used again, and the gateway dials a successor meanwhile.
    pub(super) async fn open_channel(&self) -> Result<Channel, lapin::Error> {
        let channel = self.connection.create_channel().await?;
        let is_in_second_half = channel.id() > self.connection.configuration().channel_max() / 2;
        if is_in_second_half && self.has_lost_numbers.load(Ordering::Relaxed) {
            self.numbers_run_out.cancel();
        }
        Ok(channel)
    }

    /// The number of a channel cannot be used again: RabbitMQ closed the channel, or has not answered on it.
    pub(super) fn lose_number(&self) {
        self.has_lost_numbers.store(true, Ordering::Relaxed);
    }

    /// Ends when its channel numbers will soon be used up. The connection takes operations until its successor is there.
    pub(super) async fn until_numbers_run_out(&self) {
        self.numbers_run_out.cancelled().await;
    }

    /// The error of the opening of a channel, which says nothing of the request that the channel was for.
    ///
    /// The words with which the broker closed a channel are lapin's answer to all that is asked on a later one
    /// of the same number: when the numbers come round, the connection has no good ones left.
    pub(super) fn not_opened(&self, error: Error) -> Error {
        if matches!(error, Error::Unknown(Cause::Lost { .. })) {
            return error;
        }
        self.retire(NUMBERS_USED_UP);
        Error::lost(&error.to_string())
    }

    /// Asks for a new connection in this one's place, with a reason for the log. The publishes in flight may still be
    /// answered.
    pub(super) fn retire(&self, why: &'static str) {
        // The first reason is the one that counts.
        let _later = self.retired_for.set(why);
        self.retired.cancel();
    }

    /// Ends after [`Link::retire`], and says why.
    pub(super) async fn retired(&self) -> &'static str {
        self.retired.cancelled().await;
        self.retired_for.get().copied().unwrap_or_default()
    }

    /// Does `work` on this connection, and ends with [`Cause::Lost`] when the connection is gone.
    pub(super) async fn unless_gone<T, E: Into<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            answer = work => answer.map_err(Into::into),
            () = self.silent() => Err(Error::gone()),
        }
    }

    /// Does `work` with a channel of this connection in a task, which comes to its end although the caller leaves. When a channel is
    /// dropped while RabbitMQ closes it, both sides close it, and lapin (4.12) takes that for an error of the whole
    /// connection: all operations on it would get the error of that one channel.
    pub(super) async fn finish<T: Send + 'static>(
        self: Arc<Self>,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let link = Arc::clone(&self);
        let answer = tokio::spawn(async move { link.unless_gone(work).await }).await;
        match answer.unwrap_or_else(|_| Err(Error::gone())) {
            // RabbitMQ closes the channel over such a mistake; whose it was cannot be told when the connection is gone.
            Err(Error::Refused(refusal)) if refusal.is_of_a_channel() && !self.is_connected() => {
                Err(Error::gone())
            }
            answer => answer,
        }
    }

    /// Ends when the connection is gone and nothing that was asked on it will be answered any more.
    pub(super) async fn silent(&self) {
        self.gone.cancelled().await;
        sleep(LAST_WORDS).await;
    }

    /// Says goodbye within a second where the broker listens, and hangs up where it does not.
    pub(super) async fn close(&self) {
        self.retired.cancel();
        if self.is_connected() && !self.is_blocked() {
            let goodbye = self.connection.close(REPLY_SUCCESS, short("stopping"));
            // Whatever it answers, the switch below ends what is left.
            let _ended = timeout(CLOSE_TIMEOUT, goodbye).await;
        }
        self.kill();
    }

    /// Hangs up at once.
    pub(super) fn kill(&self) {
        self.retired.cancel();
        self.wire.kill();
        self.gone.cancel();
    }
}
