//! The reply to a leased message.

use super::settle::NoReplyTo;
use crate::domain::direct_reply_to::DirectReplyTo;
use crate::domain::message::{Delivery, Message};
use crate::domain::names::ShortText;
use crate::domain::reserved;

/// The queue that the message names for its reply.
///
/// # Errors
/// Why the name is not usable.
pub(super) fn queue(request: &Delivery) -> Result<&ShortText, NoReplyTo> {
    let queue = request.message.properties.reply_to.as_ref();
    let queue = queue.filter(|name| name.is_valid() && !name.as_str().is_empty());
    let queue = queue.ok_or(NoReplyTo::NoQueue)?;
    let is_direct = reserved::is_direct_reply_to(queue.as_str());
    if is_direct && DirectReplyTo::parse(queue.as_str()).is_none() {
        return Err(NoReplyTo::NoAddress);
    }
    Ok(queue)
}

/// The message with the correlation id of its request. It never names a user: a reply may go to a queue of the gateway's own, which
/// tells the gateway's requests apart from others by their user.
pub(super) fn message(given: &Message, request: &Delivery) -> Message {
    let mut reply = given.clone();
    reply.properties.user_id = None;
    reply.properties.correlation_id.clone_from(&request.message.properties.correlation_id);
    reply
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::field::FieldTable;
    use crate::domain::message::{MessageId, Properties, ReceivedMessage};
    use crate::domain::names::ExchangeName;

    fn text(text: &str) -> ShortText {
        ShortText::from_broker(text)
    }

    fn request(properties: Properties) -> Delivery {
        let message =
            ReceivedMessage { id: None, properties, headers: FieldTable::default(), body: Bytes::new() };
        let (exchange, routing_key) = (ExchangeName::default(), text("q"));
        Delivery { redelivered: false, exchange, routing_key, message }
    }

    #[test]
    fn a_reply_has_the_correlation_id_of_its_request_and_no_user() {
        let request = request(Properties { correlation_id: Some(text("call 1")), ..Properties::default() });
        let properties = Properties {
            user_id: Some(text("gateway")),
            correlation_id: Some(text("other")),
            kind: Some(text("sum")),
            ..Properties::default()
        };
        let (id, body) = (MessageId::generate(), Bytes::from("30"));
        let reply = message(&Message { id, properties, headers: FieldTable::default(), body }, &request);
        assert_eq!(reply.properties.user_id, None);
        assert_eq!(reply.properties.correlation_id, Some(text("call 1")));
        assert_eq!((reply.properties.kind, reply.body), (Some(text("sum")), Bytes::from("30")));
    }

    #[test]
    fn a_message_without_a_usable_reply_to_has_no_queue_for_its_reply() {
        for (reply_to, expected) in [
            (None, Err(NoReplyTo::NoQueue)),
            (Some(""), Err(NoReplyTo::NoQueue)),
            (Some("an\nswers"), Err(NoReplyTo::NoQueue)),
            (Some("amq.rabbitmq.reply-to.AAAA.x"), Err(NoReplyTo::NoAddress)),
            (Some("amq.rabbitmq.reply-to"), Err(NoReplyTo::NoAddress)),
            (Some("answers"), Ok("answers")),
        ] {
            let request = request(Properties { reply_to: reply_to.map(text), ..Properties::default() });
            assert_eq!(queue(&request).map(ShortText::as_str), expected);
        }
    }
}
