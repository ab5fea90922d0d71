//! Tables, in Markdown.

mod sections;

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::contestant::Contestant;
use crate::goals::goals;
use crate::machine::Machine;
use crate::plan::Workload;
use crate::plots;
use crate::results::{Results, Row, Spread, mebibytes, millis};
use crate::sample::Sample;

/// The folder whose results the documentation shows.
const SHOWN: &str = "benches";

/// Writes `RESULTS.md` and the plots from the `results.json` in a folder.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    let file = folder.join("results.json");
    let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let results: Results = serde_json::from_slice(&text)?;
    fs::write(folder.join("RESULTS.md"), document(&results))?;
    plots::draw(&results, folder)?;
    if folder == Path::new(SHOWN) {
        sections::write(&results)?;
    }
    Ok(())
}

fn document(results: &Results) -> String {
    let mut parts = vec![heading(results)];
    parts.extend(goal_table(results));
    for workload in &results.plan.workloads {
        parts.push(format!("## {}\n\n{}", workload.title, table(results, workload)));
    }
    parts.join("\n")
}

fn heading(results: &Results) -> String {
    let Machine { cpu, kernel, memory, load_before, commit, versions } = &results.machine;
    let versions: Vec<_> =
        versions.iter().map(|(name, version)| format!("{name} {version}").trim().to_owned()).collect();
    let plan = &results.plan;
    format!(
        "# Results\n\nWritten by `make bench`; [README.md](README.md) says how to read them. Medians over {} rounds, in \
         brackets the least and the most; each run {} s after a warm-up of {} s; {:.0} minutes in all; {} runs were \
         repeated because the machine stalled, {} because they gave no figures.\n\n\
         Machine: {cpu}, {memory} GiB, Linux {kernel}, load before the first run {load_before}. Commit {commit}. \
         Load generator, contestants and broker share the cores.\n\n{}.\n",
        plan.rounds,
        plan.window.as_secs_f64(),
        plan.warmup.as_secs_f64(),
        results.minutes,
        results.repeated.stalled,
        results.repeated.failed.len(),
        versions.join("; "),
    )
}

fn goal_table(results: &Results) -> Option<String> {
    let rows: Vec<_> = goals(results)
        .iter()
        .map(|goal| {
            let verdict = if goal.is_met { "yes" } else { "**no**" };
            format!("| {} | {} | {} | {verdict} |\n", goal.what, goal.bound, goal.measured)
        })
        .collect();
    let head = "## Bounds\n\n| | Bound | Measured | Met |\n|---|---|---|---|\n";
    (!rows.is_empty()).then(|| [head, &rows.concat()].concat())
}

fn table(results: &Results, workload: &Workload) -> String {
    let rate = if workload.traffic.operation.counts_messages() { "messages/s" } else { "req/s" };
    let head = format!(
        "| | {rate} | of the limit | p50 ms | p90 | p99 | p99.9 | own CPU µs | broker CPU µs | peak RSS MiB | errors | wrong \
         | lost |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    let rows: Vec<_> = Row::all(workload).into_iter().map(|row| line(results, workload, row)).collect();
    [head, rows.concat()].concat()
}

fn line(results: &Results, workload: &Workload, row: Row) -> String {
    let figure = |of: fn(&Sample) -> f64| results.figure(workload, row, of);
    let rate = figure(Sample::rate);
    let ratio = results.ratio(workload, row, Sample::rate);
    let samples = results.samples(workload, row);
    let sum = |of: fn(&Sample) -> u64| samples.values().map(|sample| of(sample)).sum::<u64>();
    let own = |cell| if is_the_broker(row) { "–".to_owned() } else { cell };
    let cells = [
        row.title().to_owned(),
        spread(rate, 0),
        spread(ratio, 2),
        short(figure(|it| millis(it.latency.p50)), 2),
        short(figure(|it| millis(it.latency.p90)), 2),
        short(figure(|it| millis(it.latency.p99)), 2),
        short(figure(|it| millis(it.latency.p999)), 2),
        micros_a_message(results, workload, row),
        short(figure(|it| it.each(it.broker_cpu)), 1),
        own(short(figure(|it| mebibytes(it.peak_memory)), 0)),
        sum(|it| it.answers.errors).to_string(),
        sum(|it| it.answers.wrong).to_string(),
        sum(lost).to_string(),
    ];
    format!("| {} |\n", cells.join(" | "))
}

/// The management API is RabbitMQ's own process.
fn is_the_broker(row: Row) -> bool {
    row == Row::Of(Contestant::Management)
}

/// A contestant's own CPU for a message, in microseconds.
fn micros_a_message(results: &Results, workload: &Workload, row: Row) -> String {
    if is_the_broker(row) {
        return "–".to_owned();
    }
    short(results.figure(workload, row, |it| it.each(it.contestant_cpu)), 1)
}

/// Messages that were answered as confirmed, and are not in the queue.
pub fn lost(sample: &Sample) -> u64 {
    sample.held.map_or(0, |held| sample.answers.confirmed.saturating_sub(held))
}

fn short(figure: Spread, digits: usize) -> String {
    if figure.median.is_finite() { format!("{:.digits$}", figure.median) } else { "–".to_owned() }
}

fn spread(figure: Spread, digits: usize) -> String {
    let Spread { median, least, most } = figure;
    if median.is_finite() {
        format!("{median:.digits$} ({least:.digits$}–{most:.digits$})")
    } else {
        "–".to_owned()
    }
}
