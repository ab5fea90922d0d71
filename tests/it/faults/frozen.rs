//! All of RabbitMQ stands still for three seconds, as it does when its disk stalls.

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

/// Counts the publishes of all callers: they count up in step, so that by their own numbers most would be to one queue.
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
async fn a_frozen_broker_makes_no_destination_slow_and_costs_no_error() {
    assert_eq!(freeze(to_one_of_them).await, 0, "a connection for a slow destination");
}

/// A busy queue may be taken for the reason, and moves back when it is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_costs_the_callers_of_a_busy_queue_no_error() {
    freeze(nearly_all_to_one).await;
}

/// The connections for slow destinations that the gateway opened.
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
    // Enough for each caller to have been answered and to have published again.
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
    slow
}
