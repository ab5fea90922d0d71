//! One live connection: what its users may ask of it, and how it ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lapin::Connection;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::convert::short;
use super::error::{Cause, Error};
use super::pace::Crowd;
use super::socket::Wire;
use super::tap::Returns;

/// How long the broker may take to answer `connection.close`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long lapin may take to tell those who wait on a connection that it is gone. What was asked
/// while the connection was being lost it never answers at all.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Late publishes on one connection before it is replaced.
const MAX_LATE: usize = 500;
/// AMQP's reply code for a normal end.
const REPLY_SUCCESS: u16 = 200;

/// A connection in a slot. Shared by all who use it; replaced as a whole when it is lost.
pub(super) struct Link {
    connection: Connection,
    wire: Wire,
    blocked_reason: Mutex<Option<String>>,
    late: AtomicUsize,
    retired: CancellationToken,
    retired_for: OnceLock<&'static str>,
    gone: CancellationToken,
}

impl Link {
    pub(super) fn new(connection: Connection, wire: Wire) -> Self {
        Self {
            connection,
            wire,
            blocked_reason: Mutex::default(),
            late: AtomicUsize::new(0),
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

    /// Whether the broker has stopped reading from this connection because of an alarm. Keeps its
    /// last value when the connection is lost.
    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// The broker's reason for blocking.
    pub(super) fn blocked_reason(&self) -> Option<String> {
        self.reason().clone()
    }

    pub(super) fn set_blocked_reason(&self, reason: Option<String>) {
        *self.reason() = reason;
    }

    fn reason(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.blocked_reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages that came back on it.
    pub(super) fn returns(&self) -> &Returns {
        &self.wire.returns
    }

    /// How many wait for what it reads.
    pub(super) fn crowd(&self) -> &Crowd {
        &self.wire.crowd
    }

    /// Publishes whose callers have been told `unknown` at their deadline, and whose confirms may come.
    pub(super) fn late(&self) -> usize {
        self.late.load(Ordering::Relaxed)
    }

    /// Counts late publishes. With too many of them the connection is replaced: what they hold is
    /// bounded by nothing else. Not during an alarm, which is refused at the door for as long as a connection
    /// knows of it.
    pub(super) fn add_late(&self, count: usize) {
        let late = self.late.fetch_add(count, Ordering::Relaxed) + count;
        if late > MAX_LATE && !self.is_blocked() {
            self.retire("too many confirms are late");
        }
    }

    /// Takes back what [`Link::add_late`] counted.
    pub(super) fn take_late(&self, count: usize) {
        self.late.fetch_sub(count, Ordering::Relaxed);
    }

    /// What the opening of a channel met, which says nothing of what was to be asked on it.
    ///
    /// The words with which the broker closed a channel are lapin's answer to all that is asked on a later one
    /// of the same number: when the numbers come round, the connection has no good ones left.
    pub(super) fn not_opened(&self, error: Error) -> Error {
        if matches!(error, Error::Unknown(Cause::Lost { .. })) {
            return error;
        }
        self.retire("its channel numbers are used up");
        Error::lost(&error.to_string())
    }

    /// Asks for a new connection in this one's place, and says why to whoever reads the log; what is in
    /// flight here may still end well.
    pub(super) fn retire(&self, why: &'static str) {
        // The first reason is the one that counts.
        let _later = self.retired_for.set(why);
        self.retired.cancel();
    }

    /// Ends when somebody has called [`Link::retire`], and says why.
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
        self.wire.kill.kill();
        self.gone.cancel();
    }
}
