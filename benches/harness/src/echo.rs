//! The echo server that every contestant calls: one channel, nothing acknowledged.

use anyhow::bail;
use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;

use crate::amqp::connect;
use crate::spec::ECHO;

/// Answers until the connection ends.
///
/// # Errors
/// When it ends.
pub async fn serve(url: &str) -> anyhow::Result<()> {
    let channel = connect(url).await?.create_channel().await?;
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut requests = channel.basic_consume(ECHO.into(), "".into(), no_ack, FieldTable::default()).await?;
    while let Some(request) = requests.next().await {
        let request = request?;
        let (Some(reply_to), Some(id)) =
            (request.properties.reply_to().clone(), request.properties.correlation_id().clone())
        else {
            continue;
        };
        let mut properties = BasicProperties::default().with_correlation_id(id);
        if let Some(content_type) = request.properties.content_type().clone() {
            properties = properties.with_content_type(content_type);
        }
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), reply_to, options, &request.data, properties).await?;
    }
    bail!("the broker has ended the subscription")
}
