//! The frames that lapin writes. They are split into whole frames and kept until the writer takes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;

use super::connection_state::ConnectionState;
use super::frame::{CONNECTION_TUNE_OK, Head, method_of};

/// Bytes that the in-memory stream to lapin holds in each direction.
pub(super) const LAPIN_STREAM: usize = 256 * 1024;
/// Number of bytes that are kept for the writer before lapin has to wait.
const LIMIT: usize = 256 * 1024;
/// Length of the protocol header, which is lapin's first bytes.
const PROTOCOL_HEADER: usize = 8;

/// lapin's frames on their way to the writer.
#[derive(Debug, Default)]
pub(super) struct LapinFrames {
    frames: Mutex<Vec<u8>>,
    /// Notified when the writer has taken the frames.
    room: Notify,
    /// Set after lapin's last frames are in `frames`.
    has_ended: AtomicBool,
}

impl LapinFrames {
    /// Reads lapin's end of the stream until lapin closes it.
    pub(super) async fn read(&self, mut from: impl AsyncRead + Unpin, state: &ConnectionState) {
        let (mut bytes, mut is_greeted) = (Vec::with_capacity(1024), false);
        while let Ok(1..) = from.read_buf(&mut bytes).await {
            let whole = whole_frames(&bytes, &mut is_greeted, state);
            if whole > 0 {
                self.lock().extend(bytes.drain(..whole));
                state.work.notify_one();
            }
            while self.lock().len() > LIMIT {
                self.room.notified().await;
            }
        }
        self.has_ended.store(true, Ordering::Release);
        state.work.notify_one();
    }

    /// Takes the whole frames that are to be written, in order.
    pub(super) fn take(&self) -> Vec<u8> {
        let frames = std::mem::take(&mut *self.lock());
        if !frames.is_empty() {
            self.room.notify_one();
        }
        frames
    }

    /// Whether lapin has closed its end, and the writer has taken all its bytes.
    pub(super) fn is_finished(&self) -> bool {
        self.has_ended.load(Ordering::Acquire) && self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number of bytes of whole frames at the beginning. The protocol header counts as a frame.
fn whole_frames(bytes: &[u8], is_greeted: &mut bool, state: &ConnectionState) -> usize {
    let mut at = 0;
    if !*is_greeted {
        if bytes.len() < PROTOCOL_HEADER {
            return 0;
        }
        (at, *is_greeted) = (PROTOCOL_HEADER, true);
    }
    while let Some(head) = Head::read(&bytes[at..])
        && let Some(frame) = bytes[at..].get(..head.frame_len())
    {
        note_tuning(head, frame, state);
        at += frame.len();
    }
    at
}

/// Reads the frame size that lapin and RabbitMQ agreed from `tune-ok`: `channel_max`, `frame_max`, `heartbeat`.
fn note_tuning(head: Head, frame: &[u8], state: &ConnectionState) {
    if head.channel == 0
        && method_of(frame) == Some(CONNECTION_TUNE_OK)
        && let Some(frame_max) = frame.get(13..17).and_then(|bytes| bytes.try_into().ok())
    {
        state.set_frame_max(u32::from_be_bytes(frame_max) as usize);
    }
}

/// Splits the bytes into whole frames, with the channel of each.
pub(super) fn split(mut frames: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = Head::read(frames)?;
        let (frame, rest) = frames.split_at_checked(head.frame_len())?;
        frames = rest;
        Some((head.channel, frame))
    })
}
