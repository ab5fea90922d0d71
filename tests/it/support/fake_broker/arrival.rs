//! A publish that arrived, and the answers to it.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{
        AMQPClass,
        basic::{AMQPMethod, AMQPProperties, Ack, Nack, Publish, Return},
        channel, connection,
    },
};

use super::{Order, Step, Wire, encode, short};

/// A publish of which all frames have arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub id: String,
    /// The end of the connection's name, such as `publish-0`.
    pub connection: String,
    pub channel: u16,
    /// The number of channels that the server had opened before this one.
    pub(super) channels_before: usize,
    pub(super) tag: u64,
    pub(super) publish: Publish,
    pub(super) properties: AMQPProperties,
    pub(super) body: Vec<u8>,
    pub(super) wire: Wire,
}

impl Arrival {
    pub fn routing_key(&self) -> &str {
        self.publish.routing_key.as_str()
    }

    /// Confirms the publish.
    pub fn confirm(&self) {
        self.say(&[self.ack(false)]);
    }

    /// Blocks the connection of the publish.
    pub fn block(&self) {
        self.say(&self.frames(Step::Block).unwrap_or_default());
    }

    /// The frames of the step; `None` for a close of the socket.
    pub(super) fn frames(&self, step: Step) -> Option<Vec<AMQPFrame>> {
        Some(match step {
            Step::Return(_) => self.returned(),
            Step::Ack { multiple, .. } => vec![self.ack(multiple)],
            Step::Nack { multiple, .. } => vec![self.nack(multiple)],
            Step::CloseChannel(reply_code, words) => {
                let reply_text = short(words);
                let close = channel::Close { reply_code, reply_text, class_id: 60, method_id: 40 };
                vec![AMQPFrame::Method(self.channel, AMQPClass::Channel(channel::AMQPMethod::Close(close)))]
            }
            Step::Block => {
                let blocked = connection::Blocked { reason: short("by the script") };
                let blocked = connection::AMQPMethod::Blocked(blocked);
                vec![AMQPFrame::Method(0, AMQPClass::Connection(blocked))]
            }
            Step::HangUp => return None,
        })
    }

    fn returned(&self) -> Vec<AMQPFrame> {
        let Publish { exchange, routing_key, .. } = self.publish.clone();
        let returned = Return { reply_code: 312, reply_text: short("NO_ROUTE"), exchange, routing_key };
        let (body_size, properties) = (self.body.len() as u64, self.properties.clone());
        vec![
            self.basic(AMQPMethod::Return(returned)),
            AMQPFrame::Header(self.channel, AMQPContentHeader { class_id: 60, body_size, properties }),
            AMQPFrame::Body(self.channel, self.body.clone()),
        ]
    }

    pub(super) fn ack(&self, multiple: bool) -> AMQPFrame {
        self.basic(AMQPMethod::Ack(Ack { delivery_tag: self.tag, multiple }))
    }

    pub(super) fn nack(&self, multiple: bool) -> AMQPFrame {
        self.basic(AMQPMethod::Nack(Nack { delivery_tag: self.tag, multiple, requeue: false }))
    }

    fn basic(&self, method: AMQPMethod) -> AMQPFrame {
        AMQPFrame::Method(self.channel, AMQPClass::Basic(method))
    }

    pub(super) fn say(&self, frames: &[AMQPFrame]) {
        self.order(Order::Say(frames.iter().flat_map(encode).collect(), Vec::new()));
    }

    pub(super) fn order(&self, order: Order) {
        // The gateway may have closed the connection.
        let _gone = self.wire.send(order);
    }
}
