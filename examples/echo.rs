//! An RPC server: it answers each request in the queue `echo` with the request's own body. `cargo run --example echo`
//! starts it.
//!
//! It uses the RabbitMQ that `AMQP_URL` names. RabbitMQ deletes the queue when the server stops, so a later call fails at
//! once (no queue) instead of waiting for a reply.

use std::time::Duration;

use anyhow::{Context, bail};
use async_rs::Runtime;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::time::timeout;

const QUEUE: &str = "echo";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that RabbitMQ delivers before the server acknowledges the first of them.
const PREFETCH: u16 = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672".to_owned());
    // For a single slash, lapin selects the virtual host named "", and other clients select the default one.
    let url = url.strip_suffix('/').unwrap_or(&url);
    let connect =
        Connection::connect_with_runtime(url, ConnectionProperties::default(), Runtime::tokio_current());
    let connection = timeout(CONNECT_TIMEOUT, connect).await.context("connecting took too long")??;
    serve(&connection.create_channel().await?).await
}

/// Answers requests until the connection ends.
async fn serve(channel: &Channel) -> anyhow::Result<()> {
    let going_with_us =
        QueueDeclareOptions { durable: true, auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), going_with_us, FieldTable::default()).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let consume = BasicConsumeOptions::default();
    let mut requests = channel.basic_consume(QUEUE.into(), "".into(), consume, FieldTable::default()).await?;
    while let Some(request) = requests.next().await {
        answer(channel, request?).await?;
    }
    bail!("RabbitMQ has cancelled the consumer")
}

/// Publishes the reply to the queue `reply_to` through the default exchange, with the request's `correlation_id`. The
/// server acknowledges the request after that: when the server dies in between, RabbitMQ delivers the request again.
async fn answer(channel: &Channel, request: Delivery) -> anyhow::Result<()> {
    if let Some(reply_to) = request.properties.reply_to().clone() {
        let options = BasicPublishOptions::default();
        let properties = echoed(&request.properties);
        channel.basic_publish("".into(), reply_to, options, &request.data, properties).await?;
    }
    request.ack(BasicAckOptions::default()).await?;
    Ok(())
}

fn echoed(request: &BasicProperties) -> BasicProperties {
    let mut reply = BasicProperties::default();
    if let Some(id) = request.correlation_id() {
        reply = reply.with_correlation_id(id.clone());
    }
    if let Some(media_type) = request.content_type() {
        reply = reply.with_content_type(media_type.clone());
    }
    reply
}
