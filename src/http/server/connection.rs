//! Serves one connection: runs hyper on a [`Socket`], closes the connection when its [`Activity`] expires, and ends it at
//! shutdown.
//!
//! Owns hyper's settings, which bound the memory of a connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, StatusCode, Version};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::activity::Activity;
use super::application::Application;
use super::body::{AnswerBody, RequestBody, RequestInFlight};
use super::limits::ConnectionLimits;
use super::socket::Socket;
use crate::lifecycle::Lifecycle;

/// hyper's read buffer, which also bounds an HTTP/1 header. hyper answers a larger header with 431 by itself.
const MAX_BUFFER: usize = 64 * 1024;
/// A message may have 100 AMQP headers in addition to its properties. hyper's default is 100 header fields in all.
const MAX_HEADERS: usize = 192;
const HTTP2_STREAMS: u32 = 128;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;

/// Time for a request to arrive that a client has sent before draining begins.
const GRACE: Duration = Duration::from_millis(250);
/// Time for the last answers when the process aborts.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The state that all connections share.
#[derive(Debug)]
pub struct Server<A> {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    pub(super) application: A,
    limits: ConnectionLimits,
    lifecycle: Lifecycle,
}

impl<A> Server<A> {
    /// The state of the connections that [`run`] serves.
    pub fn new(application: A, limits: ConnectionLimits, lifecycle: Lifecycle) -> Self {
        // hyper's own deadline is off: it begins with each request, and not with the connection.
        let mut http1 = http1::Builder::new();
        http1.header_read_timeout(None).max_buf_size(MAX_BUFFER).max_headers(MAX_HEADERS);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .max_concurrent_streams(HTTP2_STREAMS)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(MAX_BUFFER).unwrap_or(u32::MAX))
            .max_send_buf_size(MAX_BUFFER);
        Self { http1, http2, application, limits, lifecycle }
    }
}

impl<A: Application> Server<A> {
    /// Answers a request. It counts as in flight from this call until the answer's body is dropped.
    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        activity: &Arc<Activity>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + use<A> {
        let http2 = request.version() > Version::HTTP_11;
        let (in_flight, number) = RequestInFlight::new(activity.clone(), http2);
        let request = request.map(|body| Body::new(RequestBody::new(body, activity.clone(), number, http2)));
        let lifecycle = self.lifecycle.clone();
        // The request begins here and not at the first poll: hyper drops the future when its client has closed.
        let answering = self.application.answer(request, peer);
        if answering.finishes_without_client {
            activity.finishes_without_client();
        }
        if answering.has_endless_body {
            activity.expects_endless_body(number);
        }
        answering.response.map(move |mut response| {
            if !http2 && (lifecycle.is_closing() || leaves_a_body_unread(response.status())) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| AnswerBody::new(body, in_flight)))
        })
    }
}

/// Serves one connection to its end.
pub async fn run<A: Application>(server: &Server<A>, stream: TcpStream, peer: SocketAddr) {
    // Without TCP_NODELAY, small answers wait for the acknowledgement of earlier ones. The call fails on a dead socket only.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new(server.limits.clone()));
    let mut socket = Socket::new(stream, activity.clone(), server.limits.max_body_bytes);
    loop {
        let http2 = tokio::select! {
            biased;
            header = socket.next_header() => header,
            () = activity.expired() => return cut(peer),
            () = drained(&server.lifecycle) => return,
        };
        match http2 {
            Ok(Some(false)) => {}
            Ok(Some(true)) => return serve_http2(server, socket, peer, &activity).await,
            Ok(None) | Err(_) => return,
        }
        match serve_http1(server, socket, peer, &activity).await {
            Some(at_rest) => socket = at_rest,
            None => return,
        }
    }
}

/// Serves until the connection ends. Gives the socket back when the client has been silent for a while, because hyper holds 16 KB
/// for the next request.
async fn serve_http1<A: Application>(
    server: &Server<A>,
    socket: Socket,
    peer: SocketAddr,
    activity: &Arc<Activity>,
) -> Option<Socket> {
    let service = service_fn(|request| server.answer(request, peer, activity));
    let mut connection = server.http1.serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        biased;
        () = serve(server, Pin::new(&mut connection), peer, activity) => return None,
        () = activity.at_rest() => {}
    }
    let parts = connection.into_parts();
    let mut socket = parts.io.into_inner();
    socket.give_back(&parts.read_buf);
    Some(socket)
}

async fn serve_http2<A: Application>(
    server: &Server<A>,
    socket: Socket,
    peer: SocketAddr,
    activity: &Arc<Activity>,
) {
    let service = service_fn(|request| server.answer(request, peer, activity));
    let connection = pin!(server.http2.serve_connection(TokioIo::new(socket), service));
    serve(server, connection, peer, activity).await;
}

/// Serves until the connection ends.
async fn serve<A: Application>(
    server: &Server<A>,
    mut connection: Pin<&mut impl GracefulConnection>,
    peer: SocketAddr,
    activity: &Activity,
) {
    let mut expired = pin!(activity.expired());
    // The connection is polled first, so that the deadline takes its latest reports into account.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = expired.as_mut() => return cut(peer),
        () = drained(&server.lifecycle) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        biased;
        _ = connection => {}
        () = expired => cut(peer),
        () = aborted(&server.lifecycle) => tracing::warn!(%peer, "dropped a connection at the shutdown timeout"),
    }
}

/// Ends shortly after draining begins, when idle connections close: a client that has just connected, or just sent a request,
/// gets its answer. The same task has to poll it each time.
async fn drained(lifecycle: &Lifecycle) {
    let mut draining = pin!(lifecycle.draining());
    let mut is_polled = false;
    poll_fn(|cx| {
        // The start of draining wakes the task, so later polls need not ask.
        if std::mem::replace(&mut is_polled, true) && !lifecycle.is_draining() {
            return Poll::Pending;
        }
        draining.as_mut().poll(cx)
    })
    .await;
    sleep(GRACE).await;
}

/// Ends when the gateway drops the remaining connections.
async fn aborted(lifecycle: &Lifecycle) {
    lifecycle.aborting().await;
    sleep(LAST_ANSWERS).await;
}

fn cut(peer: SocketAddr) {
    tracing::debug!(%peer, "closed a connection at its deadline");
}

/// Whether the gateway does not read the rest of the request after this status, or cannot tell it from the next request.
fn leaves_a_body_unread(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::NOT_IMPLEMENTED
    )
}
