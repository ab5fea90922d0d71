//! The bounds of taking messages from a queue.

use super::{GATEWAY, Goal, at_most, beside_direct, broker_cpu, measured, over_direct, p50, speed};
use crate::plan::Workload;
use crate::results::{Results, Row};
use crate::sample::Sample;

/// The least messages a second, as a share of AMQP directly, by workload.
const SPEED: [(&str, f64); 4] = [
    ("pull-100-classic", 0.70),
    ("pull-100-quorum", 0.70),
    ("pull-1-classic", 0.35),
    ("pull-1-quorum", 0.35),
];
/// The most CPU of RabbitMQ for a message, relative to AMQP directly.
const BROKER_CPU: f64 = 1.3;
/// The most microseconds that a message takes longer than with AMQP directly, by workload.
const OVER_DIRECT: [(&str, f64); 2] = [("one-worker", 400.0), ("long-poll", 300.0)];
/// The most memory for a caller who waits, in KiB.
const MEMORY: f64 = 16.0;
/// The most CPU while callers wait, in percent of a core.
const CPU: f64 = 1.0;

/// The bounds whose contestants ran.
pub(super) fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (name, bound) in SPEED {
        goals.extend(beside_direct(results, name).map(|workload| speed(results, workload, bound)));
    }
    for (name, _) in SPEED {
        goals.extend(beside_direct(results, name).map(|workload| broker_cpu(results, workload, BROKER_CPU)));
    }
    for (name, bound) in OVER_DIRECT {
        goals.extend(beside_direct(results, name).map(|workload| over_direct(results, workload, bound)));
    }
    goals.extend(elsewhere(results));
    goals.extend(measured(results, "waiting").into_iter().flat_map(|workload| waiting(results, workload)));
    goals
}

/// The time that an ack at another replica takes longer, beside one round trip through RabbitMQ.
fn elsewhere(results: &Results) -> Option<Goal> {
    let (own, elsewhere) = (measured(results, "settle-own")?, measured(results, "settle-elsewhere")?);
    let round_trip = beside_direct(results, "rpc-1")?;
    let median = |workload, row| results.figure(workload, row, p50).median;
    let over = median(elsewhere, GATEWAY) - median(own, GATEWAY);
    let what =
        "Ack at another replica: p50 minus that of an ack at the owner; the bound is an RPC by AMQP directly";
    Some(at_most(what, median(round_trip, Row::Limit), " µs", over))
}

fn waiting(results: &Results, workload: &Workload) -> [Goal; 2] {
    let figure = |of: fn(&Sample) -> f64| results.figure(workload, GATEWAY, of).most;
    let memory = figure(|it| it.waiting.map_or(f64::NAN, |waiting| waiting.memory / 1024.0));
    let cpu = figure(|it| it.waiting.map_or(f64::NAN, |waiting| waiting.cpu * 100.0));
    [
        at_most(format!("{}: memory each, with the connection", workload.title), MEMORY, " KiB", memory),
        at_most(format!("{}: the gateway's CPU, of one core", workload.title), CPU, " %", cpu),
    ]
}
