//! The AMQP methods of one operation, on its own channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable as AmqpTable;
use lapin::{Channel, ExchangeKind};

use crate::broker::convert::{short_string, table};
use crate::broker::error::{Error, Refusal};
use crate::domain::field::FieldValue;
use crate::domain::names::QueueName;
use crate::domain::reserved;
use crate::domain::topology::{DeadLetterPair, DeleteConditions, QueueDeclaration, QueueState};

/// Returns the counts of a queue. Never asks RabbitMQ about an address of direct reply-to, see [`reserved::is_direct_reply_to`].
pub(in crate::broker) async fn inspect(channel: Channel, name: QueueName) -> Result<QueueState, Error> {
    if reserved::is_direct_reply_to(name.as_str()) {
        let reason = format!("'{name}' is an address of direct reply-to, and no queue");
        return Err(Error::Refused(Refusal::QueueMissing { reason }));
    }
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(short_string(name.as_str()), options, AmqpTable::default()).await?;
    Ok(QueueState { message_count: queue.message_count(), consumer_count: queue.consumer_count() })
}

pub(super) async fn delete(
    channel: Channel,
    name: QueueName,
    conditions: DeleteConditions,
) -> Result<u32, Error> {
    let DeleteConditions { if_unused, if_empty } = conditions;
    let options = QueueDeleteOptions { if_unused, if_empty, nowait: false };
    Ok(channel.queue_delete(short_string(name.as_str()), options).await?)
}

pub(super) async fn purge(channel: Channel, name: QueueName) -> Result<u32, Error> {
    Ok(channel.queue_purge(short_string(name.as_str()), QueuePurgeOptions::default()).await?)
}

/// Declares a queue and its dead-letter pair. A queue that is there already comes first: where it differs, the gateway does not
/// make the pair. Any other comes after the pair, so that it loses no dead letter. But a dead-letter queue that cannot be deleted
/// under conditions comes after it: a refusal of the main queue would leave it behind. Notes in `makes_pair` that it begins with
/// the pair.
pub(super) async fn declare(
    channel: Channel,
    queue: QueueDeclaration,
    is_there: bool,
    makes_pair: Arc<AtomicBool>,
) -> Result<QueueState, Error> {
    let pair = queue.dead_letter_pair.as_ref();
    if let Some(pair) = pair.filter(|_| !is_there) {
        makes_pair.store(true, Ordering::Relaxed);
        if is_deletable(pair) {
            declare_pair(&channel, pair).await?;
        } else {
            declare_exchange(&channel, pair).await?;
        }
    }
    let options = QueueDeclareOptions {
        durable: queue.durable,
        auto_delete: queue.auto_delete,
        ..QueueDeclareOptions::default()
    };
    let found =
        channel.queue_declare(short_string(queue.name.as_str()), options, table(&queue.arguments)).await?;
    if let Some(pair) = pair.filter(|pair| is_there || !is_deletable(pair)) {
        makes_pair.store(true, Ordering::Relaxed);
        declare_pair(&channel, pair).await?;
    }
    Ok(QueueState { message_count: found.message_count(), consumer_count: found.consumer_count() })
}

/// Whether the dead-letter queue can be deleted under conditions: RabbitMQ does so with classic queues only.
fn is_deletable(pair: &DeadLetterPair) -> bool {
    pair.arguments.get("x-queue-type").is_none_or(|kind| *kind == FieldValue::from("classic"))
}

async fn declare_exchange(channel: &Channel, pair: &DeadLetterPair) -> Result<(), Error> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let exchange = short_string(pair.exchange.as_str());
    Ok(channel.exchange_declare(exchange, ExchangeKind::Fanout, durable, AmqpTable::default()).await?)
}

async fn declare_pair(channel: &Channel, pair: &DeadLetterPair) -> Result<(), Error> {
    declare_exchange(channel, pair).await?;
    let (exchange, queue) = (short_string(pair.exchange.as_str()), short_string(pair.queue.as_str()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.clone(), durable, table(&pair.arguments)).await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(queue, exchange, short_string(""), options, AmqpTable::default()).await?;
    Ok(())
}
