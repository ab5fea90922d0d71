//! A message that a caller wants published, and the result for the caller.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use super::write_gate::WriteGate;
use crate::broker::error::Error;
use crate::domain::access::{Key, Need, Needed};
use crate::domain::message::{Destination, Message};
use crate::domain::names::ShortText;
use crate::domain::outcome::Outcome;
use crate::domain::sender_selected;
use crate::fairness::Holder;

/// A message, its destination, and its deadline.
#[derive(Debug)]
pub struct Publish {
    /// The message.
    pub message: Message,
    /// The exchange and routing key.
    pub destination: Destination,
    /// The time by which the caller wants an answer.
    pub deadline: Instant,
    /// Whether the gateway may resend the message when a lost connection left its outcome unknown.
    pub resend: bool,
    /// Whether an earlier publish of this message, with the same id, may have left a copy in a queue.
    pub earlier_copy_possible: bool,
    /// The principal that the permits of the message are held for.
    pub holder: Holder,
    /// Whether the message expires at the deadline, so that no consumer processes it later.
    pub(in crate::broker) expires: bool,
    /// Another task may forbid the message while it is not written.
    pub(in crate::broker) gate: Option<WriteGate>,
    attempts: AtomicU32,
}

impl Publish {
    /// The permissions for it: to write to its destination, with its routing key and with those of its headers `CC` and `BCC`; and for
    /// replies to its message, to read their queue or to write to it.
    pub fn needs(&self) -> impl Iterator<Item = Needed<'_>> {
        let Destination { exchange, routing_key, .. } = &self.destination;
        let further = sender_selected::routing_keys(&self.message.headers);
        let routing_keys = [routing_key.as_str()].into_iter().chain(further);
        let write = routing_keys.map(|key| Need::write(exchange.in_path(), Key::One(key)));
        let reply_to = self.message.properties.reply_to.as_ref().map(ShortText::as_str);
        // An empty name is that of no queue.
        let reply_to = reply_to.filter(|queue| !queue.is_empty()).map(Need::replies_at);
        write.map(Needed::from).chain(reply_to)
    }

    /// The name of its destination among those of its exchange: its routing key, or a text that stands for all its routing keys. A
    /// further routing key can lead to a queue that does not answer, which is no fault of the first one.
    pub(super) fn routing_name(&self) -> Cow<'_, ShortText> {
        let routing_key = &self.destination.routing_key;
        let mut further = sender_selected::routing_keys(&self.message.headers).peekable();
        if further.peek().is_none() {
            return Cow::Borrowed(routing_key);
        }
        let mut hasher = DefaultHasher::new();
        for key in further.chain([routing_key.as_str()]) {
            key.hash(&mut hasher);
        }
        let name = format!("several routing keys, {:016x}", hasher.finish());
        Cow::Owned(ShortText::parse(name).unwrap_or_default())
    }

    /// A publish without any attempt so far and without a holder, of a message that does not expire at the deadline.
    #[must_use]
    pub fn new(message: Message, destination: Destination, deadline: Instant, resend: bool) -> Self {
        Self {
            message,
            destination,
            deadline,
            resend,
            earlier_copy_possible: false,
            holder: Holder::default(),
            expires: false,
            gate: None,
            attempts: AtomicU32::new(0),
        }
    }

    /// The number of attempts so far. At 0 the message is certainly not written.
    pub(in crate::broker) fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Counts an attempt; to call before a lane hands the message in. False if the message must not be written.
    pub(super) fn begin_attempt(&self) -> bool {
        if !self.gate.as_ref().is_none_or(WriteGate::pass) {
            return false;
        }
        self.attempts.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes the attempt back: the channel has handed the message back unwritten.
    pub(super) fn take_attempt_back(&self) {
        self.attempts.fetch_sub(1, Ordering::Relaxed);
        self.gate.iter().for_each(WriteGate::take_back);
    }
}

/// RabbitMQ holds the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// [`Outcome::Confirmed`], or [`Outcome::Accepted`] if `mandatory` was off.
    pub outcome: Outcome,
    /// The number of attempts.
    pub attempts: u32,
    /// Whether an earlier attempt, or an earlier publish of the same message, may have left a copy in a queue.
    pub duplicate_possible: bool,
}

/// RabbitMQ does not hold the message, or it is unknown whether RabbitMQ holds it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct PublishFailure {
    /// The error of the last attempt.
    #[source]
    pub error: Error,
    /// The number of attempts; 0 if the answer to another caller's message was its answer too.
    pub attempts: u32,
    /// The outcome of the message, over all attempts and over earlier publishes of it.
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::domain::field::FieldTable;
    use crate::domain::message::{MessageId, Properties};
    use crate::domain::names::ExchangeName;

    /// The needs of a message with this queue for replies.
    fn needs(reply_to: Option<&str>) -> usize {
        let text = |text: &str| ShortText::parse(text).expect("a short text");
        let properties = Properties { reply_to: reply_to.map(text), ..Properties::default() };
        let id = MessageId::given_or_generated(None);
        let (headers, body) = (FieldTable::default(), Bytes::new());
        let message = Message { id, properties, headers, body };
        let exchange = ExchangeName::from_path("orders").expect("a name");
        let destination = Destination { exchange, routing_key: text("eu"), mandatory: true };
        Publish::new(message, destination, Instant::now() + Duration::from_secs(1), true).needs().count()
    }

    #[test]
    fn an_empty_name_of_a_queue_for_replies_needs_no_permission() {
        assert_eq!([None, Some(""), Some("q")].map(needs), [1, 1, 2]);
    }
}
