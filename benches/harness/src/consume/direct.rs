//! AMQP directly: one consumer with a prefetch count, and an ack for each message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::sleep;

use super::ledger::{Ledger, number_of};
use crate::recorder::{Answer, Recorder};
use crate::spec::{Ask, Queue};

/// The most unacked messages.
const PREFETCH: u16 = 500;
/// The pause between the last ack and the end of the channel. RabbitMQ's channel keeps acks of a quorum queue back while many are on
/// their way, and forgets them when it closes.
const LAST_ACKS: Duration = Duration::from_millis(500);

/// A consumer on a channel of its own.
pub struct Consuming {
    channel: Channel,
    consumer: Consumer,
}

impl Consuming {
    /// # Errors
    /// When RabbitMQ refuses the channel or the consumer.
    pub async fn start(connection: &Connection, queue: Queue) -> anyhow::Result<Self> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume(queue.name().into(), "".into(), options, arguments).await?;
        Ok(Self { channel, consumer })
    }

    /// Waits for the next message, and returns its number and its tag.
    ///
    /// # Errors
    /// When the consumer has ended, or the message has no number.
    pub async fn next(&mut self) -> anyhow::Result<(u64, u64)> {
        let delivery = self.consumer.next().await.context("the consumer has ended")??;
        Ok((number_of(&delivery.data)?, delivery.delivery_tag))
    }

    /// # Errors
    /// When the channel has ended.
    pub async fn ack(&self, tag: u64) -> anyhow::Result<()> {
        Ok(self.channel.basic_ack(tag, BasicAckOptions::default()).await?)
    }

    /// Closes the channel when RabbitMQ has carried out every ack.
    ///
    /// # Errors
    /// When the channel has ended.
    pub async fn close(self) -> anyhow::Result<()> {
        sleep(LAST_ACKS).await;
        Ok(self.channel.close(200, "done".into()).await?)
    }
}

/// Takes and acks every message of a queue. Latency counts from when the consumer is asked for the message until its ack is written.
///
/// # Errors
/// When the channel ends, or a message comes twice.
pub async fn drain(
    mut consuming: Consuming,
    ledger: Arc<Ledger>,
    recorder: Arc<Recorder>,
) -> anyhow::Result<()> {
    while !ledger.is_complete() {
        let begun = Instant::now();
        let (number, tag) = consuming.next().await?;
        consuming.ack(tag).await?;
        recorder.note(begun, Ask::Routed, &Answer::Confirmed);
        ledger.ack(number)?;
    }
    consuming.close().await
}
