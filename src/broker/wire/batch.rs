//! The bytes that go to the socket with the next write.

use bytes::Bytes;

use super::frame::END_MARK;

/// Size of one batch in bytes. A small message that begins within it is added whole.
const BATCH: usize = 64 * 1024;

/// Frames that are copied, and at most one piece of a large body that is not copied.
#[derive(Debug, Default)]
pub(in crate::broker) struct Batch {
    pub(super) copied: Vec<u8>,
    pub(super) piece: Option<Bytes>,
    /// Frames that follow the piece and its end mark.
    after_piece: Vec<u8>,
}

impl Batch {
    /// The buffer to which frames are appended.
    pub(in crate::broker) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Puts a piece of a large body after the bytes in the buffer. The batch is full then.
    pub(in crate::broker) fn set_piece(&mut self, piece: Bytes) {
        self.piece = Some(piece);
    }

    /// Whether the batch must be written before more is added.
    pub(in crate::broker) fn is_full(&self) -> bool {
        self.piece.is_some() || self.copied.len() >= BATCH
    }

    /// Number of bytes in the buffer.
    pub(in crate::broker) fn len(&self) -> usize {
        self.copied.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.copied.is_empty() && self.piece.is_none()
    }

    /// Appends whole frames at the end of the batch.
    pub(super) fn append(&mut self, frames: &[u8]) {
        let end = if self.piece.is_some() { &mut self.after_piece } else { &mut self.copied };
        end.extend_from_slice(frames);
    }

    /// Begins the next batch after the copied bytes and the piece are written.
    pub(super) fn advance(&mut self, had_piece: bool) {
        self.copied.clear();
        if had_piece {
            self.copied.push(END_MARK);
            self.copied.append(&mut self.after_piece);
        }
    }
}
