//! A lane: one confirm channel and a window of messages in flight.
//!
//! The window is bounded by count and by bytes. A message keeps its permit until RabbitMQ's answer, even after the
//! caller's deadline.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Publish;
use crate::broker::channels::{ConfirmChannel, NotWritten, Pending, WindowPermit, WriteResult};
use crate::broker::destination::KnownDestination;
use crate::broker::error::{Cause, Error};
use crate::broker::wire::publish_frames;

/// The maximum distance between the newest publish of a lane and its oldest unanswered one, in windows.
const MAX_WINDOWS_AHEAD: usize = 4;

/// The kind of a lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneKind {
    /// The window: the maximum number of messages in flight on the lane.
    pub(super) messages: u32,
    /// The maximum of the bytes of their bodies. A body that is larger goes alone.
    pub(super) bytes: usize,
    /// Whether the lane carries one message at a time. Such a lane is opened on demand.
    pub(super) is_isolated: bool,
    /// Whether the lane is on the connection of a slow destination, where silence is expected, or on the one for
    /// hazardous messages.
    pub(super) is_for_slow_destination: bool,
}

impl LaneKind {
    /// The number of permits for a body: one, or more if the body is larger than its share of the bytes.
    fn permits(self, bytes: usize) -> u32 {
        let share = (self.bytes / self.messages as usize).max(1);
        u32::try_from(bytes.div_ceil(share)).unwrap_or(u32::MAX).clamp(1, self.messages)
    }
}

/// A lane on one channel. With a fresh channel, a new `Lane` replaces this one.
pub(super) struct Lane {
    channel: Arc<ConfirmChannel>,
    permits: Arc<Semaphore>,
    kind: LaneKind,
    retired: CancellationToken,
}

impl Lane {
    /// A lane on this channel.
    pub(super) fn on(channel: Arc<ConfirmChannel>, kind: LaneKind) -> Self {
        let permits = Arc::new(Semaphore::new(kind.messages as usize));
        Self { channel, permits, kind, retired: CancellationToken::new() }
    }

    /// Its channel.
    pub(super) fn channel(&self) -> &Arc<ConfirmChannel> {
        &self.channel
    }

    /// Whether the lane accepts publishes.
    pub(super) fn is_open(&self) -> bool {
        !self.permits.is_closed()
    }

    /// Whether publishes are in flight on the lane and RabbitMQ answers none of them.
    pub(super) fn is_silent(&self) -> bool {
        self.channel.owner().is_silent()
    }

    /// Whether the newest publish is too far ahead of the oldest unanswered one.
    pub(super) fn is_stretched(&self) -> bool {
        self.channel.owner().span() > MAX_WINDOWS_AHEAD * self.kind.messages as usize
    }

    /// The number of free permits.
    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Whether the lane is less than half full and has room for a body of this size.
    pub(super) fn has_plenty(&self, bytes: usize) -> bool {
        let free = self.free();
        2 * free > self.kind.messages as usize && free >= self.kind.permits(bytes) as usize
    }

    /// Whether a body of this size needs more than one permit.
    pub(super) fn is_large(&self, bytes: usize) -> bool {
        self.kind.permits(bytes) > 1
    }

    /// A permit for a body of this size, if one is free now; several permits in one for a large body.
    pub(super) fn try_permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_many_owned(self.kind.permits(bytes)).ok()
    }

    /// Waits for a permit for a body of this size; `None` when the lane is closed.
    pub(super) async fn permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_many_owned(self.kind.permits(bytes)).await.ok()
    }

    /// Publishes, and waits for RabbitMQ's answer until the caller's deadline. Calls `handed_in` as soon as the channel keeps
    /// the publish. Cancel safe: a publish that was handed in is finished.
    pub(super) async fn publish(
        &self,
        publish: &Publish,
        destination: KnownDestination,
        permit: WindowPermit,
        handed_in: impl FnOnce(),
    ) -> WriteResult {
        let (caller, ended) = oneshot::channel();
        let (since, owner) = (Instant::now(), self.channel.owner());
        let expiration = publish.expires.then(|| left(publish.deadline, since));
        let Publish { message, destination: to, deadline, .. } = publish;
        let encoded = match publish_frames(owner.frame_target(), message, to, expiration) {
            Ok(encoded) => encoded,
            Err(refusal) => return WriteResult::NotWritten(NotWritten::Refused(refusal)),
        };
        let (id, is_isolated) = (message.id.clone(), self.kind.is_isolated);
        let pending = Pending { id, destination, since, deadline: *deadline, is_isolated, permit, caller };
        if let Err(not_written) = owner.hand_in(pending, encoded) {
            if not_written == NotWritten::Closed {
                // The lane's supervisor notices this soon. Until then no caller may try this lane again.
                self.permits.close();
            }
            return WriteResult::NotWritten(not_written);
        }
        handed_in();
        match timeout_at(publish.deadline, ended).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => WriteResult::Written(Err(Error::gone())),
            // The message may still be unwritten. The router can write it at each moment, so its outcome is unknown.
            Err(_) => WriteResult::Written(Err(Error::Unknown(Cause::Silence))),
        }
    }

    /// Accepts no more publishes, so that the supervisor opens a lane on a fresh channel. The publishes in flight wait
    /// for their answers.
    pub(super) fn retire(&self) {
        self.retired.cancel();
    }

    /// Resolves when the lane accepts no more publishes, and closes it.
    pub(super) async fn until_closed(&self) {
        tokio::select! {
            () = self.retired.cancelled() => {}
            () = self.channel.owner().until_ended() => {}
            _why = self.channel.connection().retired() => {}
        }
        self.permits.close();
        self.channel.owner().take_no_more();
    }
}

/// Milliseconds until the deadline, at least 1.
fn left(deadline: Instant, now: Instant) -> u64 {
    let left = deadline.saturating_duration_since(now).as_millis().max(1);
    u64::try_from(left).unwrap_or(u64::MAX)
}

/// Keeps a channel that accepts no more publishes until each one on it has its answer, or its connection is gone. When
/// the connection closes too, the channel is kept at most until the last deadline or the end of an alarm.
pub(super) async fn drain(channel: Arc<ConfirmChannel>, closing: CancellationToken) {
    let (owner, connection) = (channel.owner(), channel.connection());
    let last_deadline = async {
        tokio::select! {
            _why = connection.retired() => {}
            () = closing.cancelled() => {}
        }
        if let Some(deadline) = owner.last_deadline() {
            sleep_until(deadline).await;
        }
        // During an alarm RabbitMQ answers only when the alarm is over.
        if !closing.is_cancelled() {
            connection.until_unblocked().await;
        }
    };
    tokio::select! {
        () = owner.until_empty() => {}
        () = owner.until_ended() => {}
        () = last_deadline => {}
    }
    channel.until_noticed().await;
}
