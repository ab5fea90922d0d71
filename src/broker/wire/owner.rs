//! The interface between the router and an owned channel.

use super::batch::Batch;
use super::frame::Malformed;
use crate::broker::error::Error;

/// Class and method of the methods that owners receive.
pub(in crate::broker) const BASIC_QOS_OK: [u8; 4] = [0, 60, 0, 11];
pub(in crate::broker) const BASIC_CONSUME_OK: [u8; 4] = [0, 60, 0, 21];
pub(in crate::broker) const BASIC_CANCEL: [u8; 4] = [0, 60, 0, 30];
pub(in crate::broker) const BASIC_CANCEL_OK: [u8; 4] = [0, 60, 0, 31];
pub(in crate::broker) const BASIC_RETURN: [u8; 4] = [0, 60, 0, 50];
pub(in crate::broker) const BASIC_DELIVER: [u8; 4] = [0, 60, 0, 60];
pub(in crate::broker) const TX_SELECT_OK: [u8; 4] = [0, 90, 0, 11];
pub(in crate::broker) const TX_COMMIT_OK: [u8; 4] = [0, 90, 0, 21];

/// The owner of a channel. The router's task calls it; a call must be short and must not block.
pub(in crate::broker) trait Owner: Send + Sync {
    /// Receives a method of class `basic` or `tx`, as a whole frame.
    ///
    /// # Errors
    /// The frame is malformed, and the connection ends.
    fn method(&self, frame: &mut [u8]) -> Result<(), Malformed>;

    /// Receives a content header, as a whole frame that amq-protocol can parse.
    ///
    /// # Errors
    /// As [`Self::method`].
    fn header(&self, frame: &[u8]) -> Result<(), Malformed>;

    /// Receives the payload of a body frame.
    ///
    /// # Errors
    /// As [`Self::method`].
    fn body(&self, payload: &[u8]) -> Result<(), Malformed>;

    /// Moves the owner's next frames into the batch. A publish counts as written from here on.
    fn write(&self, batch: &mut Batch) -> Step;

    /// RabbitMQ blocks the connection: the router writes no more until RabbitMQ unblocks it.
    fn blocked(&self);

    /// The channel or its connection has ended. The router still writes the rest of a message that is written in part.
    fn closed(&self, end: &End);
}

/// The state of an owner after its turn to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum Step {
    /// The owner has no more frames to write.
    Done,
    /// The owner has more frames, and is between two messages.
    More,
    /// The owner is inside a message.
    Inside,
}

/// How a channel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) enum End {
    /// RabbitMQ closed the channel.
    ChannelClosed(Close),
    /// The gateway closed the channel, and RabbitMQ has confirmed the close.
    CloseOk,
    /// RabbitMQ closed the connection.
    ConnectionClosed(Close),
    /// The connection is gone.
    ConnectionLost,
}

impl Error {
    /// The error of everything that was without an answer when the channel ended.
    pub(in crate::broker) fn of_end(end: &End) -> Self {
        match end {
            End::ChannelClosed(close) => Self::of_channel_close(close.code, &close.text),
            End::ConnectionClosed(close) => Self::of_connection_close(close.code, &close.text),
            End::CloseOk => Self::lost("the gateway closed the channel"),
            End::ConnectionLost => Self::gone(),
        }
    }
}

/// Why RabbitMQ closed a channel or a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::broker) struct Close {
    /// AMQP's reply code, such as 404.
    pub(in crate::broker) code: u16,
    /// RabbitMQ's text.
    pub(in crate::broker) text: String,
}
