//! Declare, inspect, purge and delete, on a connection of their own.
//!
//! Each operation has a channel of its own, since the broker answers a mistake by closing the
//! channel. What can make the broker close the whole connection runs alone on it. Operations that
//! may be repeated without harm are, when the connection is lost under them.

mod stream;

use std::sync::Arc;

use lapin::Channel;
use lapin::ExchangeKind;
use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable as AmqpTable;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep, timeout_at};

use self::stream::is_stream;
use super::connections::{Connections, REOPEN_PAUSE};
use super::convert::{short, table};
use super::error::{Cause, Error, Refusal, Unavailable};
use super::link::Link;
use crate::domain::names::QueueName;
use crate::domain::topology::{DeadLetterPair, DeleteConditions, QueueDeclaration, QueueState};

/// The topology operations.
pub(super) struct Topology {
    connections: Connections,
    alone: RwLock<()>,
}

impl Topology {
    pub(super) fn new(connections: Connections) -> Self {
        Self { connections, alone: RwLock::new(()) }
    }

    /// The connections, for those who stop or look at them.
    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Counts of a queue.
    pub(super) async fn inspect(&self, name: &QueueName, deadline: Instant) -> Result<QueueState, Error> {
        let _shared = self.share(deadline).await?;
        self.repeat(deadline, |channel| inspect(channel, name.clone())).await
    }

    /// Declares a queue, its dead-letter pair first. True when the queue was not there before.
    pub(super) async fn declare(
        &self,
        queue: &QueueDeclaration,
        deadline: Instant,
    ) -> Result<(bool, QueueState), Error> {
        let _shared = self.share(deadline).await?;
        let existed = match self.repeat(deadline, |channel| inspect(channel, queue.name.clone())).await {
            Ok(_) => true,
            Err(Error::Refused(Refusal::QueueMissing { .. })) => false,
            Err(error) => return Err(error),
        };
        let state = self.repeat(deadline, |channel| declare(channel, queue.clone())).await?;
        Ok((!existed, state))
    }

    /// Deletes a queue; how many ready messages went with it.
    pub(super) async fn delete(
        &self,
        name: &QueueName,
        conditions: DeleteConditions,
        deadline: Instant,
    ) -> Result<u32, Error> {
        // RabbitMQ answers the deletion of a missing queue with success.
        self.inspect(name, deadline).await?;
        let delete = |channel| delete(channel, name.clone(), conditions);
        if conditions.any() {
            let _alone = self.alone(deadline).await?;
            if self.repeat(deadline, |channel| is_stream(channel, name.clone())).await? {
                let reason = "a stream cannot be deleted under conditions".to_owned();
                return Err(Error::Refused(Refusal::NotSupported { reason }));
            }
            self.once(deadline, delete).await
        } else {
            let _shared = self.share(deadline).await?;
            self.once(deadline, delete).await
        }
    }

    /// Empties a queue; how many ready messages it held.
    pub(super) async fn purge(&self, name: &QueueName, deadline: Instant) -> Result<u32, Error> {
        let _alone = self.alone(deadline).await?;
        self.once(deadline, |channel| purge(channel, name.clone())).await
    }

    async fn share(&self, deadline: Instant) -> Result<impl Drop, Error> {
        timeout_at(deadline, self.alone.read()).await.map_err(|_| Error::NotSent(Unavailable::Busy))
    }

    async fn alone(&self, deadline: Instant) -> Result<impl Drop, Error> {
        timeout_at(deadline, self.alone.write()).await.map_err(|_| Error::NotSent(Unavailable::Busy))
    }

    /// Runs an operation that may be done twice, until it is answered.
    async fn repeat<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        operation: impl Fn(Channel) -> F,
    ) -> Result<T, Error> {
        loop {
            match self.once(deadline, &operation).await {
                Err(Error::Unknown(Cause::Lost { repeatable: true, .. })) if Instant::now() < deadline => {}
                answer => return answer,
            }
        }
    }

    async fn once<T, F: Future<Output = Result<T, Error>>>(
        &self,
        deadline: Instant,
        operation: impl Fn(Channel) -> F,
    ) -> Result<T, Error> {
        let (link, channel) = self.open(deadline).await?;
        let _user = link.users().token();
        let answer = timeout_at(deadline, link.unless_gone(operation(channel))).await;
        answer.unwrap_or(Err(Error::Unknown(Cause::Silence)))
    }

    /// A new channel; dropped, it closes itself.
    async fn open(&self, deadline: Instant) -> Result<(Arc<Link>, Channel), Error> {
        loop {
            let link = self.connections.wait(deadline).await?;
            let opened = timeout_at(deadline, link.unless_gone(link.connection().create_channel())).await;
            match opened {
                Ok(Ok(channel)) => return Ok((link, channel)),
                Ok(Err(error)) => {
                    link.not_opened(error);
                    sleep(REOPEN_PAUSE).await;
                }
                Err(_) => return Err(Error::NotSent(Unavailable::NoConnection)),
            }
        }
    }
}

/// Counts of a queue.
pub(super) async fn inspect(channel: Channel, name: QueueName) -> Result<QueueState, Error> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(short(name.as_str()), options, AmqpTable::default()).await?;
    Ok(QueueState { message_count: queue.message_count(), consumer_count: queue.consumer_count() })
}

async fn delete(channel: Channel, name: QueueName, conditions: DeleteConditions) -> Result<u32, Error> {
    let DeleteConditions { if_unused, if_empty } = conditions;
    let options = QueueDeleteOptions { if_unused, if_empty, nowait: false };
    Ok(channel.queue_delete(short(name.as_str()), options).await?)
}

async fn purge(channel: Channel, name: QueueName) -> Result<u32, Error> {
    Ok(channel.queue_purge(short(name.as_str()), QueuePurgeOptions::default()).await?)
}

async fn declare(channel: Channel, queue: QueueDeclaration) -> Result<QueueState, Error> {
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
