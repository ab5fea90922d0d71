//! The frame router: the socket's I/O on the gateway's own runtime, with lapin as the control plane.
//!
//! One task a connection reads and writes the socket. lapin has one end of an in-memory stream, and does the login,
//! tuning, channels, declarations, heartbeats and the close over it. A channel number can have an [`Owner`]: then
//! every method of class `basic`, content header and body of that channel goes to the owner, never to lapin, and the
//! owner alone writes such frames. `channel.close` goes to both.
//!
//! Promises:
//! - Frames of one channel keep their order, and no other frame of a channel is written inside one of its messages.
//! - A number has its owner until RabbitMQ sends `channel.close` or `channel.close-ok` for it.
//! - However the task ends (socket, lapin, [`Router::kill`], panic), the socket is closed, lapin's stream ends, and each
//!   owner is told by [`Owner::closed`].
//! - Texts that are not UTF-8 and tables that are nested too deep are made readable before lapin reads them.

mod batch;
mod encode;
mod frame;
mod greeting;
mod inbound;
mod lapin_stream;
mod outbound;
mod owner;
mod router;
#[cfg(test)]
mod tests;

pub(super) use self::batch::Batch;
pub(super) use self::encode::{Encoded, HeaderTooLarge, consume_frame, publish_frames};
pub(super) use self::frame::{Malformed, method_of};
pub use self::greeting::Server;
pub(super) use self::owner::{BASIC_CANCEL, BASIC_CONSUME_OK, BASIC_DELIVER, BASIC_RETURN};
pub(super) use self::owner::{End, Outlet, Owner, Step};
pub(super) use self::router::{LapinEnd, Router, start};
