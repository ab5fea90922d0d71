//! Reads along with lapin, and keeps which messages the broker returned.
//!
//! lapin hands a returned message to whichever confirm resolves next, which is somebody else's as
//! soon as several publishes are in flight on a channel. The broker sends a return before the
//! message's own ack, and its bytes pass here before lapin sees either: so whoever asks
//! [`Returns::take`] after a confirm learns the truth about that very message.
//!
//! What lapin could not read is mended on the way.

mod mend;

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::{AMQPClass, basic};
use futures_util::{AsyncRead, AsyncWrite};

use super::pace::{Crowd, Pace};

/// Type, channel and size of a frame.
const HEAD: usize = 7;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// Class and method of `basic.return`.
const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];

/// The messages that were returned on one connection, until they are asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Returns(Arc<Mutex<ByChannel>>);

/// By channel and message id: the broker's words.
type ByChannel = HashMap<u16, HashMap<String, String>>;

impl Returns {
    /// Whether this message was returned on this channel, and why; forgets it.
    pub(super) fn take(&self, channel: u16, message_id: &str) -> Option<String> {
        self.lock().get_mut(&channel)?.remove(message_id)
    }

    fn note(&self, channel: u16, message_id: &str, reason: String) {
        self.lock().entry(channel).or_default().insert(message_id.to_owned(), reason);
    }

    fn lock(&self) -> MutexGuard<'_, ByChannel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose frames are looked at while they are read.
pub(super) struct Tap<S> {
    stream: S,
    pace: Pace,
    watch: Watch,
    /// Looked at, and to be read from `read` on.
    seen: Vec<u8>,
    read: usize,
}

impl<S> Tap<S> {
    pub(super) fn new(stream: S, returns: Returns, crowd: Crowd) -> Self {
        Self { stream, pace: Pace::new(crowd), watch: Watch::new(returns), seen: Vec::new(), read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { stream, pace, watch, seen, read } = self.get_mut();
        while *read == seen.len() {
            seen.clear();
            *read = 0;
            let count = ready!(pace.read(|| Pin::new(&mut *stream).poll_read(cx, buffer)))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            watch.read(&buffer[..count], seen)?;
        }
        let count = buffer.len().min(seen.len() - *read);
        buffer[..count].copy_from_slice(&seen[*read..*read + count]);
        *read += count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Cuts what is read into frames, in whatever pieces it comes, and looks at the few that matter.
struct Watch {
    returns: Returns,
    /// The start of a frame, as far as it is here.
    frame: Vec<u8>,
    /// Bytes to come of a frame that nobody looks at.
    skip: usize,
    /// By channel: a return whose content header, with the message's id, is to come.
    returning: HashMap<u16, String>,
}

impl Watch {
    fn new(returns: Returns) -> Self {
        Self { returns, frame: Vec::new(), skip: 0, returning: HashMap::new() }
    }

    /// Hands on to `seen` what has been looked at.
    ///
    /// # Errors
    /// A return that cannot be told whose it is, or a frame that is malformed: the connection cannot be
    /// trusted any more.
    fn read(&mut self, mut bytes: &[u8], seen: &mut Vec<u8>) -> io::Result<()> {
        while !bytes.is_empty() {
            let wanted = if self.skip > 0 { self.skip } else { self.length() - self.frame.len() };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            bytes = rest;
            if self.skip > 0 {
                self.skip -= taken.len();
                seen.extend_from_slice(taken);
                continue;
            }
            self.frame.extend_from_slice(taken);
            if taken.len() == wanted && self.advance()? {
                seen.append(&mut self.frame);
            }
        }
        Ok(())
    }

    /// Bytes wanted before the next step: the head, then all of the frame.
    fn length(&self) -> usize {
        if self.frame.len() < HEAD { HEAD } else { HEAD + self.rest() }
    }

    /// Bytes after the head, the end mark included.
    fn rest(&self) -> usize {
        let size: [u8; 4] = self.frame[3..HEAD].try_into().unwrap_or_default();
        u32::from_be_bytes(size) as usize + 1
    }

    fn channel(&self) -> u16 {
        u16::from_be_bytes([self.frame[1], self.frame[2]])
    }

    /// A head is here, or a frame that matters; true when it may be handed on.
    fn advance(&mut self) -> io::Result<bool> {
        let is_whole = self.frame.len() > HEAD;
        let matters = matches!(self.frame[0], METHOD | HEADER);
        if matters && !is_whole {
            return Ok(false);
        }
        if is_whole {
            self.mend().ok_or_else(malformed)?;
            self.look()?;
        } else {
            self.skip = self.rest();
        }
        Ok(true)
    }

    fn mend(&mut self) -> Option<()> {
        let is_header = self.frame[0] == HEADER;
        let end = self.frame.len() - 1;
        let payload = &mut self.frame[HEAD..end];
        if is_header { mend::header(payload) } else { mend::method(payload) }
    }

    fn look(&mut self) -> io::Result<()> {
        let matters = match self.frame[0] {
            METHOD => self.frame.get(HEAD..HEAD + 4) == Some(&BASIC_RETURN),
            _ => self.returning.contains_key(&self.channel()),
        };
        if !matters {
            return Ok(());
        }
        match parse_frame(self.frame.as_slice()) {
            Ok((_, AMQPFrame::Method(channel, AMQPClass::Basic(basic::AMQPMethod::Return(returned))))) => {
                self.returning.insert(channel, returned.reply_text.to_string());
                Ok(())
            }
            Ok((_, AMQPFrame::Header(channel, header))) => {
                let reason = self.returning.remove(&channel).unwrap_or_default();
                let id = header.properties.message_id().as_ref().ok_or_else(not_ours)?;
                self.returns.note(channel, id.as_str(), reason);
                Ok(())
            }
            _ => Err(not_ours()),
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the broker sent a malformed frame")
}

fn not_ours() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the broker returned a message that is not known here")
}

#[cfg(test)]
mod tests;
