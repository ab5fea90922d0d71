//! Assembles deliveries from frames: the method, the content header, then the body in any number of frames.

use amq_protocol::frame::{AMQPFrame, parse_frame};
use amq_protocol::protocol::BasicProperties;
use bytes::Bytes;

use super::frame::Malformed;

/// Bytes that are reserved when the header of a body arrives. A larger body grows as its bytes arrive.
const RESERVED: usize = 64 * 1024;

/// The delivery that is being read on a channel. `M` is kept from its method, `C` from its content header.
#[derive(Debug)]
pub(in crate::broker) struct Assembly<M, C>(Arriving<M, C>);

#[derive(Debug)]
enum Arriving<M, C> {
    Nothing,
    /// The method has arrived, and the header is missing.
    Announced(M),
    /// The number of missing bytes of a body that is not kept.
    Skipped {
        rest: u64,
    },
    /// A message whose body is not complete.
    Body {
        assembled: Box<Assembled<C>>,
        rest: u64,
    },
}

/// A whole delivery.
#[derive(Debug)]
pub(in crate::broker) struct Assembled<C> {
    /// The value that was kept from the header.
    pub(in crate::broker) context: C,
    pub(in crate::broker) properties: BasicProperties,
    body: Vec<u8>,
}

impl<C> Assembled<C> {
    /// The kept value, the properties, and the body.
    pub(in crate::broker) fn into_parts(self) -> (C, BasicProperties, Bytes) {
        (self.context, self.properties, Bytes::from(self.body))
    }
}

/// Reads the properties in a frame with a content header, and the size of the body.
pub(in crate::broker) fn read_content_header(frame: &[u8]) -> Option<(BasicProperties, u64)> {
    match parse_frame(frame) {
        Ok((_, AMQPFrame::Header(_, header))) => Some((header.properties, header.body_size)),
        _ => None,
    }
}

/// The content header of a delivery.
pub(in crate::broker) struct ContentHeader<'a> {
    pub(in crate::broker) properties: &'a BasicProperties,
    /// Bytes of the header's frame.
    pub(in crate::broker) bytes: usize,
    /// Bytes of the body that follows.
    pub(in crate::broker) body_bytes: u64,
}

impl<M, C> Default for Assembly<M, C> {
    fn default() -> Self {
        Self(Arriving::Nothing)
    }
}

impl<M, C> Assembly<M, C> {
    /// A delivery begins.
    pub(in crate::broker) fn begin(&mut self, method: M) {
        self.0 = Arriving::Announced(method);
    }

    /// Reads the content header. `keep` decides what is kept from it; without a value the body is skipped. Returns a message without
    /// a body.
    ///
    /// # Errors
    /// The frame is malformed, or has no delivery.
    pub(in crate::broker) fn header(
        &mut self,
        frame: &[u8],
        keep: impl FnOnce(M, ContentHeader<'_>) -> Option<C>,
    ) -> Result<Option<Assembled<C>>, Malformed> {
        let Arriving::Announced(method) = std::mem::replace(&mut self.0, Arriving::Nothing) else {
            return Err(Malformed::Frame("a content header comes without its delivery"));
        };
        let (properties, rest) = read_content_header(frame)
            .ok_or(Malformed::Frame("the content header of a delivery cannot be read"))?;
        let view = ContentHeader { properties: &properties, bytes: frame.len(), body_bytes: rest };
        let Some(context) = keep(method, view) else {
            if rest > 0 {
                self.0 = Arriving::Skipped { rest };
            }
            return Ok(None);
        };
        let size = usize::try_from(rest).unwrap_or(usize::MAX);
        let assembled = Assembled { context, properties, body: Vec::with_capacity(size.min(RESERVED)) };
        if rest == 0 {
            return Ok(Some(assembled));
        }
        self.0 = Arriving::Body { assembled: Box::new(assembled), rest };
        Ok(None)
    }

    /// Reads the payload of a body frame. Returns the message when it is complete.
    ///
    /// # Errors
    /// The body has no header, or is longer than its header says.
    pub(in crate::broker) fn body(&mut self, payload: &[u8]) -> Result<Option<Assembled<C>>, Malformed> {
        let too_long = Malformed::Frame("a body is longer than its header says");
        match std::mem::replace(&mut self.0, Arriving::Nothing) {
            Arriving::Skipped { rest } => {
                let rest = rest.checked_sub(payload.len() as u64).ok_or(too_long)?;
                if rest > 0 {
                    self.0 = Arriving::Skipped { rest };
                }
                Ok(None)
            }
            Arriving::Body { mut assembled, rest } => {
                let rest = rest.checked_sub(payload.len() as u64).ok_or(too_long)?;
                assembled.body.extend_from_slice(payload);
                if rest == 0 {
                    return Ok(Some(*assembled));
                }
                self.0 = Arriving::Body { assembled, rest };
                Ok(None)
            }
            Arriving::Nothing | Arriving::Announced(_) => {
                Err(Malformed::Frame("a body comes without its header"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::frame::{AMQPContentHeader, WriteContext, gen_frame};

    use super::*;

    fn header(body_size: u64) -> Vec<u8> {
        let header = AMQPContentHeader { class_id: 60, body_size, properties: BasicProperties::default() };
        let frame = AMQPFrame::Header(1, header);
        gen_frame(&frame)(WriteContext::from(Vec::new())).expect("a vector takes all").write
    }

    fn keep(method: u8, _: ContentHeader<'_>) -> Option<u8> {
        (method != 0).then_some(method)
    }

    #[test]
    fn a_body_in_pieces_is_one_message_and_a_skipped_one_is_none() {
        let mut assembly = Assembly::default();
        for method in [0, 7] {
            assembly.begin(method);
            assert!(assembly.header(&header(5), keep).expect("a header").is_none());
            assert!(assembly.body(b"abc").expect("a piece").is_none());
            let whole = assembly.body(b"de").expect("the last piece").map(Assembled::into_parts);
            let expected = (method != 0).then(|| (7, Bytes::from_static(b"abcde")));
            assert_eq!(whole.map(|(context, _, body)| (context, body)), expected);
        }
        assembly.begin(7);
        assert!(assembly.header(&header(0), keep).expect("a header").is_some());
    }

    #[test]
    fn frames_in_a_wrong_order_and_bodies_that_are_too_long_are_malformed() {
        let mut assembly = Assembly::default();
        assert!(assembly.body(b"a").is_err());
        assert!(assembly.header(&header(1), keep).is_err());
        assembly.begin(7);
        assert!(assembly.body(b"a").is_err());
        for method in [0, 7] {
            assembly.begin(method);
            assert!(assembly.header(&header(1), keep).is_ok());
            assert!(assembly.body(b"ab").is_err());
        }
    }
}
