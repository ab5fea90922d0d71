//! Reads rarely enough that replies come together while many wait for one.
//!
//! lapin reads as soon as something has come, which is about one reply each time. Every read changes
//! threads twice, and what follows comes singly too: answers, the next requests, their publishes. Where
//! many wait, a rest of lapin's thread before it reads costs each of them less than that: measured with 64
//! callers, a call took a third less of the gateway's CPU and an eighth less time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{AsyncRead, AsyncWrite};

/// How long a rest is at the least; the kernel's timers add about as much.
const REST: Duration = Duration::from_micros(200);
/// With fewer waiting callers there is none.
const MANY: usize = 32;
/// Bytes of a read after which there is none: replies come together already.
const PLENTY: usize = 64 * 1024;

/// How many wait for what one connection reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<AtomicUsize>);

impl Crowd {
    /// So many wait now.
    pub(super) fn set(&self, waiting: usize) {
        self.0.store(waiting, Ordering::Relaxed);
    }

    fn is_large(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MANY
    }
}

/// A stream that rests between reads while there is a crowd. To be read by a thread of its own only, as
/// lapin does.
pub(super) struct Paced<S> {
    stream: S,
    crowd: Crowd,
    rested: Instant,
    /// The last read brought [`PLENTY`].
    had_plenty: bool,
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, crowd: Crowd) -> Self {
        Self { stream, crowd, rested: Instant::now(), had_plenty: false }
    }

    #[expect(clippy::disallowed_methods, reason = "the thread is lapin's, for this connection alone")]
    fn rest(&mut self) {
        if self.crowd.is_large() && !self.had_plenty && self.rested.elapsed() > REST {
            thread::sleep(REST);
            self.rested = Instant::now();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.rest();
        let count = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.had_plenty = count >= PLENTY;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
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

#[cfg(test)]
mod tests {
    use futures_util::AsyncReadExt;
    use futures_util::io::Cursor;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the thread is lapin's, here a test's")]
    async fn rest_in_two_reads(waiting: usize, bytes: usize) -> Duration {
        let crowd = Crowd::default();
        crowd.set(waiting);
        let mut paced = Paced::new(Cursor::new(vec![0; 2 * bytes]), crowd);
        let mut read = vec![0; bytes];
        paced.read_exact(&mut read).await.expect("there are bytes");
        let rested = paced.rested;
        // Another rest is due when as long has passed.
        thread::sleep(REST);
        paced.read_exact(&mut read).await.expect("there are bytes");
        paced.rested - rested
    }

    #[tokio::test]
    async fn with_many_waiting_it_rests_before_it_reads() {
        assert!(rest_in_two_reads(MANY, PLENTY - 1).await >= 2 * REST);
    }

    #[tokio::test]
    async fn with_few_waiting_it_never_rests() {
        assert_eq!(rest_in_two_reads(MANY - 1, 1).await, Duration::ZERO);
    }

    #[tokio::test]
    async fn large_replies_are_not_held_up() {
        assert_eq!(rest_in_two_reads(MANY, PLENTY).await, Duration::ZERO);
    }
}
