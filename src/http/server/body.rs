//! Wraps the bodies of one connection's requests and answers. The wrappers report to the connection's [`Activity`].
//!
//! An answer is in flight until hyper drops its body, which owns the [`RequestInFlight`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};

use super::activity::Activity;

/// One request, from its header to the last byte of its answer.
#[derive(Debug)]
pub struct RequestInFlight {
    activity: Arc<Activity>,
    http2: bool,
    /// Its number on the connection.
    number: u64,
    offered: bool,
}

impl RequestInFlight {
    /// Begins a request, and returns its number on the connection.
    pub fn new(activity: Arc<Activity>, http2: bool) -> (Self, u64) {
        let number = activity.begin(http2);
        (Self { activity, http2, number, offered: false }, number)
    }

    /// Reports whether the answer waits for the client. On HTTP/1 hyper takes the bytes at once, and the socket reports whether
    /// the client takes them.
    fn offer(&mut self, offered: bool) {
        if !self.http2 {
            return;
        }
        self.activity.offer(self.number, offered);
        self.offered = offered;
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        if self.offered {
            self.offer(false);
        }
        self.activity.end();
    }
}

/// The body of a request. It ends with an error when its chunks are too large.
#[derive(Debug)]
pub struct RequestBody {
    inner: Incoming,
    activity: Arc<Activity>,
    number: u64,
    /// On HTTP/2, whether it is complete. When a client resets a stream without an error code, hyper ends its body as if it were
    /// complete.
    is_whole: bool,
    /// Bytes that have not arrived, if the header gives the length.
    left: Option<u64>,
}

/// The error of a body that announces a chunk larger than the limit. The server does not wait for the bytes of the chunk.
#[derive(Debug, thiserror::Error)]
#[error("a chunk is larger than a body may be")]
pub struct ChunkTooLarge;

/// The error of a body whose client has reset the stream.
#[derive(Debug, thiserror::Error)]
#[error("the client reset the stream before the end of the body")]
struct CutShort;

impl RequestBody {
    /// The body of the request with this number on its connection.
    pub fn new(inner: Incoming, activity: Arc<Activity>, number: u64, http2: bool) -> Self {
        let left = inner.size_hint().exact();
        Self { is_whole: !http2 || inner.is_end_stream(), inner, activity, number, left }
    }

    fn note(&mut self, frame: &Frame<Bytes>) {
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        self.is_whole |= self.left == Some(0) || self.inner.is_end_stream();
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(None) if !(self.is_whole || self.inner.is_end_stream()) => {
                Poll::Ready(Some(Err(axum::Error::new(CutShort))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.note(&frame);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(frame) => Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new))),
            Poll::Pending if self.activity.has_large_chunk(self.number, cx.waker()) => {
                Poll::Ready(Some(Err(axum::Error::new(ChunkTooLarge))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer. It reports whether its next bytes are ready and wait for the client.
#[derive(Debug)]
pub struct AnswerBody {
    inner: Body,
    in_flight: RequestInFlight,
}

impl AnswerBody {
    /// Offers `inner` to the client.
    pub fn new(inner: Body, mut in_flight: RequestInFlight) -> Self {
        in_flight.offer(true);
        Self { inner, in_flight }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        self.in_flight.offer(frame.is_ready());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
