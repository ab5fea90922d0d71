//! The frames of publishes and consumers, encoded without amq-protocol.
//!
//! A property test compares them with the frames of amq-protocol's encoder, which costs a dozen allocations for each
//! message.

mod consumer;

use amq_protocol::frame::WriteContext;
use amq_protocol::types::generation::gen_field_table;
use bytes::Bytes;

pub(in crate::broker) use self::consumer::{
    ConsumerKind, push_ack, push_cancel, push_consume, push_nack, push_qos, push_reject, push_tx_commit,
    push_tx_select,
};
use super::frame::{BODY, END_MARK, HEAD, HEADER, METHOD, OVERHEAD, push_head};
use crate::broker::convert;
use crate::broker::error::Refusal;
use crate::domain::message::{Destination, Message, Properties};
use crate::domain::names::ShortText;

/// Largest body that is copied next to its head, in bytes.
const COPIED: usize = 16 * 1024;
/// Reserved bytes for the frames before the body, enough for most messages.
const HEADS: usize = 320;
/// `basic.publish` and its two reserved bytes.
const BASIC_PUBLISH: [u8; 6] = [0, 60, 0, 40, 0, 0];
/// Class `basic` and weight 0, of a content header.
const HEADER_START: [u8; 4] = [0, 60, 0, 0];
/// The second bit of `basic.publish`; the first is `mandatory`.
const MANDATORY: u8 = 1;

/// A message in frames of one channel.
#[derive(Debug, Clone)]
pub(in crate::broker) struct Encoded {
    /// Whole frames: the method, the header, and the body where it is small.
    pub(in crate::broker) frames: Vec<u8>,
    /// A large body that is not in `frames`.
    pub(in crate::broker) body: Bytes,
}

/// Encodes a publish for a channel with frames of at most `frame_max` bytes. An `expiration` in milliseconds replaces the
/// message's own.
///
/// # Errors
/// [`Refusal::HeadersTooLarge`]: the content header does not fit a frame. AMQP cannot split it, and RabbitMQ would close the
/// connection.
pub(in crate::broker) fn publish_frames(
    (channel, frame_max): (u16, usize),
    message: &Message,
    destination: &Destination,
    expiration: Option<u64>,
) -> Result<Encoded, Refusal> {
    let body = &message.body;
    let is_small = body.len() <= COPIED;
    let mut out = Vec::with_capacity(HEADS + if is_small { body.len() } else { 0 });
    frame(&mut out, METHOD, channel, |out| {
        out.extend_from_slice(&BASIC_PUBLISH);
        push_short(out, destination.exchange.as_str());
        push_short(out, destination.routing_key.as_str());
        out.push(u8::from(destination.mandatory) * MANDATORY);
    });
    let method = out.len();
    push_content_header(&mut out, channel, message, expiration);
    let bytes = out.len() - method;
    if bytes > frame_max {
        return Err(Refusal::HeadersTooLarge { bytes, limit: frame_max });
    }
    if !is_small {
        return Ok(Encoded { frames: out, body: body.clone() });
    }
    for piece in body.chunks(frame_max.saturating_sub(OVERHEAD).max(1)) {
        frame(&mut out, BODY, channel, |out| out.extend_from_slice(piece));
    }
    Ok(Encoded { frames: out, body: Bytes::new() })
}

/// Appends the frame with the content header of a message: its size, and its properties. An `expiration` in milliseconds replaces the
/// message's own.
pub(in crate::broker) fn push_content_header(
    out: &mut Vec<u8>,
    channel: u16,
    message: &Message,
    expiration: Option<u64>,
) {
    frame(out, HEADER, channel, |out| {
        out.extend_from_slice(&HEADER_START);
        out.extend_from_slice(&(message.body.len() as u64).to_be_bytes());
        push_properties(out, message, expiration);
    });
}

impl super::batch::Batch {
    /// Appends the next frame of a large body without copying it. Only for an owner that is inside a message.
    pub(in crate::broker) fn push_body(&mut self, channel: u16, frame_max: usize, body: &mut Bytes) {
        let piece = body.split_to(body.len().min(frame_max.saturating_sub(OVERHEAD).max(1)));
        push_head(self.buffer(), BODY, channel, piece.len());
        self.set_piece(piece);
    }
}

/// Appends a frame, and fills in its size after its payload.
fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    push_head(out, kind, channel, 0);
    payload(out);
    let size = u32::try_from(out.len() - start - HEAD).unwrap_or(u32::MAX);
    out[start + 3..start + HEAD].copy_from_slice(&size.to_be_bytes());
    out.push(END_MARK);
}

/// Appends a text of at most 255 bytes, see [`ShortText`]. A longer text cannot occur and would be cut.
fn push_short(out: &mut Vec<u8>, text: &str) {
    let bytes = &text.as_bytes()[..text.len().min(usize::from(u8::MAX))];
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// Appends the flags, and the properties in the order of their flags, the highest bit first.
fn push_properties(out: &mut Vec<u8>, message: &Message, expiration: Option<u64>) {
    let Properties {
        content_type,
        content_encoding,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration: own_expiration,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = &message.properties;
    let mut properties = PropertyWriter { start: out.len(), out, flags: 0 };
    properties.out.extend_from_slice(&[0; 2]);
    properties.text(15, content_type.as_ref());
    properties.text(14, content_encoding.as_ref());
    if !message.headers.0.is_empty() {
        properties.set(13);
        push_table(properties.out, &convert::table(&message.headers));
    }
    if let Some(mode) = delivery_mode {
        properties.set(12);
        properties.out.push(mode.number());
    }
    if let Some(priority) = priority {
        properties.set(11);
        properties.out.push(*priority);
    }
    properties.text(10, correlation_id.as_ref());
    properties.text(9, reply_to.as_ref());
    if let Some(milliseconds) = expiration.or(*own_expiration) {
        properties.set(8);
        push_short(properties.out, &milliseconds.to_string());
    }
    properties.set(7);
    push_short(properties.out, &message.id);
    if let Some(seconds) = timestamp {
        properties.set(6);
        properties.out.extend_from_slice(&seconds.to_be_bytes());
    }
    properties.text(5, kind.as_ref());
    properties.text(4, user_id.as_ref());
    properties.text(3, app_id.as_ref());
    properties.text(2, cluster_id.as_ref());
    properties.finish();
}

/// Appends properties, and fills in their flags at the end.
struct PropertyWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    flags: u16,
}

impl PropertyWriter<'_> {
    fn set(&mut self, bit: u32) {
        self.flags |= 1 << bit;
    }

    fn text(&mut self, bit: u32, value: Option<&ShortText>) {
        if let Some(text) = value {
            self.set(bit);
            push_short(self.out, text.as_str());
        }
    }

    fn finish(self) {
        self.out[self.start..self.start + 2].copy_from_slice(&self.flags.to_be_bytes());
    }
}

fn push_table(out: &mut Vec<u8>, table: &lapin::types::FieldTable) {
    let encoded = gen_field_table(table)(WriteContext::from(Vec::new())).map(|written| written.write);
    // The write fails only on a full buffer, and a vector is never full. Without the table it would be another message.
    out.extend_from_slice(&encoded.unwrap_or_else(|error| panic!("a table in memory: {error}")));
}

#[cfg(test)]
mod tests;
