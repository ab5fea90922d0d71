//! `Worker`: an AMQP consumer that acknowledges by hand, as the workers of the recipes do.

#![expect(clippy::disallowed_types, reason = "independent of broker/convert.rs; names go through try_new")]

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{observer::Observer, poll::within};

const DEADLINE: Duration = Duration::from_secs(30);

pub struct Worker {
    channel: Channel,
    deliveries: Consumer,
}

impl Worker {
    /// Consumes from a queue with this prefetch.
    pub async fn start(observer: &Observer, queue: &str, prefetch: u16) -> Self {
        Self::consume(observer, queue, prefetch, FieldTable::default()).await
    }

    /// Reads a stream from this offset on.
    pub async fn read(observer: &Observer, stream: &str, offset: AMQPValue) -> Self {
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), offset);
        Self::consume(observer, stream, 10, arguments).await
    }

    async fn consume(observer: &Observer, queue: &str, prefetch: u16, arguments: FieldTable) -> Self {
        let channel = observer.channel().await;
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        within(DEADLINE, "qos", qos).await.expect("RabbitMQ takes a prefetch");
        let queue = ShortString::try_new(queue).expect("a short name");
        let consume = channel.basic_consume(queue, "".into(), BasicConsumeOptions::default(), arguments);
        let deliveries = within(DEADLINE, "consume", consume).await.expect("RabbitMQ takes a consumer");
        Self { channel, deliveries }
    }

    /// The next message, which stays unacknowledged.
    pub async fn next(&mut self) -> Delivery {
        let delivery = within(DEADLINE, "the next message", self.deliveries.next()).await;
        delivery.expect("the consumer lives").expect("a delivery")
    }

    /// The body of the next message, acknowledged.
    pub async fn take(&mut self) -> String {
        let delivery = self.next().await;
        ack(&delivery).await;
        body(&delivery)
    }

    /// Closes the channel: RabbitMQ gives the unacknowledged messages to others.
    pub async fn leave(self) {
        let close = self.channel.close(200, "done".into());
        within(DEADLINE, "close a channel", close).await.expect("a channel is closed");
    }
}

/// `basic.ack`.
pub async fn ack(delivery: &Delivery) {
    delivery.ack(BasicAckOptions::default()).await.expect("an ack is written");
}

/// `basic.reject`.
pub async fn reject(delivery: &Delivery, requeue: bool) {
    delivery.reject(BasicRejectOptions { requeue }).await.expect("a reject is written");
}

/// The body as text.
pub fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.data.clone()).expect("a text")
}

/// A header of the message.
pub fn header(delivery: &Delivery, name: &str) -> Option<AMQPValue> {
    delivery.properties.headers().as_ref()?.inner().get(name).cloned()
}

/// The reason of the newest entry in `x-death`, and its queue.
pub fn death(delivery: &Delivery) -> (String, String) {
    let Some(AMQPValue::FieldArray(deaths)) = header(delivery, "x-death") else {
        panic!("no x-death: {delivery:?}")
    };
    let AMQPValue::FieldTable(newest) = &deaths.as_slice()[0] else {
        panic!("a death is a table: {deaths:?}")
    };
    let text = |name: &str| match newest.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        other => panic!("{name}: {other:?}"),
    };
    (text("reason"), text("queue"))
}
