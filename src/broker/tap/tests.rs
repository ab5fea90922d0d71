use amq_protocol::frame::AMQPContentHeader;
use amq_protocol::frame::gen_frame;
use amq_protocol::protocol::basic::{AMQPProperties, Ack, Return};
use proptest::prelude::*;

use super::*;
use crate::broker::convert::short;

fn method(channel: u16, method: basic::AMQPMethod) -> AMQPFrame {
    AMQPFrame::Method(channel, AMQPClass::Basic(method))
}

fn returned(channel: u16) -> AMQPFrame {
    let (exchange, routing_key) = (short("x"), short("nowhere"));
    let reply_text = short("NO_ROUTE");
    method(channel, basic::AMQPMethod::Return(Return { reply_code: 312, reply_text, exchange, routing_key }))
}

fn header(channel: u16, id: Option<&str>, body_size: u64) -> AMQPFrame {
    let properties = AMQPProperties::default();
    let properties = id.map_or(properties.clone(), |id| properties.with_message_id(short(id)));
    AMQPFrame::Header(channel, AMQPContentHeader { class_id: 60, body_size, properties })
}

fn ack(channel: u16) -> AMQPFrame {
    method(channel, basic::AMQPMethod::Ack(Ack { delivery_tag: 1, multiple: false }))
}

fn bytes(frames: &[AMQPFrame]) -> Vec<u8> {
    frames.iter().fold(Vec::new(), |bytes, frame| gen_frame(frame)(From::from(bytes)).unwrap().write)
}

/// Frames of two channels between each other, a body that looks like a return, a heartbeat.
fn conversation() -> Vec<u8> {
    let trap = bytes(&[returned(1), header(1, Some("trap"), 0)]);
    bytes(&[
        returned(1),
        ack(2),
        returned(2),
        header(1, Some("first"), trap.len() as u64),
        AMQPFrame::Heartbeat,
        header(2, Some("first"), 0),
        AMQPFrame::Body(1, trap),
        ack(1),
        returned(1),
        header(1, Some("second"), 0),
    ])
}

proptest! {
    #[test]
    fn a_return_is_known_by_its_channel_and_id_in_whatever_pieces_it_comes(
        cuts in prop::collection::vec(1_usize..40, 1..200),
    ) {
        let (returns, conversation) = (Returns::default(), conversation());
        let mut watch = Watch::new(returns.clone());
        let (mut rest, mut seen) = (conversation.as_slice(), Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, left) = rest.split_at((*cut).min(rest.len()));
            watch.read(piece, &mut seen).unwrap();
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(seen, conversation);
        for (channel, id) in [(1, "first"), (2, "first"), (1, "second")] {
            prop_assert_eq!(returns.take(channel, id), Some("NO_ROUTE".to_owned()));
            prop_assert_eq!(returns.take(channel, id), None);
        }
        prop_assert_eq!(returns.take(1, "trap"), None);
    }
}

#[test]
fn a_return_without_an_id_ends_the_connection() {
    let mut watch = Watch::new(Returns::default());
    assert!(watch.read(&bytes(&[returned(1), header(1, None, 0)]), &mut Vec::new()).is_err());
}
