//! A handler while it runs.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::identify::Identified;
use crate::http::admission::RequestPermit;
use crate::http::problem::Problem;
use crate::telemetry::panics::{self, Caught};

/// A running handler, with the permit of its request. The handler is in a box, so that the futures around it stay small.
///
/// Where requests of the route are finished without their caller, dropping this before its end starts a task that finishes the
/// handler. Until then the handler needs no task of its own.
pub struct RunningHandler {
    handler: Option<BoxFuture<'static, Response>>,
    identified: Option<Identified>,
    permit: Option<RequestPermit>,
    finishes_without_caller: bool,
}

impl RunningHandler {
    /// Takes a handler. The request counts as begun, even before the first poll.
    pub fn new(
        handler: BoxFuture<'static, Response>,
        identified: Identified,
        permit: Option<RequestPermit>,
        finishes_without_caller: bool,
    ) -> Self {
        Self { handler: Some(handler), identified: Some(identified), permit, finishes_without_caller }
    }
}

impl Future for RunningHandler {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        // A handler that panics is dropped with this variable, so no task continues it.
        let (Some(mut handler), Some(identified)) = (self.handler.take(), self.identified.take()) else {
            return Poll::Pending;
        };
        let polled = identified.span().in_scope(|| panics::catch(|| handler.poll_unpin(cx)));
        let response = match polled {
            Ok(Poll::Ready(response)) => response,
            Err(panic) => on_panic(&panic),
            Ok(Poll::Pending) => {
                (self.handler, self.identified) = (Some(handler), Some(identified));
                return Poll::Pending;
            }
        };
        Poll::Ready(identified.end(response))
    }
}

impl Drop for RunningHandler {
    fn drop(&mut self) {
        let Some(handler) = self.handler.take().filter(|_| self.finishes_without_caller) else { return };
        let (identified, permit) = (self.identified.take(), self.permit.take());
        // Without a runtime the process is ending, and the handler is dropped.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(Self {
                handler: Some(handler),
                identified,
                permit,
                finishes_without_caller: false,
            });
        }
    }
}

/// The answer to a request whose handler, or a layer in front of it, panicked.
pub fn on_panic(panic: &Caught) -> Response {
    let place = panic.place.as_deref().unwrap_or("an unknown place");
    Problem::internal(format!("a handler panicked: {}, at {place}", panic.message)).into_response()
}
