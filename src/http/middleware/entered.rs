//! A handler at work.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::Admission;

/// A handler at work, with the request's place among those in flight. It is in a box, so that what is around it stays
/// small.
pub struct Entered {
    handler: Option<BoxFuture<'static, Response>>,
    admission: Option<Admission>,
    outlives: bool,
}

impl Entered {
    /// Work that has begun, even before it is polled. Where it outlives its caller, a task goes on with it when it is
    /// dropped before its end; until then it costs no task.
    pub fn new(handler: BoxFuture<'static, Response>, admission: Option<Admission>, outlives: bool) -> Self {
        Self { handler: Some(handler), admission, outlives }
    }
}

impl Future for Entered {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        // Out of here while it is polled: one that panics is not gone on with.
        let Some(mut handler) = self.handler.take() else { return Poll::Pending };
        let answer = handler.poll_unpin(cx);
        if answer.is_pending() {
            self.handler = Some(handler);
        }
        answer
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let Some(handler) = self.handler.take().filter(|_| self.outlives) else { return };
        // Without a runtime the process ends.
        if let Ok(runtime) = Handle::try_current() {
            let admission = self.admission.take();
            runtime.spawn(async move {
                handler.await;
                drop(admission);
            });
        }
    }
}
