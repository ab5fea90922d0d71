//! A message: its properties, its headers and its body, valid to send.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use super::field::FieldTable;
use super::names::{ExchangeName, ShortText};

/// A message to publish. The body may carry its share of the gateway's limits: the share is free again when the message
/// is dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The id of the message; the same on every resend.
    pub id: MessageId,
    /// The basic properties without the id and the headers.
    pub properties: Properties,
    /// The `headers` property.
    pub headers: FieldTable,
    /// The payload, untouched.
    pub body: Bytes,
}

/// A message that a consumer received, from any publisher.
#[derive(Debug, Clone)]
pub struct ReceivedMessage {
    /// The id of the message, if its publisher set one.
    pub id: Option<ShortText>,
    /// The basic properties without the id and the headers.
    pub properties: Properties,
    /// The `headers` property.
    pub headers: FieldTable,
    /// The payload, untouched.
    pub body: Bytes,
}

/// A message as RabbitMQ delivered it from a queue.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whether RabbitMQ delivered it before.
    pub redelivered: bool,
    /// The exchange that it was published to.
    pub exchange: ExchangeName,
    /// Its routing key.
    pub routing_key: ShortText,
    /// The message.
    pub message: ReceivedMessage,
}

/// The id of a published message: the caller's, or a UUID of version 7. Clones share one text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Arc<str>);

impl MessageId {
    /// A new, unique id.
    #[must_use]
    pub fn generate() -> Self {
        let mut text = Uuid::encode_buffer();
        Self(Arc::from(&*Uuid::now_v7().hyphenated().encode_lower(&mut text)))
    }

    /// The caller's id if there is one, else a new id. An empty id does not identify a message, so a new id replaces it.
    #[must_use]
    pub fn given_or_generated(given: Option<ShortText>) -> Self {
        given.filter(|id| !id.as_str().is_empty()).map_or_else(Self::generate, Self::from)
    }
}

impl From<ShortText> for MessageId {
    fn from(text: ShortText) -> Self {
        Self(Arc::from(text.as_str()))
    }
}

impl From<String> for MessageId {
    /// For text that is known to fit an AMQP short string. A caller's text is first parsed as a [`ShortText`].
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl Deref for MessageId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for MessageId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for MessageId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// Longest time of a message in a queue, in milliseconds: the maximum of RabbitMQ's timers, ten years.
pub const MAX_EXPIRATION: u64 = 315_360_000_000;
/// Latest timestamp, in seconds: the end of the year 9999. The date types of many clients cannot hold a later time, and
/// such a client fails each time that the message is delivered again.
pub const MAX_TIMESTAMP: u64 = 253_402_300_799;

/// The optional basic properties of AMQP 0-9-1. RabbitMQ closes the channel on an invalid one, so this type holds valid
/// ones only.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<ShortText>,
    /// Content coding of the body.
    pub content_encoding: Option<ShortText>,
    /// Whether RabbitMQ writes the message to disk.
    pub delivery_mode: Option<DeliveryMode>,
    /// 0 to 255.
    pub priority: Option<u8>,
    /// Connects a reply to its request.
    pub correlation_id: Option<ShortText>,
    /// The queue for replies.
    pub reply_to: Option<ShortText>,
    /// Milliseconds that the message may wait in a queue, at most [`MAX_EXPIRATION`]. 0 means deliver at once or drop.
    pub expiration: Option<u64>,
    /// Seconds since 1970; at most [`MAX_TIMESTAMP`] in messages from callers.
    pub timestamp: Option<u64>,
    /// The application's name for the kind of message.
    pub kind: Option<ShortText>,
    /// The user that publishes. RabbitMQ refuses any user but the connection's own.
    pub user_id: Option<ShortText>,
    /// The application that publishes.
    pub app_id: Option<ShortText>,
    /// Deprecated by AMQP; the gateway passes it on unchanged.
    pub cluster_id: Option<ShortText>,
}

/// Whether a durable queue writes the message to disk (`persistent`), or a restart of RabbitMQ loses it (`transient`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    /// 1: a restart of RabbitMQ loses the message.
    Transient,
    /// 2: a durable queue writes the message to disk.
    Persistent,
}

impl DeliveryMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Transient, Self::Persistent];

    /// The mode as requests and answers spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Persistent => "persistent",
        }
    }

    /// The mode as AMQP numbers it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Transient => 1,
            Self::Persistent => 2,
        }
    }
}

/// The destination of a message.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The exchange that routes the message.
    pub exchange: ExchangeName,
    /// Routing key.
    pub routing_key: ShortText,
    /// Whether RabbitMQ returns the message if no queue takes it.
    pub mandatory: bool,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn an_id_is_the_caller_s_or_a_new_uuid_of_version_7() {
        let given = ShortText::parse("order-7").expect("it is short");
        assert_eq!(&*MessageId::given_or_generated(Some(given)), "order-7");
        for none in [None, Some(ShortText::default())] {
            let id = MessageId::given_or_generated(none.clone());
            let uuid = Uuid::parse_str(&id).expect("it is a UUID");
            assert_eq!(uuid.get_version_num(), 7);
            assert_ne!(id, MessageId::given_or_generated(none));
        }
    }

    #[test]
    fn an_id_is_found_by_its_text_and_a_clone_shares_it() {
        let id = MessageId::from("order-7".to_owned());
        let clone = id.clone();
        assert_eq!(id.as_ptr(), clone.as_ptr());
        assert_eq!(HashMap::from([(id, 7)]).get("order-7"), Some(&7));
    }
}
