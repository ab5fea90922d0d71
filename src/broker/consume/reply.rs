//! The reply to a leased message.

use super::settle::NoReplyTo;
use crate::domain::direct_reply_to::DirectReplyTo;
use crate::domain::message::{Delivery, Message, Properties};
use crate::domain::names::ShortText;
use crate::domain::reserved;

/// The queue that the message names for its reply.
///
/// # Errors
/// Why the name is not usable.
pub(super) fn queue(request: &Delivery) -> Result<&ShortText, NoReplyTo> {
    let Properties { reply_to: queue, correlation_id, .. } = &request.message.properties;
    if queue.iter().chain(correlation_id).any(ShortText::is_incomplete) {
        return Err(NoReplyTo::NotText);
    }
    let queue = queue.as_ref().filter(|name| name.is_valid() && !name.as_str().is_empty());
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
    use crate::broker::convert;
    use crate::broker::lapin_compat::sanitise;
    use crate::broker::wire::{push_content_header, read_content_header};
    use crate::domain::field::FieldTable;
    use crate::domain::message::{MessageId, ReceivedMessage};
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
    fn a_message_whose_correlation_id_or_reply_to_is_not_utf_8_has_no_queue_for_its_reply() {
        for place in ["call", "answers"] {
            let properties = Properties {
                correlation_id: Some(text("call")),
                reply_to: Some(text("answers")),
                ..Properties::default()
            };
            let sent = Message {
                id: MessageId::generate(),
                properties,
                headers: FieldTable::default(),
                body: Bytes::new(),
            };
            let mut frame = Vec::new();
            push_content_header(&mut frame, 1, &sent, None);
            let at =
                frame.windows(place.len()).position(|bytes| bytes == place.as_bytes()).expect("the text");
            frame[at + 1] = 0xff;
            let payload = 7..frame.len() - 1;
            sanitise::header(&mut frame[payload]).expect("a header");
            let (properties, _) = read_content_header(&frame).expect("a header");
            let request = request(convert::received(&properties, Bytes::new()).properties);
            assert_eq!(queue(&request), Err(NoReplyTo::NotText), "{place}");
        }
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
