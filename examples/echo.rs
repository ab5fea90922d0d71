//! An RPC server: answers each request in the queue `echo` with what it was sent. `cargo run --example echo`
//!
//! Uses the broker that `AMQP_URL` names. The queue goes with the server, so that a call then finds no queue
//! instead of waiting for nobody.

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
/// Requests that the broker hands over before the first is acknowledged.
const PREFETCH: u16 = 100;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672".to_owned());
    // lapin takes a lone slash for the virtual host named "", everybody else for the default one.
    let url = url.strip_suffix('/').unwrap_or(&url);
    let connect =
        Connection::connect_with_runtime(url, ConnectionProperties::default(), Runtime::tokio_current());
    let connection = timeout(CONNECT_TIMEOUT, connect).await.context("connecting took too long")??;
    serve(&connection.create_channel().await?).await
}

/// Answers until the connection ends.
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
    bail!("the broker has ended the subscription")
}

/// The reply goes to `reply_to` by the default exchange, with the request's `correlation_id`. Acknowledged
/// after it is written: a server that dies in between is given the request again.
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
