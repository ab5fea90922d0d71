//! The TCP stream of one connection, which hyper reads and writes. It reports the traffic to the connection's [`Activity`].
//!
//! Has no deadlines itself.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::framing::Framing;
use super::header::Header;

/// Bytes of a header that are read at a time.
const PIECE: usize = 2048;

/// A stream that reports its traffic.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    header: Header,
    framing: Framing,
    /// The number of complete headers before the one that is kept.
    heads: u64,
    ended: bool,
}

impl Socket {
    /// Wraps `stream`. Reports its traffic, and chunks over the limit of a body, to `activity`.
    pub fn new(stream: TcpStream, activity: Arc<Activity>, max_body_bytes: usize) -> Self {
        let (header, framing) = (Header::default(), Framing::new(max_body_bytes));
        Self { stream, activity, header, framing, heads: 0, ended: false }
    }

    /// Takes back bytes that were read and not used.
    pub fn give_back(&mut self, unused: &[u8]) {
        if !unused.is_empty() {
            self.header.push(unused, false);
        }
    }

    /// Waits for a header, and returns whether it is HTTP/2; `None` when the client has left without sending one.
    ///
    /// The header stays in the socket, and the next read returns it.
    pub async fn next_header(&mut self) -> io::Result<Option<bool>> {
        poll_fn(|cx| self.poll_header(cx)).await?;
        Ok(self.header.is_due().then(|| self.header.is_http2()))
    }

    /// Reads until a header is due or the client has ended.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.header.is_due() {
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            if ready!(self.poll_stream(cx, &mut piece))? == 0 {
                self.header.release();
                break;
            }
            let is_complete = self.framing.heads() > self.heads;
            self.header.push(piece.filled(), is_complete);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once. Returns whether a complete header, or the end, has arrived. Keeps the part of an incomplete header.
    fn poll_whole_header(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        let read = ready!(self.poll_stream(cx, buf))?;
        let is_whole = self.framing.heads() > self.heads;
        if read > 0 && !is_whole {
            self.header.push(&buf.filled()[before..], false);
            buf.set_filled(before);
        }
        self.heads = self.framing.heads();
        Poll::Ready(Ok(read == 0 || is_whole))
    }

    /// Reads, reports the bytes, and returns their number.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if read > 0 {
            self.framing.read(&buf.filled()[before..]);
            self.activity.received(self.framing.is_within_body());
            if let Some(message) = self.framing.take_large() {
                self.activity.large_chunk(message);
            }
        }
        Poll::Ready(Ok(read))
    }

    fn report(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(_) => self.activity.wrote(),
            Poll::Pending => self.activity.blocked(),
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.header.is_due() && (this.header.is_http2() || !this.activity.expects_header()) {
            let read = ready!(this.poll_stream(cx, buf))?;
            this.heads = this.framing.heads();
            // hyper reads again when the answer is ready.
            let is_kept = read == 0 && buf.remaining() > 0 && this.activity.keep_end();
            return if is_kept { Poll::Pending } else { Poll::Ready(Ok(())) };
        }
        if this.header.is_empty() && ready!(this.poll_whole_header(cx, buf))? {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_header(cx))?;
        this.header.hand_on(buf);
        this.heads = this.framing.heads();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.report(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.report(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends the gateway's side, then discards the bytes of a client that got its answer before it had sent the whole request.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.ended = true;
            if !self.activity.linger() {
                return Poll::Ready(Ok(()));
            }
        }
        let mut discarded = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut discarded);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
