//! One connection: hyper on a [`Socket`], cut when its [`Activity`] says so, told of the shutdown.
//!
//! Owns hyper's settings, which bound what a connection may hold in memory.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::activity::Activity;
use super::body::{AnswerBody, InFlight, RequestBody};
use super::shutdown::Shutdown;
use super::socket::Socket;
use crate::http::ConnectionLimits;

/// hyper's read buffer, which also bounds an HTTP/1 header; beyond it hyper answers 431 by itself.
const MAX_BUFFER: usize = 64 * 1024;
/// A message may carry 100 AMQP headers beside its properties; hyper's own default is 100 altogether.
const MAX_HEADERS: usize = 192;
const HTTP2_STREAMS: u32 = 128;
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;

/// What all connections share.
#[derive(Debug)]
pub struct Server {
    http: Builder<TokioExecutor>,
    router: Router,
    limits: ConnectionLimits,
    shutdown: Shutdown,
}

impl Server {
    /// Serves `router` on the connections that are given to [`run`].
    pub fn new(router: Router, limits: ConnectionLimits, shutdown: Shutdown) -> Self {
        let mut http = Builder::new(TokioExecutor::new());
        // The deadlines are ours: hyper's begins anew with every request but not with the connection.
        http.http1().header_read_timeout(None).max_buf_size(MAX_BUFFER).max_headers(MAX_HEADERS);
        http.http2()
            .max_concurrent_streams(HTTP2_STREAMS)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(MAX_BUFFER).unwrap_or(u32::MAX))
            .max_send_buf_size(MAX_BUFFER);
        Self { http, router, limits, shutdown }
    }
}

/// Serves one connection to its end.
pub async fn run(server: &Server, stream: TcpStream, peer: SocketAddr) {
    // Without it small answers wait for the acknowledgement of earlier ones. It fails on a dead socket only.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::new(server.limits.clone()));
    let socket = TokioIo::new(Socket::new(stream, activity.clone()));
    let service = service_fn(|request: Request<Incoming>| {
        let http2 = request.version() > Version::HTTP_11;
        let flight = InFlight::new(activity.clone(), http2, !request.body().is_end_stream());
        let request = request.map(|body| RequestBody::new(body, activity.clone()));
        answer(server.router.clone(), server.shutdown.clone(), request, peer, flight)
    });
    let mut connection = pin!(server.http.serve_connection(socket, service));
    let mut expired = pin!(activity.expired());

    // The connection is polled first: the deadline is to be looked at after what has just happened.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = expired.as_mut() => return tracing::debug!(%peer, "cut a connection at its deadline"),
        () = server.shutdown.draining() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        biased;
        _ = connection => {}
        () = expired => tracing::debug!(%peer, "cut a connection at its deadline"),
        () = server.shutdown.aborted() => tracing::warn!(%peer, "dropped a connection at the end of the shutdown"),
    }
}

async fn answer(
    router: Router,
    shutdown: Shutdown,
    mut request: Request<RequestBody>,
    peer: SocketAddr,
    flight: InFlight,
) -> Result<Response<AnswerBody>, Infallible> {
    let http1 = request.version() <= Version::HTTP_11;
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = router.oneshot(request).await?;
    if http1 && (shutdown.is_closing() || leaves_a_body_unread(response.status())) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| AnswerBody::new(body, flight)))
}

/// Statuses after which the rest of the request is not read, or cannot be told from the next one.
fn leaves_a_body_unread(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::NOT_IMPLEMENTED
    )
}
