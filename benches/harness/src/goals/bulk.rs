//! The bounds of batches and publish streams.

use super::{GATEWAY, Goal, at_most, beside_direct, measured, own_cpu, speed};
use crate::plan::Workload;
use crate::results::Results;

/// The least messages a second, as a share of AMQP directly with as many messages unconfirmed, by workload.
const SPEED: [(&str, f64); 6] = [
    ("batch-classic", 0.90),
    ("batch-quorum", 0.85),
    ("batch-transient", 0.60),
    ("stream-classic", 0.90),
    ("stream-quorum", 0.85),
    ("stream-transient", 0.60),
];
/// The most CPU of the gateway for a message in microseconds, by workload.
const OWN_CPU: [(&str, f64); 2] = [("batch-classic", 10.0), ("stream-classic", 10.0)];
/// The most MB that the gateway's memory grows between two lines of a long stream.
const GROWTH: f64 = 8.0;

/// The bounds whose contestants ran.
pub(super) fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (name, bound) in SPEED {
        goals.extend(beside_direct(results, name).map(|workload| speed(results, workload, bound)));
    }
    for (name, bound) in OWN_CPU {
        goals.extend(measured(results, name).map(|workload| own_cpu(results, workload, bound)));
    }
    goals.extend(measured(results, "stream-long").map(|workload| growth(results, workload)));
    goals
}

fn growth(results: &Results, workload: &Workload) -> Goal {
    let grown = results.figure(workload, GATEWAY, |it| it.stream_memory.map_or(f64::NAN, megabytes)).most;
    let what = format!("{}: RSS at the last line minus that at line 100,000", workload.title);
    at_most(what, GROWTH, " MB", grown)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn megabytes([early, last]: [u64; 2]) -> f64 {
    (last as f64 - early as f64) / 1e6
}
