//! A message inside a request between replicas: the frame of its content header, and its body, as AMQP has them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::broker::convert::received;
use crate::broker::wire::{push_content_header, read_content_header};
use crate::domain::message::{Message, MessageId};

/// The sizes of the two parts of a carried message, in bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct CarriedSize {
    header: usize,
    body: usize,
}

/// Appends a message.
pub(super) fn push(out: &mut Vec<u8>, message: &Message) -> CarriedSize {
    let start = out.len();
    push_content_header(out, 0, message, None);
    let header = out.len() - start;
    out.extend_from_slice(&message.body);
    CarriedSize { header, body: message.body.len() }
}

/// The bytes of both parts of a message.
pub(super) fn size(message: &Message) -> usize {
    let mut header = Vec::new();
    push_content_header(&mut header, 0, message, None);
    header.len() + message.body.len()
}

/// Takes the next message off; `None` if it is malformed.
pub(super) fn take(from: &mut Bytes, size: CarriedSize) -> Option<Message> {
    if from.len() < size.header.checked_add(size.body)? {
        return None;
    }
    let header = from.split_to(size.header);
    let (properties, _) = read_content_header(&header)?;
    let received = received(&properties, from.split_to(size.body));
    Some(Message {
        id: MessageId::given_or_generated(received.id),
        properties: received.properties,
        headers: received.headers,
        body: received.body,
    })
}
