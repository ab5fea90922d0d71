//! A message as its caller gave it, by either kind of body.

use bytes::Bytes;

use crate::domain::field::FieldTable;
use crate::domain::message::{Message, MessageId, Properties};
use crate::domain::names::ShortText;
use crate::http::problem::Problem;

/// The prefix of the HTTP headers that are properties of the message.
pub(super) const PREFIX: &str = "x-amqp-";

/// A message, and the routing parameters that only the envelope can hold.
#[derive(Debug)]
pub(in crate::http) struct ParsedMessage {
    pub(in crate::http) message: Message,
    pub(in crate::http) id_source: IdSource,
    pub(in crate::http) routing_key: Option<ShortText>,
    pub(in crate::http) mandatory: Option<bool>,
    pub(super) form: Form,
}

/// The form in which the caller gave the properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `X-Amqp-*` headers.
    Headers,
    /// The member `properties` of an envelope.
    Envelope,
}

impl Form {
    /// The name under which the caller gave this property.
    pub(super) fn property(self, name: &str) -> String {
        match self {
            Self::Headers => format!("{PREFIX}{}", name.replace('_', "-")),
            Self::Envelope => format!("properties.{name}"),
        }
    }
}

/// The origin of the id of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum IdSource {
    /// The gateway made it.
    Generated,
    /// The caller gave it, by `X-Amqp-Message-Id` or in the envelope.
    Given,
    /// It is the caller's `Idempotency-Key`.
    IdempotencyKey,
}

impl ParsedMessage {
    /// The name under which the caller gave the queue for replies.
    pub(in crate::http) fn reply_to_field(&self) -> &'static str {
        match self.form {
            Form::Headers => "x-amqp-reply-to",
            Form::Envelope => "properties.reply_to",
        }
    }

    /// A message without routing parameters, with the caller's id or a new one.
    pub(super) fn new(
        id: Option<ShortText>,
        properties: Properties,
        headers: FieldTable,
        body: Bytes,
    ) -> Self {
        let id = id.filter(|id| !id.as_str().is_empty());
        let id_source = if id.is_some() { IdSource::Given } else { IdSource::Generated };
        let id = MessageId::given_or_generated(id);
        let message = Message { id, properties, headers, body };
        Self { message, id_source, routing_key: None, mandatory: None, form: Form::Headers }
    }

    /// Makes the idempotency key the id of the message.
    ///
    /// # Errors
    /// 400, if the caller gave another id.
    pub(super) fn identify_by(&mut self, key: &MessageId) -> Result<(), Problem> {
        if self.id_source == IdSource::Given && self.message.id != *key {
            let why = "is the message's id, and the message has another one: give the same value in both, or give one of them";
            return Err(Problem::malformed("Idempotency-Key", why).message_id(self.message.id.clone()));
        }
        self.id_source = IdSource::IdempotencyKey;
        self.message.id.clone_from(key);
        Ok(())
    }
}
