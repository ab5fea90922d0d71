//! The HTTP side alone: the accept loop and the middleware around a toy router, spoken to over raw TCP.

mod bodies;
mod browsers;
mod connections;
mod crowd;
mod door;
mod drain;
mod http2;
mod logs;
mod toy;
