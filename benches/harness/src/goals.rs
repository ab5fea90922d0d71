//! The bounds that the gateway must keep, each with the measured figure. A ratio compares two figures of the same round, and the
//! median of the ratios counts. A bound is left out when its contestants did not run.

mod bulk;
mod consume;

use crate::contestant::Contestant;
use crate::plan::Workload;
use crate::results::{Results, Row, mebibytes};
use crate::sample::Sample;

const GATEWAY: Row = Row::Of(Contestant::Gateway);

/// The least requests a second, as a share of AMQP directly, by workload.
const SPEED: [(&str, f64); 5] =
    [("publish-64", 0.81), ("publish-256", 0.87), ("quorum", 0.70), ("transient", 0.60), ("rpc-64", 0.85)];
/// The most CPU of the gateway for a message in microseconds, by workload.
const OWN_CPU: [(&str, f64); 2] = [("publish-64", 16.0), ("publish-1024", 22.0)];

/// A bound and the measured figure.
pub struct Goal {
    /// The name of the figure.
    pub what: String,
    /// The bound, in words.
    pub bound: String,
    /// The figure, in words.
    pub measured: String,
    /// Whether the figure is within the bound.
    pub is_met: bool,
}

/// The bounds whose contestants ran.
pub fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (name, bound) in SPEED {
        goals.extend(beside_direct(results, name).map(|workload| speed(results, workload, bound)));
    }
    for (name, bound) in OWN_CPU {
        goals.extend(measured(results, name).map(|workload| own_cpu(results, workload, bound)));
    }
    for name in ["publish-64", "publish-256"] {
        goals.extend(beside_direct(results, name).map(|workload| broker_cpu(results, workload, 1.2)));
    }
    goals.extend(measured(results, "publish-64").into_iter().flat_map(|workload| peers(results, workload)));
    goals.extend(beside_direct(results, "publish-1").map(|workload| over_direct(results, workload, 40.0)));
    goals.extend(beside_direct(results, "rpc-64").map(|workload| calls(results, workload)));
    goals.extend(crowd(results));
    goals.extend(measured(results, "keys").into_iter().flat_map(|workload| keys(results, workload)));
    goals.extend(measured(results, "idle").map(|workload| idle(results, workload)));
    goals.extend(measured(results, "mixed").map(|workload| exact(results, workload)));
    goals.extend(poison(results));
    goals.extend(bulk::goals(results));
    goals.extend(consume::goals(results));
    goals
}

/// The workload with this name, if the gateway took part in it.
fn measured<'a>(results: &'a Results, name: &str) -> Option<&'a Workload> {
    results.workload(name).filter(|workload| workload.contestants.contains(&Contestant::Gateway))
}

/// The workload with this name, if both the gateway and AMQP directly took part in it.
fn beside_direct<'a>(results: &'a Results, name: &str) -> Option<&'a Workload> {
    measured(results, name).filter(|workload| workload.contestants.iter().any(|it| it.is_direct()))
}

fn at_least(what: impl Into<String>, bound: f64, measured: f64) -> Goal {
    let (bound_text, text) = (format!("≥ {bound:.2}"), format!("{measured:.2}"));
    Goal { what: what.into(), bound: bound_text, measured: text, is_met: measured >= bound }
}

fn at_most(what: impl Into<String>, bound: f64, unit: &str, measured: f64) -> Goal {
    let (bound_text, text) = (format!("≤ {bound}{unit}"), format!("{measured:.2}{unit}"));
    Goal { what: what.into(), bound: bound_text, measured: text, is_met: measured <= bound }
}

fn speed(results: &Results, workload: &Workload, bound: f64) -> Goal {
    let ratio = results.ratio(workload, GATEWAY, Sample::rate).median;
    let rate = if workload.traffic.operation.counts_messages() { "messages" } else { "requests" };
    at_least(format!("{}: {rate} a second, relative to AMQP directly", workload.title), bound, ratio)
}

fn own_cpu(results: &Results, workload: &Workload, bound: f64) -> Goal {
    let cpu = results.figure(workload, GATEWAY, |it| it.each(it.contestant_cpu)).median;
    at_most(format!("{}: the gateway's CPU a message", workload.title), bound, " µs", cpu)
}

fn broker_cpu(results: &Results, workload: &Workload, bound: f64) -> Goal {
    let ratio = results.ratio(workload, GATEWAY, |it| it.each(it.broker_cpu)).median;
    at_most(
        format!("{}: RabbitMQ's CPU a message, relative to AMQP directly", workload.title),
        bound,
        "",
        ratio,
    )
}

fn peers(results: &Results, workload: &Workload) -> Vec<Goal> {
    let all_cpu = |it: &Sample| it.each(it.contestant_cpu + it.broker_cpu);
    let median = |row, of: &dyn Fn(&Sample) -> f64| results.figure(workload, row, of).median;
    let is_peer = |row: &Row| matches!(row, Row::Of(contestant) if contestant.is_peer());
    let rows = Row::all(workload).into_iter().filter(is_peer);
    let goals = rows.flat_map(|row| {
        let name = row.title();
        let faster = median(GATEWAY, &Sample::rate) / median(row, &Sample::rate);
        let cheaper = median(GATEWAY, &all_cpu) / median(row, &all_cpu);
        [
            at_least(format!("Requests a second, relative to {name}"), 1.15, faster),
            at_most(format!("CPU a message with RabbitMQ's, relative to {name}"), 0.83, "", cheaper),
        ]
    });
    goals.collect()
}

#[expect(clippy::cast_precision_loss, reason = "a minute at the most")]
fn p50(sample: &Sample) -> f64 {
    sample.latency.p50 as f64
}

#[expect(clippy::cast_precision_loss, reason = "a minute at the most")]
fn p99(sample: &Sample) -> f64 {
    sample.latency.p99 as f64
}

/// The latency beside AMQP directly.
fn over_direct(results: &Results, workload: &Workload, bound: f64) -> Goal {
    let median = |row| results.figure(workload, row, p50).median;
    let over = median(GATEWAY) - median(Row::Limit);
    at_most(format!("{}: p50 minus that of AMQP directly", workload.title), bound, " µs", over)
}

fn calls(results: &Results, workload: &Workload) -> Goal {
    let ratio = results.ratio(workload, GATEWAY, p50).median;
    at_most("RPC, 64 callers: p50, relative to AMQP directly", 1.2, "", ratio)
}

fn crowd(results: &Results) -> Vec<Goal> {
    let (Some(some), Some(many)) = (measured(results, "publish-256"), measured(results, "publish-1024"))
    else {
        return Vec::new();
    };
    let rate = |workload| results.figure(workload, GATEWAY, Sample::rate).median;
    let memory = results.figure(many, GATEWAY, |it| mebibytes(it.peak_memory)).most;
    vec![
        at_least(
            "Publish, 1,024 callers: requests a second, relative to 256 callers",
            0.9,
            rate(many) / rate(some),
        ),
        at_most("Publish, 1,024 callers: peak RSS", 64.0, " MiB", memory),
    ]
}

/// The cost of API keys, permissions and fair shares.
fn keys(results: &Results, workload: &Workload) -> Vec<Goal> {
    let with_keys = Row::Of(Contestant::GatewayWithKeys);
    if !workload.contestants.contains(&Contestant::GatewayWithKeys) {
        return Vec::new();
    }
    let compare =
        |of: fn(&Sample, &Sample) -> f64| results.compare(workload, [with_keys, GATEWAY], of).median;
    let rate = compare(|with, without| with.rate() / without.rate());
    let more = compare(|with, without| with.each(with.contestant_cpu) - without.each(without.contestant_cpu));
    vec![
        at_least("Publish, 64 callers, API keys: requests a second, relative to none", 0.98, rate),
        at_most(
            "Publish, 64 callers, API keys: the gateway's CPU a message minus that without",
            1.5,
            " µs",
            more,
        ),
    ]
}

fn idle(results: &Results, workload: &Workload) -> Goal {
    let kibibytes =
        results.figure(workload, GATEWAY, |it| it.idle_connection.unwrap_or(f64::NAN) / 1024.0).median;
    at_most("10,000 idle connections: memory each", 16.0, " KiB", kibibytes)
}

fn exact(results: &Results, workload: &Workload) -> Goal {
    let sum =
        |of: fn(&Sample) -> u64| results.samples(workload, GATEWAY).values().map(|it| of(it)).sum::<u64>();
    let wrong =
        sum(|it| it.answers.wrong + it.answers.errors + it.held.unwrap_or(0).abs_diff(it.answers.confirmed));
    Goal {
        what: workload.title.clone(),
        bound: "0 wrong, failed or lost".to_owned(),
        measured: format!("{wrong} of {}", sum(|it| it.answers.all())),
        is_met: wrong == 0,
    }
}

fn poison(results: &Results) -> Vec<Goal> {
    let (Some(alone), Some(beside)) =
        (measured(results, "good-alone"), measured(results, "good-beside-poison"))
    else {
        return Vec::new();
    };
    let slower = results.figure(beside, GATEWAY, p99).median / results.figure(alone, GATEWAY, p99).median;
    let faults: u64 =
        results.samples(beside, GATEWAY).values().map(|it| it.answers.errors + it.answers.wrong).sum();
    vec![
        at_most("Good publishes beside bad ones: p99, relative to good ones alone", 1.5, "", slower),
        Goal {
            what: "Good publishes beside bad ones: errors".to_owned(),
            bound: "0".to_owned(),
            measured: faults.to_string(),
            is_met: faults == 0,
        },
    ]
}

#[cfg(test)]
mod tests;
