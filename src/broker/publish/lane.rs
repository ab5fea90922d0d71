//! A lane: one confirm channel and a window of messages in flight.
//!
//! The window is bounded by count and by bytes. A permit of it is kept until RabbitMQ's answer, also past the caller's
//! deadline.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Publish;
use crate::broker::channels::{ConfirmChannel, NotWritten, Pending, WriteResult};
use crate::broker::destination::KnownDestination;
use crate::broker::error::{Cause, Error};
use crate::broker::wire::publish_frames;

/// Windows that the newest publish of a lane may be ahead of its oldest without an answer.
const MAX_WINDOWS_AHEAD: usize = 4;

/// The messages that may be in flight on one lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Messages.
    pub(super) publishes: u32,
    /// Bytes of their bodies; one larger body goes alone.
    pub(super) bytes: usize,
}

impl Window {
    /// Permits that a body needs: one, and more when it is larger than its share of the bytes.
    fn permits(self, bytes: usize) -> u32 {
        let share = (self.bytes / self.publishes as usize).max(1);
        u32::try_from(bytes.div_ceil(share)).unwrap_or(u32::MAX).clamp(1, self.publishes)
    }
}

/// The right to have one message in flight on a lane; several permits for a large body.
pub(super) type Permit = OwnedSemaphorePermit;

/// A lane, on one channel. A lane that is given a fresh channel is another one.
pub(super) struct Lane {
    channel: Arc<ConfirmChannel>,
    permits: Arc<Semaphore>,
    window: Window,
    is_isolated: bool,
    retired: CancellationToken,
}

impl Lane {
    /// A lane on this channel. An isolated one carries one message at a time.
    pub(super) fn on(channel: Arc<ConfirmChannel>, window: Window, is_isolated: bool) -> Self {
        let permits = Arc::new(Semaphore::new(window.publishes as usize));
        Self { channel, permits, window, is_isolated, retired: CancellationToken::new() }
    }

    /// Its channel.
    pub(super) fn channel(&self) -> &Arc<ConfirmChannel> {
        &self.channel
    }

    /// Whether it takes more publishes.
    pub(super) fn is_open(&self) -> bool {
        !self.permits.is_closed()
    }

    /// Whether publishes are in flight on it and none is answered.
    pub(super) fn is_silent(&self) -> bool {
        self.channel.publishes().is_silent()
    }

    /// Whether its newest publish is too far ahead of the oldest without an answer.
    pub(super) fn is_stretched(&self) -> bool {
        self.channel.publishes().span() > MAX_WINDOWS_AHEAD * self.window.publishes as usize
    }

    /// Permits that are free.
    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Whether it is less than half full, and has room for a body of so many bytes.
    pub(super) fn has_plenty(&self, bytes: usize) -> bool {
        let free = self.free();
        2 * free > self.window.publishes as usize && free >= self.window.permits(bytes) as usize
    }

    /// Whether a body of so many bytes needs more than one permit.
    pub(super) fn is_large(&self, bytes: usize) -> bool {
        self.window.permits(bytes) > 1
    }

    /// A permit for a body of so many bytes, if there is one now.
    pub(super) fn try_permit(&self, bytes: usize) -> Option<Permit> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.window.permits(bytes)).ok()
    }

    /// A permit for a body of so many bytes, as soon as there is one; `None` when the lane is closed.
    pub(super) async fn permit(&self, bytes: usize) -> Option<Permit> {
        Arc::clone(&self.permits).acquire_many_owned(self.window.permits(bytes)).await.ok()
    }

    /// Publishes, and waits for RabbitMQ's answer to the caller's deadline. Cancel safe: a publish that was handed in is
    /// finished.
    pub(super) async fn publish(
        &self,
        publish: &Publish,
        destination: KnownDestination,
        permit: Permit,
    ) -> WriteResult {
        let (caller, ended) = oneshot::channel();
        let (since, publishes) = (Instant::now(), self.channel.publishes());
        let expiration = publish.expires.then(|| left(publish.deadline, since));
        let Publish { message, destination: to, deadline, .. } = publish;
        let encoded = match publish_frames(publishes.frame_target(), message, to, expiration) {
            Ok(encoded) => encoded,
            Err(too_large) => return WriteResult::NotWritten(NotWritten::HeaderTooLarge(too_large)),
        };
        let (id, is_alone) = (message.id.clone(), self.is_isolated);
        let pending = Pending { id, destination, since, deadline: *deadline, is_alone, permit, caller };
        if let Err(not_written) = publishes.hand_in(pending, encoded) {
            if not_written == NotWritten::Closed {
                // The task of the lane is about to notice; until then no caller may try again here.
                self.permits.close();
            }
            return WriteResult::NotWritten(not_written);
        }
        match timeout_at(publish.deadline, ended).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => WriteResult::Written(Err(Error::gone())),
            Err(_) => WriteResult::Written(Err(Error::Unknown(Cause::Silence))),
        }
    }

    /// Takes no more publishes, so that its slot opens a lane on a fresh channel. Those in flight wait for their
    /// answers.
    pub(super) fn retire(&self) {
        self.retired.cancel();
    }

    /// Ends when the lane takes no more publishes.
    pub(super) async fn until_closed(&self) {
        tokio::select! {
            () = self.retired.cancelled() => {}
            () = self.channel.publishes().until_ended() => {}
            _why = self.channel.connection().retired() => {}
        }
        self.permits.close();
        self.channel.publishes().take_no_more();
    }
}

/// Milliseconds to the deadline, at least 1.
fn left(deadline: Instant, now: Instant) -> u64 {
    let left = deadline.saturating_duration_since(now).as_millis().max(1);
    u64::try_from(left).unwrap_or(u64::MAX)
}

/// Keeps a channel that takes no more publishes until each one on it has its answer, or its connection is gone. Once the
/// connection is to be closed too, it is kept at most to the last deadline, or to the end of an alarm.
pub(super) async fn drain(channel: Arc<ConfirmChannel>, closing: CancellationToken) {
    let (publishes, connection) = (channel.publishes(), channel.connection());
    let last_deadline = async {
        tokio::select! {
            _why = connection.retired() => {}
            () = closing.cancelled() => {}
        }
        if let Some(deadline) = publishes.last_deadline() {
            sleep_until(deadline).await;
        }
        // RabbitMQ answers when the alarm is over.
        if !closing.is_cancelled() {
            connection.until_unblocked().await;
        }
    };
    tokio::select! {
        () = publishes.until_empty() => {}
        () = publishes.until_ended() => {}
        () = last_deadline => {}
    }
    channel.until_noticed().await;
}
