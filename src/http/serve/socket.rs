//! The TCP stream of one connection, as hyper sees it: it reports what moves to the connection's [`Activity`].
//!
//! Times nothing itself.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::header::{Header, is_complete};

/// Bytes of a header that are read at a time.
const PIECE: usize = 2048;

/// A stream whose traffic is reported.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    activity: Arc<Activity>,
    header: Header,
    ended: bool,
}

impl Socket {
    /// Reports `stream`'s traffic to `activity`.
    pub fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, header: Header::default(), ended: false }
    }

    /// Reads, reports it and says how many bytes there were.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        if read > 0 {
            self.activity.received();
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
        while !this.header.is_due() {
            if this.header.is_http2() || !this.activity.expects_header() {
                return this.poll_stream(cx, buf).map_ok(drop);
            }
            // Not into `buf`: hyper lends 24 bytes to begin with, and allocates for what it has been given.
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            match ready!(this.poll_stream(cx, &mut piece))? {
                0 if this.header.is_empty() => return Poll::Ready(Ok(())),
                0 => this.header.release(),
                _ if this.header.is_empty() && buf.remaining() >= PIECE && is_complete(piece.filled()) => {
                    buf.put_slice(piece.filled());
                    return Poll::Ready(Ok(()));
                }
                _ => this.header.push(piece.filled()),
            }
        }
        this.header.hand_on(buf);
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

    /// Ends our side, then swallows what a client still sends that was answered before it had sent all.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.ended = true;
            if !self.activity.linger() {
                return Poll::Ready(Ok(()));
            }
        }
        let mut swallowed = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut swallowed);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
