//! What the gateway must show, each bound beside what was measured. Ratios are of the same round, then the median.

use crate::contestant::Contestant;
use crate::plan::Workload;
use crate::report::mebibytes;
use crate::results::{Results, Row};
use crate::worker::Sample;

const GATEWAY: Row = Row::Of(Contestant::Gateway);

/// A bound and a figure.
pub struct Goal {
    /// What is bounded.
    pub what: String,
    /// The bound, in words.
    pub bound: String,
    /// The figure, in words.
    pub measured: String,
    /// Whether it is within.
    pub is_met: bool,
}

/// Those of which something was measured.
pub fn goals(results: &Results) -> Vec<Goal> {
    let mut goals = Vec::new();
    for name in ["publish-64", "publish-256"] {
        goals.extend(results.workload(name).into_iter().flat_map(|workload| speed(results, workload)));
    }
    goals.extend(results.workload("publish-64").into_iter().flat_map(|workload| peers(results, workload)));
    goals.extend(results.workload("publish-1").map(|workload| lone_caller(results, workload)));
    goals.extend(results.workload("rpc-64").into_iter().flat_map(|workload| calls(results, workload)));
    goals.extend(crowd(results));
    goals.extend(results.workload("idle").map(|workload| idle(results, workload)));
    goals.extend(results.workload("mixed").map(|workload| exact(results, workload)));
    goals.extend(poison(results));
    goals
}

fn at_least(what: impl Into<String>, bound: f64, measured: f64) -> Goal {
    let (bound_text, text) = (format!("≥ {bound}"), format!("{measured:.2}"));
    Goal { what: what.into(), bound: bound_text, measured: text, is_met: measured >= bound }
}

fn at_most(what: impl Into<String>, bound: f64, unit: &str, measured: f64) -> Goal {
    let (bound_text, text) = (format!("≤ {bound}{unit}"), format!("{measured:.2}{unit}"));
    Goal { what: what.into(), bound: bound_text, measured: text, is_met: measured <= bound }
}

fn speed(results: &Results, workload: &Workload) -> [Goal; 3] {
    let ratio = |of: fn(&Sample) -> f64| results.ratio(workload, GATEWAY, of).median;
    let cpu = results.figure(workload, GATEWAY, |it| it.each(it.contestant_cpu)).median;
    let title = &workload.title;
    [
        at_least(format!("{title}: requests a second, of the limit"), 0.85, ratio(Sample::rate)),
        at_most(format!("{title}: the gateway's CPU a message"), 25.0, " µs", cpu),
        at_most(
            format!("{title}: the broker's CPU a message, of the limit's"),
            1.2,
            "",
            ratio(|it| it.each(it.broker_cpu)),
        ),
    ]
}

fn peers(results: &Results, workload: &Workload) -> Vec<Goal> {
    let all_cpu = |it: &Sample| it.each(it.contestant_cpu + it.broker_cpu);
    let median = |row, of: &dyn Fn(&Sample) -> f64| results.figure(workload, row, of).median;
    let is_peer = |row: &Row| matches!(row, Row::Of(contestant) if contestant.is_peer());
    let rows = Row::all(workload).into_iter().filter(is_peer);
    let ahead = rows.flat_map(|row| {
        let name = row.title();
        let faster = median(GATEWAY, &Sample::rate) / median(row, &Sample::rate);
        let cheaper = median(GATEWAY, &all_cpu) / median(row, &all_cpu);
        [
            at_least(format!("Requests a second, of {name}"), 1.0, faster),
            at_most(format!("CPU a message with the broker's, of {name}"), 1.0, "", cheaper),
        ]
    });
    ahead.collect()
}

#[expect(clippy::cast_precision_loss, reason = "a minute at the most")]
fn p50(sample: &Sample) -> f64 {
    sample.latency.p50 as f64
}

#[expect(clippy::cast_precision_loss, reason = "a minute at the most")]
fn p99(sample: &Sample) -> f64 {
    sample.latency.p99 as f64
}

fn lone_caller(results: &Results, workload: &Workload) -> Goal {
    let over =
        results.figure(workload, GATEWAY, p50).median - results.figure(workload, Row::Limit, p50).median;
    at_most("Publish, 1 caller: p50 over the limit's", 100.0, " µs", over)
}

fn calls(results: &Results, workload: &Workload) -> [Goal; 2] {
    let ratio = |of: fn(&Sample) -> f64| results.ratio(workload, GATEWAY, of).median;
    [
        at_least("RPC, 64 callers: calls a second, of AMQP directly", 0.6, ratio(Sample::rate)),
        at_most("RPC, 64 callers: p50, of AMQP directly", 1.25, "", ratio(p50)),
    ]
}

fn crowd(results: &Results) -> Vec<Goal> {
    let (Some(some), Some(many)) = (results.workload("publish-256"), results.workload("publish-1024")) else {
        return Vec::new();
    };
    let rate = |workload| results.figure(workload, GATEWAY, Sample::rate).median;
    let memory = results.figure(many, GATEWAY, |it| mebibytes(it.peak_memory)).most;
    vec![
        at_least("Publish, 1,024 callers: requests a second, of those at 256", 0.9, rate(many) / rate(some)),
        at_most("Publish, 1,024 callers: peak RSS", 96.0, " MiB", memory),
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
        (results.workload("good-alone"), results.workload("good-beside-poison"))
    else {
        return Vec::new();
    };
    let slower = results.figure(beside, GATEWAY, p99).median / results.figure(alone, GATEWAY, p99).median;
    let faults: u64 =
        results.samples(beside, GATEWAY).values().map(|it| it.answers.errors + it.answers.wrong).sum();
    vec![
        at_most("Good publishes beside bad ones: p99, of that alone", 1.5, "", slower),
        Goal {
            what: "Good publishes beside bad ones: errors".to_owned(),
            bound: "0".to_owned(),
            measured: faults.to_string(),
            is_met: faults == 0,
        },
    ]
}
