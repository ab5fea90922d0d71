//! What an owned channel is to the router, and the router to it.

use std::sync::Arc;

use super::batch::Batch;
use super::frame::Malformed;
use super::router::Shared;

/// Class and method of the methods that owners receive.
pub(in crate::broker) const BASIC_CONSUME_OK: [u8; 4] = [0, 60, 0, 21];
pub(in crate::broker) const BASIC_CANCEL: [u8; 4] = [0, 60, 0, 30];
pub(in crate::broker) const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];
pub(in crate::broker) const BASIC_DELIVER: [u8; 4] = [0, 60, 0, 60];

/// The owner of a channel. The router's task calls it; a call must be short and must not block.
pub(in crate::broker) trait Owner: Send + Sync {
    /// Takes a method of class `basic`, as a whole frame.
    ///
    /// # Errors
    /// The connection cannot be trusted any more, and ends.
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed>;

    /// Takes a content header, as a whole frame that amq-protocol can parse.
    ///
    /// # Errors
    /// As [`Self::method`].
    fn header(&self, frame: &[u8]) -> Result<(), Malformed>;

    /// Takes the payload of a body frame.
    ///
    /// # Errors
    /// As [`Self::method`].
    fn body(&self, payload: &[u8]) -> Result<(), Malformed>;

    /// Moves its next frames into the batch. A publish counts as written from here on.
    fn write(&self, batch: &mut Batch) -> Step;

    /// RabbitMQ blocks the connection: nothing more is written until it unblocks it.
    fn blocked(&self);

    /// The channel, or its connection, has ended. The router still writes the rest of a message that is written in part.
    fn closed(&self, end: &End);
}

/// How far an owner's frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Step {
    /// There is nothing more to write.
    Done,
    /// There is more; the channel stands between two messages.
    More,
    /// The channel stands inside a message.
    Inside,
}

/// How a channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) enum End {
    /// RabbitMQ closed the channel.
    ChannelClosed(Close),
    /// The gateway closed the channel, and RabbitMQ has confirmed that.
    CloseOk,
    /// RabbitMQ closed the connection.
    ConnectionClosed(Close),
    /// The connection is gone.
    ConnectionLost,
}

/// Why RabbitMQ closed a channel or a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct Close {
    /// AMQP's reply code, such as 404.
    pub(in crate::broker) code: u16,
    /// RabbitMQ's words.
    pub(in crate::broker) text: String,
}

/// The way of an owner to its connection.
pub(in crate::broker) struct Outlet {
    pub(super) shared: Arc<Shared>,
    pub(super) channel: u16,
}

impl Outlet {
    /// The channel's number.
    pub(in crate::broker) fn channel(&self) -> u16 {
        self.channel
    }

    /// Bytes that a frame may have.
    pub(in crate::broker) fn frame_max(&self) -> usize {
        self.shared.frame_max()
    }

    /// Whether RabbitMQ blocks the connection.
    pub(in crate::broker) fn is_blocked(&self) -> bool {
        self.shared.is_blocked()
    }

    /// Asks the router to call [`Owner::write`]. To be called once after a `write` that said [`Step::Done`].
    pub(in crate::broker) fn has_work(&self, owner: Arc<dyn Owner>) {
        self.shared.queue(self.channel, owner);
    }
}
