//! A message is published while a caller waits for it. Latency counts from the publish until the caller has the message.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::time::{sleep, timeout};

use super::direct::Consuming;
use super::puller::Puller;
use crate::amqp::{Publisher, connect};
use crate::load::PATIENCE;
use crate::recorder::{Answer, Recorder};
use crate::sample::Sample;
use crate::spec::{Ask, Pace, Spec, Target};
use crate::stall::Watch;
use crate::usage::{self, Spent};

/// How long a caller has waited before the message is published. A pull is certain to have its consumer by then.
const BEFORE: Duration = Duration::from_millis(5);
/// The longest wait of a pull, longer than any of this workload.
const WAIT: Duration = Duration::from_secs(20);

/// Does the run.
///
/// # Errors
/// When a message is not the one that was published, or an answer is not the right one.
pub async fn measure(spec: &Spec, itself: i32) -> anyhow::Result<Sample> {
    let watch = Watch::start();
    let connection = connect(&spec.broker_url).await?;
    let publisher = Publisher::alone(&connection, &spec.traffic).await?;
    let queue = spec.traffic.queue;
    let mut caller = match &spec.target {
        Target::Amqp { .. } => Caller::Direct(Consuming::start(&connection, queue).await?),
        Target::Http { address, .. } => Caller::Pulls(Puller::connect(address, None, queue, 1, WAIT).await?),
    };
    let recorder = Recorder::new(Pace::Closed)?;
    let mut number = 0;
    let ends = Instant::now() + spec.warmup;
    while Instant::now() < ends {
        caller.receive(&publisher, &mut number, &recorder).await?;
    }
    usage::forget_peaks(&spec.contestant)?;
    recorder.open();
    let before = Spent::now(spec, itself)?;
    let ends = Instant::now() + spec.window;
    while Instant::now() < ends {
        caller.receive(&publisher, &mut number, &recorder).await?;
    }
    recorder.close();
    let after = Spent::now(spec, itself)?;
    caller.close().await?;
    let peak_memory = usage::peak_memory(&spec.contestant)?;
    Ok(Sample { peak_memory, stall: watch.longest(), ..Sample::of_window(&recorder, &before, &after) })
}

/// A caller who waits for messages.
enum Caller {
    Direct(Consuming),
    Pulls(Puller),
}

impl Caller {
    /// Receives a message that is published while the caller waits, and acks it.
    async fn receive(
        &mut self,
        publisher: &Publisher,
        number: &mut u64,
        recorder: &Recorder,
    ) -> anyhow::Result<()> {
        *number += 1;
        let publish = async {
            sleep(BEFORE).await;
            let begun = Instant::now();
            let _confirm = publisher.send_numbered(*number).await?;
            Ok::<_, anyhow::Error>(begun)
        };
        let receive = timeout(PATIENCE, self.take(recorder, publish)).await.context("a message");
        let received = receive??;
        ensure!(received == *number, "message {received} came in place of {number}");
        Ok(())
    }

    /// Returns the number of the message.
    async fn take(
        &mut self,
        recorder: &Recorder,
        publish: impl Future<Output = anyhow::Result<Instant>>,
    ) -> anyhow::Result<u64> {
        let note = |begun| recorder.note(begun, Ask::Routed, &Answer::Confirmed);
        match self {
            Self::Direct(consuming) => {
                let (begun, (number, tag)) = tokio::try_join!(publish, consuming.next())?;
                note(begun);
                consuming.ack(tag).await?;
                Ok(number)
            }
            Self::Pulls(puller) => {
                let (begun, messages) = tokio::try_join!(publish, puller.pull())?;
                note(begun);
                puller.ack(&messages).await?;
                messages.first().map(|message| message.number).context("a pull without a message")
            }
        }
    }

    async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Direct(consuming) => consuming.close().await,
            Self::Pulls(_) => Ok(()),
        }
    }
}
