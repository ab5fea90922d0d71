//! Reads `basic.deliver`.

use crate::broker::wire::Malformed;
use crate::domain::names::{ExchangeName, ShortText};

/// Offset of a method's arguments in its frame.
const ARGUMENTS: usize = 11;

/// The arguments of a `basic.deliver`, without the tag of the consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deliver {
    pub(super) tag: u64,
    pub(super) redelivered: bool,
    pub(super) exchange: ExchangeName,
    pub(super) routing_key: ShortText,
}

impl Deliver {
    /// Reads the method from its whole frame. Texts may have any bytes.
    ///
    /// # Errors
    /// The frame is malformed.
    pub(super) fn read(frame: &[u8]) -> Result<Self, Malformed> {
        read(frame).ok_or(Malformed::Frame("a delivery cannot be read"))
    }
}

fn read(frame: &[u8]) -> Option<Deliver> {
    let arguments = frame.get(ARGUMENTS..)?;
    let (_, arguments) = short_text(arguments)?;
    let (tag, arguments) = arguments.split_first_chunk()?;
    let (bits, arguments) = arguments.split_first()?;
    let (exchange, arguments) = short_text(arguments)?;
    let (routing_key, _) = short_text(arguments)?;
    Some(Deliver {
        tag: u64::from_be_bytes(*tag),
        redelivered: bits & 1 == 1,
        exchange: ExchangeName::from_broker(&String::from_utf8_lossy(exchange)),
        routing_key: ShortText::from_broker(&String::from_utf8_lossy(routing_key)),
    })
}

/// Splits off a short string: its length in one byte, then its bytes.
fn short_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame};
    use amq_protocol::protocol::AMQPClass;
    use amq_protocol::protocol::basic::{AMQPMethod, Deliver as AmqpDeliver};

    use super::*;
    use crate::broker::convert::short_string;

    #[test]
    fn a_delivery_is_read_as_amq_protocol_writes_it_and_a_cut_one_is_malformed() {
        let deliver = AmqpDeliver {
            consumer_tag: short_string("pull"),
            delivery_tag: 1 << 40,
            redelivered: true,
            exchange: short_string("orders"),
            routing_key: short_string("a.b"),
        };
        let frame = AMQPFrame::Method(7, AMQPClass::Basic(AMQPMethod::Deliver(deliver)));
        let bytes = gen_frame(&frame)(WriteContext::from(Vec::new())).expect("a vector takes all").write;
        let expected = Deliver {
            tag: 1 << 40,
            redelivered: true,
            exchange: ExchangeName::from_broker("orders"),
            routing_key: ShortText::from_broker("a.b"),
        };
        assert_eq!(Deliver::read(&bytes), Ok(expected));
        for length in 0..bytes.len() - 1 {
            assert!(Deliver::read(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
