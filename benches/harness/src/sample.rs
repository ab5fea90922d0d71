//! The results of one run, as the worker returns them and `results.json` stores them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::recorder::{Answers, Latency, Recorder};
use crate::usage::Spent;

/// The results of one run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Requests answered in the window; at a fixed rate, requests that were due in it. Of batches, streams and consuming, messages.
    pub requests: u64,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// Latencies in the window.
    pub latency: Latency,
    /// CPU of the contestant in the window, in seconds.
    pub contestant_cpu: f64,
    /// CPU of RabbitMQ in the window, in seconds.
    pub broker_cpu: f64,
    /// CPU of the load generator in the window, in seconds; with AMQP directly it is the contestant.
    pub load_cpu: f64,
    /// Peak memory of the contestant since the window was opened, in bytes.
    pub peak_memory: u64,
    /// Answers, warm-up included.
    pub answers: Answers,
    /// Answers to the traffic that ran at the same time.
    pub beside: Option<Answers>,
    /// Memory of the contestant for each idle connection, in bytes.
    pub idle_connection: Option<f64>,
    /// Memory of the contestant at the early line of a long stream and at its last line, in bytes.
    pub stream_memory: Option<[u64; 2]>,
    /// The cost of callers who wait for messages.
    pub waiting: Option<Waiting>,
    /// The longest stall of the machine.
    pub stall: Duration,
    /// Messages in the queue at the end, as RabbitMQ counted them at the purge.
    pub held: Option<u64>,
}

/// The cost of callers who wait for messages.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Waiting {
    /// Memory of the contestant for each of them, its connection included, in bytes.
    pub memory: f64,
    /// CPU of the contestant while they wait, as a share of one core.
    pub cpu: f64,
}

impl Sample {
    /// The figures of a window that is closed, with the CPU time and memory at both ends.
    #[must_use]
    pub fn of_window(recorder: &Recorder, before: &Spent, after: &Spent) -> Self {
        let (requests, span) = recorder.total();
        let (latency, answers) = recorder.results();
        Self {
            requests,
            seconds: span.as_secs_f64(),
            latency,
            answers,
            contestant_cpu: after.contestant - before.contestant,
            broker_cpu: after.broker - before.broker,
            load_cpu: after.load - before.load,
            ..Self::default()
        }
    }

    /// Requests a second; of batches, streams and consuming, messages.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Microseconds of CPU a request, or a message of batches, streams and consuming.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 requests")]
    pub fn each(&self, cpu: f64) -> f64 {
        cpu * 1e6 / self.requests as f64
    }
}
