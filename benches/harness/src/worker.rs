//! One run, in a process of its own: connects, warms up, opens the window, closes it, and returns the results.
//!
//! Because the worker is a fresh process, AMQP directly is measured in the same way as the services.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::amqp::{Calling, Publisher, connect};
use crate::bulk::{self, long_stream};
use crate::consume::{drain, long_poll, waiting};
use crate::dialect::Requests;
use crate::http::{Connection, HttpCaller};
use crate::load;
use crate::recorder::{Answers, Recorder};
use crate::sample::Sample;
use crate::spec::{Operation, Pace, Spec, Style, Target, Traffic};
use crate::stall::Watch;
use crate::usage::{self, Spent};

/// The longest wait for the last answers after the window.
const LAST_ANSWERS: Duration = Duration::from_secs(30);
/// The longest duration of a run that counts requests.
const LONGEST_COUNT: Duration = Duration::from_mins(15);

/// Does the run.
///
/// # Errors
/// When a connection cannot be made or a measured process has ended. Bad answers are results.
pub fn run(mut spec: Spec) -> anyhow::Result<Sample> {
    let precise = std::fs::write("/proc/self/timerslack_ns", "1000");
    precise.context("asking for precise timers")?;
    let itself = i32::try_from(std::process::id())?;
    if matches!(spec.target, Target::Amqp { .. }) {
        spec.contestant = vec![itself];
    }
    runtime(&spec.target)?.block_on(async {
        match spec.traffic.operation {
            Operation::Idle => idle(&spec).await,
            Operation::LongStream => long_stream::measure(&spec, itself).await,
            Operation::Drain(_) | Operation::Settle | Operation::SettleElsewhere => {
                drain::measure(&spec, itself).await
            }
            Operation::LongPoll => long_poll::measure(&spec, itself).await,
            Operation::Waiting => waiting::measure(&spec, itself).await,
            Operation::Publish | Operation::Rpc | Operation::Batch | Operation::Stream => {
                measure(&spec, itself).await
            }
        }
    })
}

/// The load over HTTP has one thread: with more threads it would take the cores from the contestants.
fn runtime(target: &Target) -> anyhow::Result<Runtime> {
    let mut builder = match target {
        Target::Amqp { .. } => Builder::new_multi_thread(),
        Target::Http { .. } => Builder::new_current_thread(),
    };
    Ok(builder.enable_all().build()?)
}

async fn measure(spec: &Spec, itself: i32) -> anyhow::Result<Sample> {
    let watch = Watch::start();
    let recorder = Arc::new(Recorder::new(spec.traffic.pace)?);
    let mut callers = start(&spec.target, &spec.traffic, &recorder).await?;
    let beside = match &spec.beside {
        Some(traffic) => {
            let recorder = Arc::new(Recorder::new(traffic.pace)?);
            callers.extend(start(&spec.target, traffic, &recorder).await?);
            Some(recorder)
        }
        None => None,
    };
    tokio::time::sleep(spec.warmup).await;
    usage::forget_peaks(&spec.contestant)?;
    recorder.open();
    let before = Spent::now(spec, itself)?;
    if let Pace::Count(_) = spec.traffic.pace {
        join(&mut callers, LONGEST_COUNT).await?;
    } else {
        tokio::time::sleep(spec.window).await;
    }
    let after = Spent::now(spec, itself)?;
    for recorder in beside.iter().chain([&recorder]) {
        recorder.close();
    }
    join(&mut callers, LAST_ANSWERS).await?;
    Ok(Sample {
        peak_memory: usage::peak_memory(&spec.contestant)?,
        stall: watch.longest(),
        beside: beside.map(|recorder| recorder.results().1),
        ..Sample::of_window(&recorder, &before, &after)
    })
}

async fn start(
    target: &Target,
    traffic: &Traffic,
    recorder: &Arc<Recorder>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    if matches!(traffic.operation, Operation::Batch | Operation::Stream) {
        return bulk::start(target, traffic, recorder).await;
    }
    match target {
        Target::Http { address, dialect, key } => {
            let mut callers = Vec::with_capacity(traffic.callers);
            for caller in 0..traffic.callers {
                let requests = Requests::new((*dialect, key.as_deref()), traffic, caller);
                callers.push(HttpCaller::connect(address, requests).await?);
            }
            Ok(load::start(callers, traffic, Style::Tasks, recorder))
        }
        Target::Amqp { url, style } => {
            let connection = connect(url).await?;
            Ok(match traffic.operation {
                Operation::Rpc => {
                    load::start(Calling::all(&connection, traffic).await?, traffic, *style, recorder)
                }
                _ => load::start(Publisher::all(&connection, traffic).await?, traffic, *style, recorder),
            })
        }
    }
}

async fn join(callers: &mut Vec<JoinHandle<()>>, patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    for caller in callers.drain(..) {
        timeout_at(deadline, caller).await.context("the callers did not end in time")??;
    }
    Ok(())
}

/// Opens the connections, asks for the health of the service once on each, and compares its memory before and after.
async fn idle(spec: &Spec) -> anyhow::Result<Sample> {
    const REQUEST: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let Target::Http { address, .. } = &spec.target else {
        anyhow::bail!("connections are idle over HTTP only")
    };
    let before = usage::memory(&spec.contestant)?;
    let mut connections = Vec::with_capacity(spec.traffic.callers);
    let mut answers = Answers::default();
    for _ in 0..spec.traffic.callers {
        let mut connection = Connection::open(address).await?;
        let status = connection.exchange(REQUEST).await?.status;
        answers.errors += u64::from(status != 200);
        connections.push(connection);
    }
    tokio::time::sleep(spec.window).await;
    let grown = usage::memory(&spec.contestant)?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
    let each = grown as f64 / connections.len() as f64;
    let peak_memory = usage::peak_memory(&spec.contestant)?;
    Ok(Sample { peak_memory, answers, idle_connection: Some(each), ..Sample::default() })
}
