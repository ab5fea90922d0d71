//! The reading side of a connection.
//!
//! It splits the bytes into frames and gives each frame to the channel's owner or to lapin. It keeps the bytes that lapin
//! has not taken up to a limit, and goes on reading meanwhile. Beyond the limit it stops reading.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::connection_state::ConnectionState;
use super::frame::{
    BASIC, BODY, CHANNEL_CLOSE, CHANNEL_CLOSE_OK, CONNECTION_BLOCKED, CONNECTION_CLOSE, CONNECTION_START,
    CONNECTION_UNBLOCKED, END_MARK, HEAD, HEADER, HEARTBEAT, Head, METHOD, Malformed, TLS_ALERT, TX,
    method_of, payload_mut,
};
use super::greeting::server_of;
use super::lapin_stream::LAPIN_STREAM;
use super::owner::{Close, End, Owner};
use crate::broker::lapin_compat::sanitise;

/// Number of bytes for one read.
const READ: usize = 32 * 1024;
/// Length of a refusal that replaces the first frame: `AMQP` and the version that the server speaks.
const VERSION_REFUSAL: usize = 8;
/// After this time without a frame for lapin, the router gives lapin a heartbeat: RabbitMQ sends none while it sends
/// other frames.
const QUIET: Duration = Duration::from_secs(1);
/// How long lapin may take to read the last frames after the end of the socket.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Reads the frames of RabbitMQ.
pub(super) struct Inbound<R, L> {
    from: R,
    lapin: L,
    state: Arc<ConnectionState>,
    bytes: BytesMut,
    for_lapin: BytesMut,
    is_greeted: bool,
    /// When lapin got its last frame.
    handed: Instant,
}

impl<R: AsyncRead + Unpin, L: AsyncWrite + Unpin> Inbound<R, L> {
    pub(super) fn new(from: R, lapin: L, state: Arc<ConnectionState>) -> Self {
        let (bytes, for_lapin) = (BytesMut::new(), BytesMut::new());
        Self { from, lapin, state, bytes, for_lapin, is_greeted: false, handed: Instant::now() }
    }

    /// Reads until the socket ends or sends malformed bytes, and returns the reason for the end.
    pub(super) async fn run(mut self) -> String {
        let end = loop {
            self.bytes.reserve(READ);
            tokio::select! {
                biased;
                count = self.from.read_buf(&mut self.bytes), if self.for_lapin.len() < LAPIN_STREAM => match count {
                    Ok(0) => break "RabbitMQ closed the socket".to_owned(),
                    Ok(_) => {
                        if let Err(error) = self.take_frames() {
                            return error.to_string();
                        }
                        self.keep_lapin_alive();
                    }
                    Err(error) => break error.to_string(),
                },
                written = self.lapin.write(&self.for_lapin), if !self.for_lapin.is_empty() => match written {
                    Ok(count) => self.for_lapin.advance(count),
                    // lapin has closed its end, and `LapinFrames::read` then ends the connection.
                    Err(_) => self.for_lapin.clear(),
                },
            }
        };
        // lapin may have closed its end already.
        let _gone = timeout(LAST_WORDS, self.lapin.write_all(&self.for_lapin)).await;
        end
    }

    fn take_frames(&mut self) -> Result<(), Malformed> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut at = 0;
        let taken = loop {
            match self.frame_len(&bytes[at..]) {
                Ok(None) => break Ok(()),
                Ok(Some(len)) => {
                    if let Err(error) = self.take_frame(&mut bytes[at..at + len]) {
                        break Err(error);
                    }
                    at += len;
                }
                Err(error) => break Err(error),
            }
        };
        bytes.advance(at);
        self.bytes = bytes;
        taken
    }

    /// The length of the first frame; `None` while it has not arrived whole.
    fn frame_len(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let Some(head) = Head::read(bytes) else { return Ok(None) };
        if !self.is_greeted {
            match head.kind {
                METHOD | HEADER | BODY => {}
                TLS_ALERT => return Err(Malformed::Tls),
                _ if bytes.starts_with(b"AMQP") => {
                    return Ok((bytes.len() >= VERSION_REFUSAL).then_some(VERSION_REFUSAL));
                }
                _ => return Err(Malformed::NotAmqp),
            }
        }
        let (size, limit) = (head.frame_len(), self.state.frame_max());
        if size > limit {
            return Err(Malformed::TooLarge { size, limit });
        }
        Ok((bytes.len() >= size).then_some(size))
    }

    fn take_frame(&mut self, frame: &mut [u8]) -> Result<(), Malformed> {
        let is_refusal = !self.is_greeted && frame.starts_with(b"AMQP");
        self.is_greeted = true;
        let Some(head) = Head::read(frame).filter(|_| !is_refusal) else {
            self.hand_to_lapin(frame);
            return Ok(());
        };
        if frame.last() != Some(&END_MARK) {
            return Err(Malformed::Frame("it has no end mark"));
        }
        match head.kind {
            METHOD => self.take_method(head.channel, frame),
            HEADER => {
                let payload = payload_mut(frame);
                sanitise::header(payload).ok_or(Malformed::Frame("its content header cannot be read"))?;
                self.give(head.channel, frame, |owner, frame| owner.header(frame))
            }
            BODY => self.give(head.channel, frame, |owner, frame| owner.body(&frame[HEAD..frame.len() - 1])),
            _ => {
                self.hand_to_lapin(frame);
                Ok(())
            }
        }
    }

    fn take_method(&mut self, channel: u16, frame: &mut [u8]) -> Result<(), Malformed> {
        let method = method_of(frame).ok_or(Malformed::Frame("it has no method"))?;
        match method {
            CONNECTION_START => self.state.note_server(server_of(frame)),
            CHANNEL_CLOSE => self.state.release(channel, &End::ChannelClosed(close(frame)?)),
            CHANNEL_CLOSE_OK => self.state.release(channel, &End::CloseOk),
            CONNECTION_CLOSE => self.state.note_close(close(frame)?),
            CONNECTION_BLOCKED => self.state.set_blocked(Some(short_text(&frame[HEAD + 4..]))),
            CONNECTION_UNBLOCKED => self.state.set_blocked(None),
            [class @ .., _, _] if class == BASIC || class == TX => {
                return self.give(channel, frame, |owner, frame| owner.method(frame));
            }
            _ => {}
        }
        self.hand_to_lapin(frame);
        Ok(())
    }

    /// Gives a frame to the channel's owner, or to lapin if the channel has none.
    fn give(
        &mut self,
        channel: u16,
        frame: &mut [u8],
        to: impl FnOnce(&dyn Owner, &mut [u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Some(owner) = self.state.owner(channel) else {
            self.hand_to_lapin(frame);
            return Ok(());
        };
        to(&*owner, frame)
    }

    fn hand_to_lapin(&mut self, frame: &[u8]) {
        self.for_lapin.extend_from_slice(frame);
        self.handed = Instant::now();
    }

    /// Called when bytes have arrived. While the socket is silent, lapin gets no heartbeat either.
    fn keep_lapin_alive(&mut self) {
        if self.for_lapin.is_empty() && self.handed.elapsed() >= QUIET {
            self.hand_to_lapin(&HEARTBEAT);
        }
    }
}

/// Reads the reply code and text of a close, and makes the text readable for lapin.
fn close(frame: &mut [u8]) -> Result<Close, Malformed> {
    let payload = payload_mut(frame);
    sanitise::close(payload).ok_or(Malformed::Frame("its close cannot be read"))?;
    let code = payload.get(4..6).and_then(|code| code.try_into().ok()).map(u16::from_be_bytes);
    Ok(Close { code: code.unwrap_or_default(), text: short_text(payload.get(6..).unwrap_or_default()) })
}

/// Reads a short string: its length in one byte, then its bytes.
fn short_text(bytes: &[u8]) -> String {
    let text = bytes.split_first().and_then(|(len, rest)| rest.get(..usize::from(*len)));
    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
}
