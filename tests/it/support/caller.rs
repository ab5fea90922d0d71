//! `Caller`: a client that publishes calls and waits for their replies, by lapin.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Consumer,
    message::Delivery,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::FieldTable,
};

use super::{observer::Observer, poll::within};

/// Where RabbitMQ gives an address to a client that wants its reply without a queue.
pub const DIRECT: &str = "amq.rabbitmq.reply-to";
const DEADLINE: Duration = Duration::from_secs(30);

/// A client that calls the server of the queue `q`, and waits for replies on one channel.
pub struct Caller {
    channel: Channel,
    replies: Consumer,
    reply_to: &'static str,
}

impl Caller {
    /// Waits at this queue, which must exist, or at [`DIRECT`].
    pub async fn at(observer: &Observer, reply_to: &'static str) -> Self {
        let channel = observer.channel().await;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies = channel.basic_consume(reply_to.into(), "".into(), options, FieldTable::default()).await;
        Self { channel, replies: replies.expect("RabbitMQ accepts the consumer"), reply_to }
    }

    pub async fn ask(&self, correlation_id: &str) {
        let properties = BasicProperties::default()
            .with_reply_to(self.reply_to.into())
            .with_correlation_id(correlation_id.into());
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish("".into(), "q".into(), options, b"what?", properties).await;
        sent.expect("RabbitMQ takes the request").await.expect("RabbitMQ answers");
    }

    /// The next reply.
    pub async fn reply(&mut self) -> Delivery {
        let reply = within(DEADLINE, "a reply", self.replies.next()).await;
        reply.expect("the consumer lives").expect("a delivery")
    }
}
