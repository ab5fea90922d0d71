//! All of RabbitMQ is frozen for three seconds, as when its disk stalls.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{SECOND, SOON};
use crate::support::{
    broker::Broker,
    gateway::TestGateway,
    link::Link,
    load::{Load, prove},
    observer::Observer,
    poll::pass,
};

const QUEUES: usize = 4;
const CALLERS: usize = 32;

/// Numbers the publishes of all callers together. The callers' own numbers grow at the same speed, so with them most publishes at
/// one moment would go to one queue.
fn next() -> usize {
    static PUBLISHES: AtomicUsize = AtomicUsize::new(0);
    PUBLISHES.fetch_add(1, Ordering::Relaxed)
}

fn to_queue(number: usize) -> String {
    super::to(&format!("q{number}"), "20s")
}

fn to_one_of_them(_: usize) -> String {
    to_queue(next() % QUEUES)
}

fn nearly_all_to_one(_: usize) -> String {
    to_queue(usize::from(next().is_multiple_of(CALLERS / 2)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_rabbitmq_makes_no_destination_slow_and_causes_no_error() {
    assert_eq!(freeze(to_one_of_them).await, 0, "a connection for a slow destination");
}

/// The gateway may take a busy queue for the cause. The queue moves back when RabbitMQ answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_rabbitmq_causes_no_error_for_the_callers_of_a_busy_queue() {
    freeze(nearly_all_to_one).await;
}

/// The number of connections for slow destinations that the gateway opened.
async fn freeze(to: fn(usize) -> String) -> usize {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    for number in 0..QUEUES {
        observer.declare_queue(&format!("q{number}")).await;
    }
    let link = Link::to(broker.address()).await;
    let url = format!("amqp://guest:guest@{}/", link.addr());
    let gateway = TestGateway::start(&[("AMQP_URL", &url)]).await;
    prove(&gateway, &to_one_of_them(0)).await;
    let load = Load::start(&gateway, "frozen", CALLERS, to);
    load.flows(10 * CALLERS, SOON).await;
    broker.pause().await;
    pass(SECOND * 3).await;
    broker.resume().await;
    // Enough for each caller to get an answer and to publish again.
    load.flows(10 * CALLERS, SOON).await;
    let answers = load.stop().await;
    answers.assert_all_confirmed();
    let slow = link.accepted_named("slow-*");

    let mut there = Vec::new();
    for number in 0..QUEUES {
        there.extend(observer.take_ids(&format!("q{number}")).await);
    }
    there.retain(|id| id != "proof");
    answers.assert_agree_with(&there);
    gateway.stop().await;
    broker.give_back().await;
    slow
}
