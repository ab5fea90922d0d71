//! The body of an answer whose content must not be lost on its way.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// A body of one frame, with a guard. The body passes the guard to a function when the connection takes the frame. When the
/// connection ends before that, it drops the guard.
///
/// The frame may be empty. The body does not tell the connection so: a connection does not ask for the frame of a body without bytes.
#[derive(Debug)]
pub(super) struct TakenBody<G> {
    content: Option<(Bytes, G)>,
    taken: fn(G),
}

impl<G> TakenBody<G> {
    /// A body of these bytes.
    pub(super) fn new(bytes: Bytes, guard: G, taken: fn(G)) -> Self {
        Self { content: Some((bytes, guard)), taken }
    }
}

impl<G: Unpin> HttpBody for TakenBody<G> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((bytes, guard)) = self.content.take() else { return Poll::Ready(None) };
        (self.taken)(guard);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Some((bytes, _)) if bytes.is_empty() => SizeHint::default(),
            Some((bytes, _)) => SizeHint::with_exact(bytes.len() as u64),
            None => SizeHint::with_exact(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::BodyExt;

    use super::*;

    /// Counts the drops without a call of [`Self::taken`].
    struct Messages(Option<Arc<AtomicUsize>>);

    impl Messages {
        fn taken(mut self) {
            self.0 = None;
        }
    }

    impl Drop for Messages {
        fn drop(&mut self) {
            if let Some(given_back) = &self.0 {
                given_back.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn body(given_back: &Arc<AtomicUsize>) -> TakenBody<Messages> {
        let messages = Messages(Some(given_back.clone()));
        TakenBody::new(Bytes::from_static(b"content"), messages, Messages::taken)
    }

    #[tokio::test]
    async fn a_frame_that_the_connection_takes_keeps_its_messages() {
        let given_back = Arc::default();
        let mut body = body(&given_back);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(7), false));
        let frame = body.frame().await.expect("a frame").expect("no error");
        assert_eq!(frame.into_data().ok().as_deref(), Some(&b"content"[..]));
        assert!(body.is_end_stream() && body.frame().await.is_none());
        drop(body);
        assert_eq!(given_back.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_connection_asks_for_an_empty_frame_too() {
        let given_back = Arc::<AtomicUsize>::default();
        let messages = Messages(Some(given_back.clone()));
        let mut body = TakenBody::new(Bytes::new(), messages, Messages::taken);
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (None, false));
        body.frame().await.expect("a frame").expect("no error");
        drop(body);
        assert_eq!(given_back.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_messages_of_a_body_that_no_connection_takes_go_back() {
        let given_back = Arc::default();
        drop(body(&given_back));
        assert_eq!(given_back.load(Ordering::Relaxed), 1);
    }
}
