//! The frame router: it reads and writes the socket on the gateway's own runtime, and lapin is the control plane.
//!
//! One task for each connection reads and writes the socket. lapin has one end of an in-memory stream. Over it lapin does
//! the login, tuning, channels, declarations, heartbeats and the close. A channel can have an [`Owner`]. Then the owner,
//! and never lapin, gets every method of the classes `basic` and `tx`, content header and body of that channel, and the owner alone
//! writes such frames. Both get `channel.close`.
//!
//! Guarantees:
//! - Frames of one channel keep their order, and no other frame of a channel is written inside one of its messages.
//! - A channel number has its owner until RabbitMQ sends `channel.close` or `channel.close-ok` for it.
//! - For every end of the task (socket, lapin, [`Router::kill`], panic), the socket is closed, lapin's stream ends, and
//!   the router calls [`Owner::closed`] of each owner.
//! - The router makes texts that are not UTF-8 and deeply nested tables readable before lapin reads them.

mod assembly;
mod batch;
mod connection_state;
mod encode;
mod frame;
mod greeting;
mod inbound;
mod lapin_stream;
mod outbound;
mod outlet;
mod owner;
mod router;
#[cfg(test)]
mod tests;

pub(super) use self::assembly::{Assembled, Assembly, ContentHeader, read_content_header};
pub(super) use self::batch::Batch;
pub(super) use self::encode::{
    ConsumerKind, Encoded, publish_frames, push_ack, push_cancel, push_consume, push_content_header,
    push_nack, push_qos, push_reject, push_tx_commit, push_tx_select,
};
pub(super) use self::frame::{Malformed, method_of};
pub use self::greeting::Server;
pub(super) use self::outlet::Outlet;
pub(super) use self::owner::{
    BASIC_CANCEL, BASIC_CANCEL_OK, BASIC_CONSUME_OK, BASIC_DELIVER, BASIC_QOS_OK, BASIC_RETURN, TX_COMMIT_OK,
    TX_SELECT_OK,
};
pub(super) use self::owner::{End, Owner, Step};
pub(super) use self::router::{Router, start};
