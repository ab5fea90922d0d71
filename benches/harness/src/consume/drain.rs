//! Workers that take and ack every message of a full queue. Nothing is published meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::direct::{self, Consuming};
use super::ledger::Ledger;
use super::puller::Puller;
use crate::amqp::connect;
use crate::recorder::{Answer, Recorder};
use crate::sample::Sample;
use crate::spec::{Ask, Operation, Pace, Spec, Target};
use crate::stall::Watch;
use crate::usage::{self, Spent};

/// How long a worker waits for messages; none come when others hold the last ones.
const WAIT: Duration = Duration::from_millis(500);
/// The longest duration of a run.
const LONGEST: Duration = Duration::from_mins(5);

/// Does the run. Its window is the time from the end of the warm-up to the last ack.
///
/// # Errors
/// When a message is not acked exactly once, or an answer is not the right one.
pub async fn measure(spec: &Spec, itself: i32) -> anyhow::Result<Sample> {
    let Pace::Count(count) = spec.traffic.pace else { bail!("a full queue has a number of messages") };
    let watch = Watch::start();
    let recorder = Arc::new(Recorder::new(Pace::Closed)?);
    let ledger = Arc::new(Ledger::new(usize::try_from(count)?));
    let mut workers = start(spec, &ledger, &recorder).await?;
    until(&ledger.warm, &mut workers).await?;
    usage::forget_peaks(&spec.contestant)?;
    recorder.open();
    let before = Spent::now(spec, itself)?;
    until(&ledger.complete, &mut workers).await?;
    recorder.close();
    let after = Spent::now(spec, itself)?;
    let peak_memory = usage::peak_memory(&spec.contestant)?;
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(Sample { peak_memory, stall: watch.longest(), ..Sample::of_window(&recorder, &before, &after) })
}

type Workers = JoinSet<anyhow::Result<()>>;

async fn start(spec: &Spec, ledger: &Arc<Ledger>, recorder: &Arc<Recorder>) -> anyhow::Result<Workers> {
    let mut workers = Workers::new();
    let (traffic, other) = (&spec.traffic, spec.other.as_deref());
    match &spec.target {
        Target::Amqp { url, .. } => {
            let connection = connect(url).await?;
            let consuming = Consuming::start(&connection, traffic.queue).await?;
            let draining = direct::drain(consuming, Arc::clone(ledger), Arc::clone(recorder));
            workers.spawn(async move {
                let drained = draining.await;
                connection.close(200, "done".into()).await?;
                drained
            });
        }
        Target::Http { address, .. } => {
            let (max, is_whole) = match traffic.operation {
                Operation::Drain(max) => (max, true),
                _ => (1, false),
            };
            for _ in 0..traffic.callers {
                let puller = Puller::connect(address, other, traffic.queue, max, WAIT).await?;
                workers.spawn(drain(puller, is_whole, Arc::clone(ledger), Arc::clone(recorder)));
            }
        }
    }
    Ok(workers)
}

/// One worker. The latency of a message counts from its pull, or from its ack alone, until the answer to its ack.
async fn drain(
    mut puller: Puller,
    is_whole: bool,
    ledger: Arc<Ledger>,
    recorder: Arc<Recorder>,
) -> anyhow::Result<()> {
    while !ledger.is_complete() {
        let begun = Instant::now();
        let messages = puller.pull().await?;
        if messages.is_empty() {
            continue;
        }
        let begun = if is_whole { begun } else { Instant::now() };
        puller.ack(&messages).await?;
        for message in &messages {
            recorder.note(begun, Ask::Routed, &Answer::Confirmed);
            ledger.ack(message.number)?;
        }
    }
    Ok(())
}

/// Waits for a moment of the run. A worker that fails ends the run.
async fn until(moment: &Notify, workers: &mut Workers) -> anyhow::Result<()> {
    let failure = async {
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        // All workers have ended well, so the moment has come.
        std::future::pending().await
    };
    let waiting = async {
        tokio::select! {
            biased;
            () = moment.notified() => Ok(()),
            failed = failure => failed,
        }
    };
    timeout(LONGEST, waiting).await.context("the queue was not drained in time")?
}
