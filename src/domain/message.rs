//! A message: its properties, its headers and its bytes, valid to send.

use bytes::Bytes;

use super::field::FieldTable;
use super::names::{ExchangeName, ShortText};

/// What is published. The body may carry its admission: whoever holds the message holds its place
/// in the gateway's limits.
#[derive(Debug, Clone)]
pub struct Message {
    /// Basic properties but for the headers.
    pub properties: Properties,
    /// The `headers` property.
    pub headers: FieldTable,
    /// The payload, untouched.
    pub body: Bytes,
}

impl Message {
    /// The message's id, empty where it has none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.properties.message_id.as_ref().map_or("", ShortText::as_str)
    }
}

/// The basic properties of AMQP 0-9-1. A broker closes the channel on a bad one, so there is none here.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<ShortText>,
    /// Content coding of the body.
    pub content_encoding: Option<ShortText>,
    /// Whether the broker writes the message to disk.
    pub delivery_mode: Option<DeliveryMode>,
    /// 0 to 255.
    pub priority: Option<u8>,
    /// Ties a reply to its request.
    pub correlation_id: Option<ShortText>,
    /// Where replies go.
    pub reply_to: Option<ShortText>,
    /// Milliseconds that the message may wait in a queue; never 0.
    pub expiration: Option<u64>,
    /// Identity of the message; the same on every resend.
    pub message_id: Option<ShortText>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// Application's name for the kind of message.
    pub kind: Option<ShortText>,
    /// User that publishes; the broker refuses any but the connection's own.
    pub user_id: Option<ShortText>,
    /// Application that publishes.
    pub app_id: Option<ShortText>,
    /// Deprecated by AMQP, carried as it is.
    pub cluster_id: Option<ShortText>,
}

/// `delivery_mode` of AMQP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// 1: lost with the broker's memory.
    Transient,
    /// 2: written to disk by a durable queue.
    Persistent,
}

/// Where a message goes.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Exchange that routes it.
    pub exchange: ExchangeName,
    /// Routing key.
    pub routing_key: ShortText,
    /// Whether the broker returns the message when no queue takes it.
    pub mandatory: bool,
}
