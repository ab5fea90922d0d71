//! The writing side of a connection.
//!
//! It takes all bytes that lapin and the owners handed in. It yields once, so that callers who are about to publish join
//! the same write. Then it writes and flushes.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;

use super::batch::Batch;
use super::connection_state::ConnectionState;
use super::lapin_stream::{LapinFrames, split};
use super::owner::Step;

/// Writes the frames of lapin and of the owners.
pub(super) struct Outbound<W> {
    to: W,
    state: Arc<ConnectionState>,
    lapin: Arc<LapinFrames>,
    batch: Batch,
    /// Channels with a message that is written in part, and the frames of lapin that wait for the end of that message.
    inside: HashMap<u16, Vec<u8>>,
}

impl<W: AsyncWrite + Unpin> Outbound<W> {
    pub(super) fn new(to: W, state: Arc<ConnectionState>, lapin: Arc<LapinFrames>) -> Self {
        Self { to, state, lapin, batch: Batch::default(), inside: HashMap::new() }
    }

    /// Writes until lapin has closed its end and all its bytes are written.
    ///
    /// # Errors
    /// The error of the socket.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            self.state.work.notified().await;
            yield_now().await;
            loop {
                self.gather();
                if self.batch.is_empty() {
                    break;
                }
                self.send().await?;
            }
            self.to.flush().await?;
            if self.lapin.is_finished() {
                return Ok(());
            }
        }
    }

    fn gather(&mut self) {
        self.take_lapin_frames();
        while !self.batch.is_full()
            && !self.state.is_blocked()
            && let Some((channel, owner)) = self.state.next_ready()
        {
            let step = owner.write(&mut self.batch);
            self.note_step(channel, step);
            if step != Step::Done {
                self.state.push_ready(channel, owner);
            }
        }
    }

    /// Takes lapin's frames. A frame waits if a message on its channel is written in part.
    fn take_lapin_frames(&mut self) {
        let frames = self.lapin.take();
        if self.inside.is_empty() {
            // The first bytes are the protocol header, which is not a frame; no channel is open then.
            self.batch.append(&frames);
            return;
        }
        for (channel, frame) in split(&frames) {
            match self.inside.get_mut(&channel) {
                Some(held) => held.extend_from_slice(frame),
                None => self.batch.append(frame),
            }
        }
    }

    /// Begins to hold back lapin's frames of a channel that is inside a message, and releases them after the message.
    fn note_step(&mut self, channel: u16, step: Step) {
        if step == Step::Inside {
            self.inside.entry(channel).or_default();
        } else if let Some(held) = self.inside.remove(&channel) {
            self.batch.append(&held);
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        self.to.write_all(&self.batch.copied).await?;
        let piece = self.batch.piece.take();
        if let Some(piece) = &piece {
            self.to.write_all(piece).await?;
        }
        self.batch.advance(piece.is_some());
        Ok(())
    }
}
