//! The interface between the server and the application that it serves.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;

/// Answers the requests of all connections.
pub trait Application: Send + Sync + 'static {
    /// Begins to answer a request from `peer`. The server drops the future when the client has left.
    fn answer(
        &self,
        request: Request,
        peer: SocketAddr,
    ) -> Answering<impl Future<Output = Response> + Send + use<Self>>;

    /// The answer to a connection over the limit, whose request the server does not read.
    fn too_many_connections(&self) -> Response<Bytes>;
}

/// A request that an application answers.
#[derive(Debug)]
pub struct Answering<F> {
    /// The answer.
    pub response: F,
    /// Whether the application finishes the request also when its client has left. The server then waits for the answer although
    /// an HTTP/1 client has ended its side of the connection.
    pub finishes_without_client: bool,
    /// Whether the body of the request has no limit, because the application reads it bit by bit.
    pub has_endless_body: bool,
}
