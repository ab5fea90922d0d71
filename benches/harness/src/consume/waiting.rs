//! Very many callers wait for messages of one empty queue: their cost while they wait, and whether each gets a message in the end.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lapin::Connection as AmqpConnection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::puller::{pull_request, taken};
use crate::amqp::{Publisher, connect};
use crate::http::Connection;
use crate::recorder::Answers;
use crate::sample::{Sample, Waiting};
use crate::spec::{Queue, Spec, Target};
use crate::stall::Watch;
use crate::usage::{self, Spent, cpu, memory};

/// The wait of each pull, longer than the run.
const WAIT: Duration = Duration::from_mins(1);
/// How long all have waited before their memory is read.
const SETTLED: Duration = Duration::from_secs(5);
/// The time in which CPU is measured.
const WATCHED: Duration = Duration::from_secs(10);
/// The longest time until each caller has a message.
const PATIENCE: Duration = Duration::from_secs(20);

type Callers = JoinSet<anyhow::Result<u64>>;

/// Does the run. Its rate and CPU are those of the messages to the callers in the end.
///
/// # Errors
/// When a caller is answered too early or does not get a message of its own, or RabbitMQ does not have exactly one consumer.
pub async fn measure(spec: &Spec, itself: i32) -> anyhow::Result<Sample> {
    let Target::Http { address, .. } = &spec.target else { bail!("callers wait over HTTP only") };
    let watch = Watch::start();
    let (traffic, broker) = (&spec.traffic, connect(&spec.broker_url).await?);
    let empty = memory(&spec.contestant)?;
    let mut callers = start(address, traffic.queue, traffic.callers).await?;
    sleep(SETTLED).await;
    let grown = memory(&spec.contestant)?.saturating_sub(empty);
    let spent = cpu(&spec.contestant)?;
    sleep(WATCHED).await;
    let spent = cpu(&spec.contestant)?.saturating_sub(spent);
    ensure!(callers.try_join_next().is_none(), "a caller was answered before there was a message");
    let consumers = consumers(&broker, traffic.queue).await?;
    ensure!(consumers == 1, "RabbitMQ has {consumers} consumers");
    let (begun, before) = (Instant::now(), Spent::now(spec, itself)?);
    publish(&Publisher::alone(&broker, traffic).await?, traffic.callers).await?;
    timeout(PATIENCE, each_gets_its_own(&mut callers)).await.context("messages for all callers")??;
    let (seconds, after) = (begun.elapsed().as_secs_f64(), Spent::now(spec, itself)?);
    let confirmed = traffic.callers as u64;
    Ok(Sample {
        requests: confirmed,
        seconds,
        contestant_cpu: after.contestant - before.contestant,
        broker_cpu: after.broker - before.broker,
        load_cpu: after.load - before.load,
        peak_memory: usage::peak_memory(&spec.contestant)?,
        answers: Answers { confirmed, ..Answers::default() },
        waiting: Some(waiting(grown, traffic.callers, spent)),
        stall: watch.longest(),
        ..Sample::default()
    })
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn waiting(grown: u64, callers: usize, spent: Duration) -> Waiting {
    Waiting { memory: grown as f64 / callers as f64, cpu: spent.as_secs_f64() / WATCHED.as_secs_f64() }
}

/// Callers with a connection each, which return the number of their message.
async fn start(address: &str, queue: Queue, count: usize) -> anyhow::Result<Callers> {
    let mut callers = Callers::new();
    for _ in 0..count {
        let mut connection = Connection::open(address).await?;
        callers.spawn(async move {
            let response = connection.exchange(&pull_request(queue, 1, WAIT)).await?;
            let messages = taken(response.status, connection.body(&response))?;
            messages.first().map(|message| message.number).context("a caller got no message")
        });
    }
    Ok(callers)
}

async fn consumers(broker: &AmqpConnection, queue: Queue) -> anyhow::Result<u32> {
    let channel = broker.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let declared = channel.queue_declare(queue.name().into(), passive, FieldTable::default()).await?;
    Ok(declared.consumer_count())
}

async fn publish(publisher: &Publisher, count: usize) -> anyhow::Result<()> {
    for number in 0..count as u64 {
        let _confirm = publisher.send_numbered(number).await?;
    }
    Ok(())
}

async fn each_gets_its_own(callers: &mut Callers) -> anyhow::Result<()> {
    let mut numbers = HashSet::new();
    while let Some(ended) = callers.join_next().await {
        let number = ended??;
        ensure!(numbers.insert(number), "two callers got message {number}");
    }
    Ok(())
}
