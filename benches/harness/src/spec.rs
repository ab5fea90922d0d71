//! The description of one run: the target, the requests, the number of callers, the rate and the length.
//!
//! The parent hands it to a worker process as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A queue that does not exist.
pub const NOBODY: &str = "bench.nobody";
/// An exchange that does not exist.
pub const MISSING_EXCHANGE: &str = "bench.missing";
/// A queue that rejects all messages: its length limit is 0, and its overflow is `reject-publish`.
pub const REJECTING: &str = "bench.rejecting";
/// The queue of the echo server.
pub const ECHO: &str = "bench.echo";

/// The queue of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// A durable classic queue.
    Classic,
    /// A quorum queue of one node.
    Quorum,
}

impl Queue {
    /// Its name in RabbitMQ.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "bench.classic",
            Self::Quorum => "bench.quorum",
        }
    }
}

/// The operation of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Publish, and wait for the confirm.
    Publish,
    /// Call the echo server, and wait for the reply.
    Rpc,
    /// Open connections, ask once on each, and leave them idle.
    Idle,
    /// Publish batches; over AMQP, publish without waiting for each confirm.
    Batch,
    /// Publish by streams; over AMQP, publish without waiting for each confirm.
    Stream,
    /// Publish a stream of very many lines.
    LongStream,
    /// Take messages from a full queue, at most this number at a time, and ack them, until each is acked.
    Drain(u16),
    /// As `Drain(1)`, but latency is that of the ack alone.
    Settle,
    /// As `Settle`, but the ack goes to another replica.
    SettleElsewhere,
    /// Wait for a message that is published later, and ack it.
    LongPoll,
    /// Wait for messages with very many callers.
    Waiting,
}

impl Operation {
    /// Whether every confirmed message stays in the queue.
    #[must_use]
    pub fn fills_the_queue(self) -> bool {
        match self {
            Self::Publish | Self::Batch | Self::Stream | Self::LongStream => true,
            Self::Rpc
            | Self::Idle
            | Self::Drain(_)
            | Self::Settle
            | Self::SettleElsewhere
            | Self::LongPoll
            | Self::Waiting => false,
        }
    }

    /// Whether the queue is filled before the run, with as many messages as the pace counts. The run acks each of them.
    #[must_use]
    pub fn drains_the_queue(self) -> bool {
        matches!(self, Self::Drain(_) | Self::Settle | Self::SettleElsewhere)
    }

    /// Whether figures are for a message, because a request carries many messages or a message takes two requests.
    #[must_use]
    pub fn counts_messages(self) -> bool {
        self.contract_path().is_some()
    }

    /// The path in the contract of an operation that earlier gateways do not have.
    #[must_use]
    pub fn contract_path(self) -> Option<&'static str> {
        match self {
            Self::Batch => Some("/publish/{exchange}/batch"),
            Self::Stream | Self::LongStream => Some("/publish/{exchange}/stream"),
            Self::Publish | Self::Rpc | Self::Idle => None,
            Self::Drain(_) | Self::Settle | Self::SettleElsewhere | Self::LongPoll | Self::Waiting => {
                Some("/queues/{name}/messages/pull")
            }
        }
    }
}

/// One request, named by its right answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To the queue: confirmed (or, for a call, answered with the body that was sent).
    Routed,
    /// To [`NOBODY`]: unroutable.
    Unroutable,
    /// To [`REJECTING`]: rejected.
    Rejected,
    /// To [`MISSING_EXCHANGE`]: refused.
    MissingExchange,
    /// With a property that RabbitMQ does not accept: refused.
    BadProperty,
}

/// The percentages of requests that are not simply routed to the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix(pub Vec<(Ask, u64)>);

impl Mix {
    /// The `n`th request of a caller: kinds are spread evenly, and are the same in every run.
    #[must_use]
    pub fn nth(&self, n: u64) -> Ask {
        let mut slot = n.wrapping_mul(37) % 100;
        for (ask, percent) in &self.0 {
            if slot < *percent {
                return *ask;
            }
            slot -= percent;
        }
        Ask::Routed
    }

    /// Every kind of request in the mix.
    pub fn kinds(&self) -> impl Iterator<Item = Ask> {
        std::iter::once(Ask::Routed).chain(self.0.iter().map(|(ask, _)| *ask))
    }
}

/// The requests of one group of callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// The operation.
    pub operation: Operation,
    /// Requests in flight at the same time. Over HTTP each caller has a connection of its own. Of batches and streams, the clients
    /// that each have many messages in flight.
    pub callers: usize,
    /// The size of a body in bytes.
    pub size: usize,
    /// Whether messages are persistent.
    pub persistent: bool,
    /// The queue of messages that are simply routed.
    pub queue: Queue,
    /// The other kinds of requests.
    pub mix: Mix,
    /// The rate.
    pub pace: Pace,
}

impl Traffic {
    /// The base case of the plan.
    #[must_use]
    pub fn base() -> Self {
        Self {
            operation: Operation::Publish,
            callers: 64,
            size: 1024,
            persistent: true,
            queue: Queue::Classic,
            mix: Mix::default(),
            pace: Pace::Closed,
        }
    }
}

/// The rate of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Each caller asks again when it has its answer.
    Closed,
    /// As `Closed`, until this number of requests were sent, or of messages were acked; the run has no window then.
    Count(u64),
    /// This number of requests a second over all callers, independent of the answers; latency counts from when a request was due.
    Rate(u32),
}

/// How callers use AMQP directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// A task for each caller, on one thread for each core.
    Tasks,
    /// All callers in one task.
    OneTask,
}

/// The form of requests and answers of a contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The gateway's; the peers speak it too.
    Gateway,
    /// That of RabbitMQ's management API.
    Management,
}

/// The service that gets the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// RabbitMQ, through lapin.
    Amqp {
        /// Its address.
        url: String,
        /// How callers use AMQP.
        style: Style,
    },
    /// An HTTP service.
    Http {
        /// Host and port.
        address: String,
        /// The form of its requests and answers.
        dialect: Dialect,
        /// The API key that its requests have.
        key: Option<String>,
    },
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The service that gets the requests.
    pub target: Target,
    /// The measured traffic.
    pub traffic: Traffic,
    /// Traffic that runs at the same time and is only checked.
    pub beside: Option<Traffic>,
    /// Host and port of another replica, if the traffic needs two.
    pub other: Option<String>,
    /// Address of RabbitMQ.
    pub broker_url: String,
    /// Processes of the contestant; none when it is the worker itself or RabbitMQ.
    pub contestant: Vec<i32>,
    /// Processes of RabbitMQ.
    pub broker: Vec<i32>,
    /// The time before the window.
    pub warmup: Duration,
    /// The length of the window.
    pub window: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_its_percentages_in_every_hundred_requests() {
        let mix = Mix(vec![(Ask::Unroutable, 10), (Ask::Rejected, 5)]);
        let count = |ask| (700..800).filter(|n| mix.nth(*n) == ask).count();
        assert_eq!([count(Ask::Unroutable), count(Ask::Rejected), count(Ask::Routed)], [10, 5, 85]);
    }
}
