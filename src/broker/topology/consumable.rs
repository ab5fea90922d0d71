//! Whether messages of a queue can be leased. No method of AMQP returns the type and the arguments of a queue, so the gateway asks with
//! methods that leave no trace.

use lapin::Channel;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable as AmqpTable, LongString};

use tokio::time::Instant;

use super::Topology;
use super::stream::impossible;
use crate::broker::convert::short_string;
use crate::broker::error::{Error, Refusal};
use crate::broker::overflow;
use crate::domain::names::QueueName;

/// The tag of the consumer that asks.
const TAG: &str = "rabbitmq-gateway.is-stream";
/// The argument that RabbitMQ accepts for a consumer of a stream only.
const OFFSET: &str = "x-stream-offset";

impl Topology {
    /// Checks that messages of a queue can be leased.
    ///
    /// # Errors
    /// [`Refusal::QueueMissing`], [`Refusal::Locked`], [`Refusal::NotSupported`] for a stream and for a queue that RabbitMQ deletes
    /// with its last consumer, and others.
    pub(in crate::broker) async fn check_consumable(
        &self,
        name: &QueueName,
        deadline: Instant,
    ) -> Result<(), Error> {
        self.inspect(name, deadline).await?;
        let is_alone = overflow::of_name(name.as_str());
        let queue = name.clone();
        let is_stream = move |channel| is_offset_accepted(channel, queue.clone());
        if self.repeat(deadline, is_alone, is_stream).await? {
            return Err(not_leasable(name, "it is a stream, and a stream has offsets instead of acks"));
        }
        for durable in [true, false] {
            let queue = name.clone();
            let is_auto_deleted = move |channel| is_auto_deleted(channel, queue.clone(), durable);
            match self.repeat(deadline, is_alone, is_auto_deleted).await? {
                Some(true) => {
                    let reason = "RabbitMQ deletes it with its last consumer, leased messages included: declare it with expires_ms in place of auto_delete";
                    return Err(not_leasable(name, reason));
                }
                Some(false) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }
}

fn not_leasable(name: &QueueName, why: &str) -> Error {
    Error::Refused(Refusal::NotSupported {
        reason: format!("messages of queue '{name}' cannot be leased: {why}"),
    })
}

/// Whether the queue is a stream: RabbitMQ refuses an offset for every other queue. The user needs the permission to read the queue.
async fn is_offset_accepted(channel: Channel, name: QueueName) -> Result<bool, Error> {
    // A stream gives messages only to consumers with a prefetch count.
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut arguments = AmqpTable::default();
    arguments.insert(short_string(OFFSET), AMQPValue::LongString(LongString::from("next")));
    let options = BasicConsumeOptions::default();
    let consumer =
        channel.basic_consume(short_string(name.as_str()), short_string(TAG), options, arguments).await;
    match consumer.map_err(Error::from) {
        Ok(_consumer) => {
            channel.basic_cancel(short_string(TAG), BasicCancelOptions::default()).await?;
            Ok(true)
        }
        Err(Error::Refused(Refusal::Invalid { reason })) if reason.contains(OFFSET) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether RabbitMQ deletes the queue with its last consumer; `None` if the queue is not of this durability. The user needs the
/// permission to configure the queue; without it the answer is `false`.
///
/// The declaration says that RabbitMQ deletes the queue, and has an impossible argument. RabbitMQ compares the durability first, then
/// this property, then the arguments, and names the first one that differs.
async fn is_auto_deleted(channel: Channel, name: QueueName, durable: bool) -> Result<Option<bool>, Error> {
    let mut arguments = AmqpTable::default();
    let (argument, value) = impossible();
    arguments.insert(argument, value);
    let options = QueueDeclareOptions { durable, auto_delete: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(short_string(name.as_str()), options, arguments).await;
    match declared.map_err(Error::from) {
        Err(error @ Error::Refused(Refusal::Differs { .. })) => Ok(match error.differing_argument() {
            Some("durable") => None,
            Some("auto_delete") => Some(false),
            _ => Some(true),
        }),
        // The user may not ask, or the queue was deleted in the meantime.
        Err(Error::Refused(Refusal::AccessRefused { .. } | Refusal::Invalid { .. })) => Ok(Some(false)),
        Ok(_) => Ok(Some(true)),
        Err(error) => Err(error),
    }
}
