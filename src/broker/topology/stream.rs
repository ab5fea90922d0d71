//! Whether a queue is a stream: RabbitMQ deletes a stream also where the conditions of the deletion fail.
//!
//! No method of AMQP tells the type, so it is asked by a declaration that leaves no trace: one that is alike to a
//! stream and that can make nothing, should the queue be gone.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable as AmqpTable, LongString};

use crate::broker::convert::short;
use crate::broker::error::{Error, Refusal};
use crate::domain::names::QueueName;

/// Of a stream this argument is not compared, and no queue can have it as it is asked for here. Of other queues it is
/// compared before any of [`OF_STREAMS`].
const IMPOSSIBLE: (&str, i32) = ("x-max-length", -1);

/// What RabbitMQ compares of a stream besides its type (3.10 to 4.x).
const OF_STREAMS: [&str; 6] = [
    "x-max-length-bytes",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// Needs the permission to configure the queue, as its deletion does.
pub(super) async fn is_stream(channel: Channel, name: QueueName) -> Result<bool, Error> {
    let mut arguments = AmqpTable::default();
    arguments.insert(short("x-queue-type"), AMQPValue::LongString(LongString::from("stream")));
    arguments.insert(short(IMPOSSIBLE.0), AMQPValue::LongInt(IMPOSSIBLE.1));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(short(name.as_str()), options, arguments).await;
    match declared.map_err(Error::from) {
        Ok(_) => Ok(true),
        Err(error @ Error::Refused(Refusal::Differs { .. })) => {
            Ok(error.differing_argument().is_some_and(|argument| OF_STREAMS.contains(&argument)))
        }
        // It went meanwhile.
        Err(Error::Refused(Refusal::Invalid { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}
