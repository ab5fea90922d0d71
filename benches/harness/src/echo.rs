//! The echo server that every contestant calls: one channel, without acknowledgements.

use anyhow::bail;
use futures_util::TryStreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};

use crate::amqp::connect;
use crate::spec::ECHO;

/// The number of replies that are written at the same time.
const AT_ONCE: usize = 64;

/// Answers until the connection ends.
///
/// # Errors
/// When the connection ends.
pub async fn serve(url: &str) -> anyhow::Result<()> {
    let channel = connect(url).await?.create_channel().await?;
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let requests = channel.basic_consume(ECHO.into(), "".into(), no_ack, FieldTable::default()).await?;
    requests.try_for_each_concurrent(AT_ONCE, |request| answer(&channel, request)).await?;
    bail!("RabbitMQ has ended the subscription")
}

async fn answer(channel: &Channel, request: Delivery) -> lapin::Result<()> {
    let asked = &request.properties;
    let (Some(reply_to), Some(id)) = (asked.reply_to().clone(), asked.correlation_id().clone()) else {
        return Ok(());
    };
    let mut properties = BasicProperties::default().with_correlation_id(id);
    if let Some(content_type) = asked.content_type().clone() {
        properties = properties.with_content_type(content_type);
    }
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), reply_to, options, &request.data, properties).await?;
    Ok(())
}
