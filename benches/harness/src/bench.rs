//! The benchmark runs in rounds. In each round the contestants take turns, and each run has a fresh process and an empty queue.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::broker::Broker;
use crate::contestant::{Contestant, Started};
use crate::machine::Machine;
use crate::plan::{Plan, Workload};
use crate::process::{Running, command};
use crate::results::{Repeated, Results, Run, mebibytes};
use crate::sample::{Sample, Waiting};
use crate::spec::{Operation, Pace, Spec, Target};
use crate::stall;
use crate::usage;

/// A machine that stalls more often is not fit for a benchmark.
const MOST_STALLS: usize = 40;
/// The log of another replica.
const OTHER: &str = "other-replica";
/// More failures than this are not by chance.
const MOST_FAILURES: usize = 5;

/// Runs a plan, and prints its progress.
///
/// # Errors
/// When a contestant does not start or ends too early, or RabbitMQ fails. Bad answers are results.
pub async fn run(plan: Plan) -> anyhow::Result<Results> {
    let begun = Instant::now();
    let broker = Broker::start("broker", "").await?;
    broker.declare().await?;
    let machine = Machine::look(&broker).await?;
    let echo = start_echo(&broker)?;
    let mut runs = Vec::new();
    let mut repeated = Repeated::default();
    for round in 0..plan.rounds {
        for workload in plan.workloads.iter().filter(|workload| round == 0 || !workload.once) {
            for contestant in turns(workload, round) {
                let sample = undisturbed(round, contestant, workload, &plan, &broker, &mut repeated).await;
                let sample = sample.with_context(|| format!("{}: {}", workload.title, contestant.title()))?;
                runs.push(Run { round, workload: workload.name.clone(), contestant, sample });
            }
        }
    }
    echo.stop().await;
    Ok(Results { machine, plan, repeated, minutes: begun.elapsed().as_secs_f64() / 60.0, runs })
}

/// A turn that came to its end, and during which the machine did not stall.
async fn undisturbed(
    round: usize,
    contestant: Contestant,
    workload: &Workload,
    plan: &Plan,
    broker: &Broker,
    repeated: &mut Repeated,
) -> anyhow::Result<Sample> {
    loop {
        match turn(contestant, workload, plan, broker).await {
            Ok(sample) => {
                tell(round, workload, contestant, &sample);
                if sample.stall < stall::TOO_LONG || repeated.stalled == MOST_STALLS {
                    return Ok(sample);
                }
                repeated.stalled += 1;
            }
            Err(error) if repeated.failed.len() == MOST_FAILURES => return Err(error),
            Err(error) => {
                let failure = format!("{}, {}: {error:#}", workload.title, contestant.title());
                tell_failure(&failure);
                repeated.failed.push(failure);
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "progress, for the person who waits")]
fn tell_failure(failure: &str) {
    eprintln!("failed, runs again: {failure}");
}

/// Each round begins with the next contestant, so that no contestant always runs after the same one.
fn turns(workload: &Workload, round: usize) -> Vec<Contestant> {
    let mut turns = workload.contestants.clone();
    turns.rotate_left(round % workload.contestants.len());
    turns
}

/// The management API has a node of its own: its plugin costs RabbitMQ more CPU, which would affect the other contestants.
async fn turn(
    contestant: Contestant,
    workload: &Workload,
    plan: &Plan,
    broker: &Broker,
) -> anyhow::Result<Sample> {
    if contestant == Contestant::Management {
        let with_plugin = Broker::start("management", "rabbitmq_management").await?;
        with_plugin.declare().await?;
        return run_once(contestant, workload, plan, &with_plugin).await;
    }
    run_once(contestant, workload, plan, broker).await
}

async fn run_once(
    contestant: Contestant,
    workload: &Workload,
    plan: &Plan,
    broker: &Broker,
) -> anyhow::Result<Sample> {
    let traffic = &workload.traffic;
    let start = |log| contestant.start(broker, plan.before.as_deref(), log);
    let started = start(contestant.name()).await?;
    let other = match traffic.operation {
        Operation::SettleElsewhere => Some(start(OTHER).await?),
        _ => None,
    };
    let mut processes: Vec<_> = started.process.into_iter().collect();
    let other = other.and_then(|Started { target, process }| {
        processes.extend(process);
        if let Target::Http { address, .. } = target { Some(address) } else { None }
    });
    if let (true, Pace::Count(count)) = (traffic.operation.drains_the_queue(), traffic.pace) {
        broker.fill(traffic, count).await?;
    }
    let leaders = processes.iter().map(Running::leader).chain([broker.leader()]);
    usage::rest(&leaders.collect::<Vec<_>>()).await?;
    let watched = processes.iter().map(|process| usage::group(process.leader()));
    let spec = Spec {
        target: started.target,
        traffic: traffic.clone(),
        beside: workload.beside.clone(),
        other,
        broker_url: broker.url().to_owned(),
        contestant: watched.collect::<anyhow::Result<Vec<_>>>()?.concat(),
        broker: broker.processes()?,
        warmup: plan.warmup,
        window: plan.window,
    };
    let mut sample = work(&spec).await?;
    for process in processes {
        process.stop().await;
    }
    let held = broker.purge(traffic.queue).await?;
    sample.held = traffic.operation.fills_the_queue().then_some(held);
    ensure!(held == 0 || !traffic.operation.drains_the_queue(), "{held} messages were left in the queue");
    Ok(sample)
}

/// A worker process does the run.
async fn work(spec: &Spec) -> anyhow::Result<Sample> {
    let mut worker = Command::new(std::env::current_exe()?)
        .arg("worker")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = worker.stdin.take().context("the worker has no input")?;
    input.write_all(&serde_json::to_vec(spec)?).await?;
    drop(input);
    let output = worker.wait_with_output().await?;
    if !output.status.success() {
        bail!("the worker failed: {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn start_echo(broker: &Broker) -> anyhow::Result<Running> {
    Running::start("echo", command(std::env::current_exe()?, &[]).args(["echo", broker.url()]))
}

#[expect(clippy::print_stderr, reason = "progress, for the person who waits")]
fn tell(round: usize, workload: &Workload, contestant: Contestant, sample: &Sample) {
    let figure = match (sample.idle_connection, sample.stream_memory, sample.waiting) {
        (Some(bytes), ..) => format!("{bytes:8.0} B each"),
        (_, Some([early, last]), _) => {
            let (early, last) = (mebibytes(early), mebibytes(last));
            format!("{:8.0}/s  RSS {early:.1} MiB, then {last:.1} MiB", sample.rate())
        }
        (.., Some(Waiting { memory, cpu })) => {
            format!("{:8.0}/s  {memory:.0} B each, {:.2} % of a core", sample.rate(), 100.0 * cpu)
        }
        (None, None, None) => format!(
            "{:8.0}/s  p50 {:6} µs  p99 {:6} µs",
            sample.rate(),
            sample.latency.p50,
            sample.latency.p99
        ),
    };
    let answers = &sample.answers;
    let faults = match &answers.first_fault {
        Some(fault) => format!("  {} errors, {} wrong: {fault:.120}", answers.errors, answers.wrong),
        None => String::new(),
    };
    let stall = if sample.stall < stall::TOO_LONG {
        String::new()
    } else {
        format!("  the machine stalled for {:.1} s", sample.stall.as_secs_f64())
    };
    eprintln!("round {}  {:22} {:32} {figure}{faults}{stall}", round + 1, workload.name, contestant.title());
}
