//! The load harness of `make bench`: see `benches/README.md`.
//!
//! `bench` is the parent; a `worker` process does each run, `echo` answers calls, and `report` writes tables and plots from the
//! stored results alone.

mod amqp;
mod bench;
mod broker;
mod bulk;
mod choice;
mod consume;
mod contestant;
mod contract;
mod dialect;
mod echo;
mod goals;
mod http;
mod keys;
mod load;
mod machine;
mod plan;
mod plots;
mod process;
mod recorder;
mod report;
mod results;
mod sample;
mod spec;
mod stall;
mod usage;
mod worker;

use std::fs;
use std::io::{Write, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::choice::Choice;
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
    Bench {
        #[command(flatten)]
        choice: Choice,
        /// The folder of the results.
        #[arg(long, default_value = "target/bench/results")]
        out: PathBuf,
        /// List the chosen workloads and their contestants, and run nothing.
        #[arg(long)]
        list: bool,
    },
    /// Write tables and plots again from results.json.
    Report {
        /// The folder of the results.
        folder: PathBuf,
    },
    /// Do one run, described on standard input.
    #[command(hide = true)]
    Worker,
    /// Answer calls.
    #[command(hide = true)]
    Echo {
        /// Address of RabbitMQ.
        url: String,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Task::Bench { choice, list: true, .. } => Ok(write!(stdout(), "{}", choice.plan()?)?),
        Task::Bench { choice, out, .. } => runtime()?.block_on(bench(choice.plan()?, &out)),
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

/// A signal ends the benchmark as an error does: all processes that it started are stopped when they are dropped.
async fn bench(plan: Plan, out: &Path) -> anyhow::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let results = tokio::select! {
        results = bench::run(plan) => results?,
        _ = terminated.recv() => bail!("stopped"),
        _ = interrupted.recv() => bail!("stopped"),
    };
    keep(&results, out)?;
    report::write(out)
}

fn keep(results: &Results, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join("results.json"), serde_json::to_vec(results)?)?)
}
