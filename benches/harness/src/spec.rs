//! One run in words: what is asked of whom, by how many, how fast, and for how long.
//!
//! The parent hands it to a worker process as JSON.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Queue that nobody declares.
pub const NOBODY: &str = "bench.nobody";
/// Exchange that nobody declares.
pub const MISSING_EXCHANGE: &str = "bench.missing";
/// Queue whose messages are all refused: its length is bounded by nothing, and it overflows by `reject-publish`.
pub const REJECTING: &str = "bench.rejecting";
/// Queue that the echo server serves.
pub const ECHO: &str = "bench.echo";

/// Where the messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Queue {
    /// A durable classic queue.
    Classic,
    /// A quorum queue of one node.
    Quorum,
}

impl Queue {
    /// Its name at the broker.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "bench.classic",
            Self::Quorum => "bench.quorum",
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Publish, and wait for the confirm.
    Publish,
    /// Call the echo server, and wait for the reply.
    Rpc,
    /// Open connections, ask once on each, and let them be.
    Idle,
}

/// One request, by the answer that is right for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// To the queue: confirmed (or, for a call, answered with what was sent).
    Routed,
    /// To [`NOBODY`]: unroutable.
    Unroutable,
    /// To [`REJECTING`]: rejected.
    Rejected,
    /// To [`MISSING_EXCHANGE`]: refused.
    MissingExchange,
    /// With a property that no broker takes: refused.
    BadProperty,
}

/// Percent of the requests that are not plainly routed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix(pub Vec<(Ask, u64)>);

impl Mix {
    /// The `n`th request of a caller: spread evenly, the same in every run.
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

    /// Every kind of request in it.
    pub fn kinds(&self) -> impl Iterator<Item = Ask> {
        std::iter::once(Ask::Routed).chain(self.0.iter().map(|(ask, _)| *ask))
    }
}

/// The requests of one group of callers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// What is asked for.
    pub operation: Operation,
    /// Requests in flight at one time, each caller on a connection of its own where there is HTTP.
    pub callers: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Delivery mode.
    pub persistent: bool,
    /// Where plainly routed messages go.
    pub queue: Queue,
    /// What else is asked.
    pub mix: Mix,
    /// How fast.
    pub pace: Pace,
}

/// How fast requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Each caller asks again when it has its answer.
    Closed,
    /// As `Closed`, until so many have been asked; there is no window then.
    Count(u64),
    /// So many a second over all callers, whatever the answers; latency counts from when a request was due.
    Rate(u32),
}

/// How AMQP is driven directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// A task for each caller, on as many threads as there are cores.
    Tasks,
    /// All callers in one task.
    OneTask,
}

/// How a contestant spells requests and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The gateway's; the peers speak it too.
    Gateway,
    /// That of RabbitMQ's management API.
    Management,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The broker, by lapin.
    Amqp {
        /// Its address.
        url: String,
        /// How it is driven.
        style: Style,
    },
    /// An HTTP service.
    Http {
        /// Host and port.
        address: String,
        /// How it is spoken to.
        dialect: Dialect,
    },
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Who is asked.
    pub target: Target,
    /// What is measured.
    pub traffic: Traffic,
    /// What goes on beside it and is only checked.
    pub beside: Option<Traffic>,
    /// Processes of the contestant; none when it is the worker itself or the broker.
    pub contestant: Vec<i32>,
    /// Processes of the broker.
    pub broker: Vec<i32>,
    /// Before anything is recorded.
    pub warmup: Duration,
    /// While it is.
    pub window: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_as_asked_for_in_every_hundred() {
        let mix = Mix(vec![(Ask::Unroutable, 10), (Ask::Rejected, 5)]);
        let count = |ask| (700..800).filter(|n| mix.nth(*n) == ask).count();
        assert_eq!([count(Ask::Unroutable), count(Ask::Rejected), count(Ask::Routed)], [10, 5, 85]);
    }
}
