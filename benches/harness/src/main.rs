//! The load harness of `make bench`: see `benches/README.md`.
//!
//! `bench` is the parent; each run is done by a `worker` process of its own, calls are answered by `echo`, and tables
//! and plots come from `report`, which needs nothing but the results that are kept.

mod amqp;
mod bench;
mod broker;
mod contestant;
mod dialect;
mod echo;
mod goals;
mod http;
mod load;
mod machine;
mod plan;
mod plots;
mod process;
mod recorder;
mod report;
mod results;
mod spec;
mod stall;
mod usage;
mod worker;

use std::fs;
use std::io::{stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::plan::Plan;
use crate::results::Results;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load harness of the gateway. Run it by `scripts/bench`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the benchmark.
    Bench(Choice),
    /// Write tables and plots anew from results.json.
    Report {
        /// The folder of the results.
        folder: PathBuf,
    },
    /// Do one run, told on standard input.
    #[command(hide = true)]
    Worker,
    /// Answer calls.
    #[command(hide = true)]
    Echo {
        /// Address of the broker.
        url: String,
    },
}

/// What to run.
#[derive(Args)]
struct Choice {
    /// The core, in two minutes.
    #[arg(long)]
    quick: bool,
    /// Only workloads whose name begins so; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// How often each contestant has its turn.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of a window.
    #[arg(long)]
    seconds: Option<f64>,
    /// Where the results go.
    #[arg(long, default_value = "target/bench/results")]
    out: PathBuf,
}

impl Choice {
    fn plan(&self) -> anyhow::Result<Plan> {
        let mut plan = if self.quick { Plan::quick() } else { Plan::full() };
        let is_wanted =
            |name: &str| self.only.is_empty() || self.only.iter().any(|only| name.starts_with(only));
        plan.workloads.retain(|workload| is_wanted(&workload.name));
        ensure!(!plan.workloads.is_empty(), "no workload is called that");
        plan.rounds = self.rounds.unwrap_or(plan.rounds);
        plan.window = self.seconds.map_or(plan.window, Duration::from_secs_f64);
        Ok(plan)
    }
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Task::Bench(choice) => runtime()?.block_on(bench(&choice)),
        Task::Report { folder } => report::write(&folder),
        Task::Worker => {
            Ok(serde_json::to_writer(stdout(), &worker::run(serde_json::from_reader(stdin())?)?)?)
        }
        Task::Echo { url } => runtime()?.block_on(echo::serve(&url)),
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build()
}

/// A signal ends it as an error does: what was started is stopped when it is dropped.
async fn bench(choice: &Choice) -> anyhow::Result<()> {
    let plan = choice.plan()?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let results = tokio::select! {
        results = bench::run(plan) => results?,
        _ = terminated.recv() => bail!("stopped"),
        _ = interrupted.recv() => bail!("stopped"),
    };
    keep(&results, &choice.out)?;
    report::write(&choice.out)
}

fn keep(results: &Results, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("results.json"), serde_json::to_vec(results)?)?)
}
