//! Only the HTTP server: the accept loop and the middleware around a toy router. The tests send raw bytes over TCP.

mod bodies;
mod browsers;
mod connections;
mod crowd;
mod drain;
mod http2;
mod logs;
mod toy;
mod validation;
