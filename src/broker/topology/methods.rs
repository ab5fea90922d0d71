//! The AMQP methods of one operation, on a channel of its own.

use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable as AmqpTable;
use lapin::{Channel, ExchangeKind};

use crate::broker::convert::{short, table};
use crate::broker::error::Error;
use crate::domain::names::QueueName;
use crate::domain::topology::{DeadLetterPair, DeleteConditions, QueueDeclaration, QueueState};

/// Counts of a queue.
pub(in crate::broker) async fn inspect(channel: Channel, name: QueueName) -> Result<QueueState, Error> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(short(name.as_str()), options, AmqpTable::default()).await?;
    Ok(QueueState { message_count: queue.message_count(), consumer_count: queue.consumer_count() })
}

pub(super) async fn delete(
    channel: Channel,
    name: QueueName,
    conditions: DeleteConditions,
) -> Result<u32, Error> {
    let DeleteConditions { if_unused, if_empty } = conditions;
    let options = QueueDeleteOptions { if_unused, if_empty, nowait: false };
    Ok(channel.queue_delete(short(name.as_str()), options).await?)
}

pub(super) async fn purge(channel: Channel, name: QueueName) -> Result<u32, Error> {
    Ok(channel.queue_purge(short(name.as_str()), QueuePurgeOptions::default()).await?)
}

pub(super) async fn declare(channel: Channel, queue: QueueDeclaration) -> Result<QueueState, Error> {
    if let Some(pair) = &queue.dead_letter_pair {
        declare_pair(&channel, pair).await?;
    }
    let options = QueueDeclareOptions {
        durable: queue.durable,
        auto_delete: queue.auto_delete,
        ..QueueDeclareOptions::default()
    };
    let found = channel.queue_declare(short(queue.name.as_str()), options, table(&queue.arguments)).await?;
    Ok(QueueState { message_count: found.message_count(), consumer_count: found.consumer_count() })
}

async fn declare_pair(channel: &Channel, pair: &DeadLetterPair) -> Result<(), Error> {
    let (exchange, queue) = (short(pair.exchange.as_str()), short(pair.queue.as_str()));
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(exchange.clone(), ExchangeKind::Fanout, durable, AmqpTable::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.clone(), durable, table(&pair.arguments)).await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(queue, exchange, short(""), options, AmqpTable::default()).await?;
    Ok(())
}
