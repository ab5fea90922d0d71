//! Whether a queue is a stream: RabbitMQ deletes a stream even if the conditions of the deletion do not hold.
//!
//! No method of AMQP returns the type of a queue. So the gateway asks with a declaration that leaves no trace: it matches
//! a stream, and RabbitMQ refuses it if the queue is gone.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable as AmqpTable, LongString};

use crate::broker::convert::{AmqpShortString, short_string};
use crate::broker::error::{Error, Refusal};
use crate::domain::names::QueueName;

/// An impossible argument. RabbitMQ does not compare it for a stream, and it compares it for other queues before any
/// argument of [`OF_STREAMS`]. No queue can have this value.
const IMPOSSIBLE: (&str, i32) = ("x-max-length", -1);

/// The arguments besides the type that RabbitMQ compares for a stream (3.10 to 4.x).
const OF_STREAMS: [&str; 6] = [
    "x-max-length-bytes",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-stream-filter-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// The argument that no queue can have, and that no declaration can make one with.
pub(super) fn impossible() -> (AmqpShortString, AMQPValue) {
    (short_string(IMPOSSIBLE.0), AMQPValue::LongInt(IMPOSSIBLE.1))
}

/// Whether the queue is a stream. The user needs the permission to configure the queue, as for its deletion.
pub(super) async fn is_stream(channel: Channel, name: QueueName) -> Result<bool, Error> {
    let mut arguments = AmqpTable::default();
    arguments.insert(short_string("x-queue-type"), AMQPValue::LongString(LongString::from("stream")));
    let (argument, value) = impossible();
    arguments.insert(argument, value);
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(short_string(name.as_str()), options, arguments).await;
    match declared.map_err(Error::from) {
        Ok(_) => Ok(true),
        Err(error @ Error::Refused(Refusal::Differs { .. })) => {
            Ok(error.differing_argument().is_some_and(|argument| OF_STREAMS.contains(&argument)))
        }
        // The queue was deleted in the meantime.
        Err(Error::Refused(Refusal::Invalid { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}
