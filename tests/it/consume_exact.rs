//! Workers take messages at several replicas and settle them at others, in every way, while connections are cut and replicas are
//! replaced, killed and frozen: no message is lost, none comes back after it was answered `acked`, and no answer is false.
//!
//! `make test-consume-chaos` is the long form, with kills of RabbitMQ and restarts of all replicas.

#![expect(clippy::print_stdout, reason = "the figures of the long form")]

mod crowd;
mod faults;
mod lives;
mod owner;
mod queues;
mod replica;
mod workers;

use std::{
    env,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::task::JoinSet;

use self::{
    faults::Faults,
    queues::{Queues, drain},
    replica::Replica,
    workers::{REPLICAS, Stage},
};
use crate::support::{broker::Broker, observer::Observer};

/// How long a replica keeps its leases after SIGTERM: shorter than a lease, or long enough to settle all of them, in turn.
const GRACES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(6)];

/// The length of the test, and its faults.
struct Plan {
    time: Duration,
    /// Kills of RabbitMQ.
    kills: usize,
    /// Restarts of all replicas.
    restarts: usize,
    /// The pause between two faults.
    pause: Duration,
    /// The parts in which the messages are published.
    parts: usize,
    /// The sides of the die that chooses a fault; those beyond 6 are freezes.
    sides: usize,
}

impl Plan {
    /// The share of the time that has passed, in thousandths.
    fn share(&self, elapsed: Duration) -> usize {
        usize::try_from(elapsed.as_millis() * 1000 / self.time.as_millis()).expect("a small number")
    }
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |count| count.parse().expect("a number"))
}

/// The short form has one freeze and no restart of all replicas, and its replicas stop fast.
fn plan() -> (Plan, &'static [Duration]) {
    let seconds = number("GATEWAY_TEST_SECONDS", 8);
    let is_long = seconds >= 60;
    let milliseconds = if is_long { 1000 } else { 200 };
    let plan = Plan {
        time: Duration::from_secs(seconds as u64),
        kills: number("GATEWAY_TEST_KILLS", 0),
        restarts: if is_long { 3 } else { 0 },
        pause: Duration::from_millis(milliseconds),
        parts: if is_long { 100 } else { 1 },
        sides: if is_long { 7 } else { 6 },
    };
    (plan, if is_long { &GRACES } else { &GRACES[..1] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_and_none_comes_back_after_its_ack_through_cuts_freezes_and_replacements_of_replicas()
 {
    let (messages, workers) = (number("GATEWAY_TEST_REQUESTS", 1_000), number("GATEWAY_TEST_WORKERS", 24));
    let (plan, graces) = plan();
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    let mut queues = Queues::declare(&observer, messages, plan.parts).await;
    broker.sync_topology().await;
    drop(observer);
    let starts = (0..REPLICAS).map(|_| Replica::start(&broker, graces));
    let replicas = futures_util::future::join_all(starts).await;
    let stage = Arc::new(Stage::new(replicas));
    let mut tasks = JoinSet::new();
    for worker in 0..workers {
        tasks.spawn(Arc::clone(&stage).work(worker as u64));
    }
    Faults { stage: &stage, broker: &broker, queues: &mut queues, plan: &plan }.run().await;
    queues.publish(&broker, 1000).await;
    stage.is_over.store(true, Ordering::Relaxed);
    tasks.join_all().await;
    let stage = Arc::into_inner(stage).expect("every worker has ended");
    futures_util::future::join_all(stage.replicas.into_iter().map(Replica::stop)).await;

    let observer = Observer::connect(&broker.url()).await;
    let (left, dead) = drain(&observer).await;
    let is_excused = |n: usize| plan.kills > 0 && n.is_multiple_of(2);
    let (mut wrong, acked) = stage.lives.compare(messages, &left, &dead, is_excused);
    println!("figure: {messages} messages, {acked} acked, {} dead letters, {} left", dead.len(), left.len());
    for (what, count) in stage.lives.counts() {
        println!("figure: {what}: {count}");
    }
    let lost = wrong.iter().filter(|it| it.contains("is lost")).count();
    let came_back = wrong.iter().filter(|it| it.contains("after its ack")).count();
    let twice = stage.lives.number(|life| life.perhaps_twice);
    println!("figure: excepted: {twice} messages perhaps have two copies");
    println!(
        "figure: {lost} lost, {came_back} came back, {} other wrong answers",
        wrong.len() - lost - came_back
    );
    // The rarest kind first.
    wrong.sort_by_key(|it| it.contains("after its ack"));
    assert!(wrong.is_empty(), "{} wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert!(acked * 10 > messages, "only {acked} of {messages} were acked");
    broker.give_back().await;
}
