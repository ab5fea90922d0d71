//! More queues are stuck than the gateway may have connections for slow destinations (`RABBITMQ_SLOW_CONNECTIONS`).

use std::time::{Duration, Instant};

use super::{SECOND, SOON, to, wired};
use crate::support::{
    arrivals::Arrivals,
    figures::{Figures, Window},
    gateway::TestGateway,
    load::{Answers, Load, prove},
    poll::{eventually, pass},
};

const SETTING: &str = "RABBITMQ_SLOW_CONNECTIONS";
const HEALTHY_CALLERS: usize = 4;
/// Callers that are refused at once pause for this time, so that they do not use up the machine.
const PAUSE: Duration = Duration::from_millis(50);
/// The time in which the gateway finds a slow destination.
const SETTLED: Duration = Duration::from_secs(5);
const AT_ONCE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_stuck_queue_is_refused_at_once_when_one_slow_connection_is_allowed() {
    let (vhost, observer, link, gateway) = wired("limit-one", &[(SETTING, "1")]).await;
    for queue in ["first", "second"] {
        observer.declare_queue(queue).await;
        prove(&gateway, &to(queue, "5s")).await;
    }
    let healthy = Load::start(&gateway, "healthy", HEALTHY_CALLERS, |_| to("q", "10s"));
    let first_fault = vhost.suspend_queue("first").await;
    let first = Load::start(&gateway, "first", 20, |_| to("first", "500ms"));
    let has_one = || async { link.open_named("slow-*") == 1 };
    eventually(SOON, "the first stuck queue has a connection of its own", has_one).await;
    let second_fault = vhost.suspend_queue("second").await;
    let (second, healthy) = refused_and_healthy(&gateway, "second", healthy).await;
    assert_eq!(link.accepted_named("slow-*"), 1);

    first_fault.resume().await;
    second_fault.resume().await;
    first.flows(50, SOON).await;
    let first = first.stop().await;
    let after = Load::start(&gateway, "after", 2, |_| to("second", "500ms"));
    after.flows(20, SOON).await;
    let mut second = second;
    second.0.extend(after.stop().await.0);
    for (answers, queue) in [(healthy, "q"), (first, "first"), (second, "second")] {
        let mut there = observer.take_ids(queue).await;
        there.retain(|id| id != "proof");
        answers.assert_agree_with(&there);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_queue_is_refused_at_once_when_no_slow_connection_is_allowed() {
    let (vhost, observer, link, gateway) = wired("limit-none", &[(SETTING, "0")]).await;
    observer.declare_queue("stuck").await;
    prove(&gateway, &to("stuck", "5s")).await;
    let healthy = Load::start(&gateway, "healthy", HEALTHY_CALLERS, |_| to("q", "10s"));
    let fault = vhost.suspend_queue("stuck").await;
    let (stuck, healthy) = refused_and_healthy(&gateway, "stuck", healthy).await;
    assert_eq!(link.accepted_named("slow-*"), 0);
    fault.resume().await;
    for (answers, queue) in [(healthy, "q"), (stuck, "stuck")] {
        let mut there = observer.take_ids(queue).await;
        there.retain(|id| id != "proof");
        answers.assert_agree_with(&there);
    }
    gateway.stop().await;
}

/// The answers of a stuck queue beyond the limit, and those of the healthy queue beside it, after checks of both.
async fn refused_and_healthy(
    gateway: &TestGateway,
    queue: &'static str,
    healthy: Load,
) -> (Answers, Answers) {
    let since = Instant::now();
    let stuck = Arrivals::start(gateway, queue, PAUSE, move |_| to(queue, "2s"));
    pass(SETTLED + SECOND * 2).await;
    let window = Window { from: since + SETTLED, to: Instant::now() };
    let (stuck, healthy) = (stuck.stop().await, healthy.stop().await);
    let figures = Figures::of(&healthy.0, window);
    println!("healthy beside {queue}: {figures}");
    assert_eq!(figures.others, 0);
    assert!(figures.confirmed > 100, "{figures}");

    let settled: Vec<_> = stuck.0.iter().filter(|answer| window.contains(answer.sent)).collect();
    assert!(settled.len() >= 10, "only {}", settled.len());
    for answer in settled {
        answer.assert_refused("overloaded");
        assert!(answer.took() <= AT_ONCE, "{answer:?}");
        assert!(answer.text.contains(SETTING), "it names the setting: {answer:?}");
    }
    for answer in stuck.0.iter().filter(|answer| answer.outcome() != "not_sent") {
        answer.assert_unknown();
    }
    (stuck, healthy)
}
