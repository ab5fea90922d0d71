//! A queue whose process does not answer: RabbitMQ stops reading from a connection that publishes much to it.

use std::time::{Duration, Instant};

use lapin::ExchangeKind;

use super::{SECOND, SOON, beside, wired};
use crate::support::{
    arrivals::Arrivals,
    load::{Answer, Load, prove},
    poll::pass,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_queue_does_not_slow_its_neighbour() {
    let (vhost, observer, _link, gateway) = wired("stuck", &[]).await;
    observer.declare_queue("healthy").await;
    observer.declare_queue("stuck").await;
    let suspend = async || vhost.suspend_queue("stuck").await;
    let report = beside::measure(&gateway, suspend, async |stuck| stuck.resume().await).await;
    report.assert_is_not_slowed();
    report.assert_stuck_callers_are_told_so();
    report.assert_agrees(&observer).await;
    gateway.stop().await;
}

/// Publishes to an exchange that is not known to be good travel alone, and so do those to the stuck one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_queue_of_an_exchange_not_used_before_does_not_stop_other_exchanges_not_used_before() {
    let (vhost, observer, _link, gateway) = wired("stuck-isolated", &[]).await;
    observer.declare_queue("stuck").await;
    observer.declare_exchange("stuck", ExchangeKind::Fanout).await;
    observer.bind("stuck", "stuck", "").await;
    for number in 0..200 {
        let exchange = format!("other-{number}");
        observer.declare_exchange(&exchange, ExchangeKind::Fanout).await;
        observer.bind("q", &exchange, "").await;
    }
    prove(&gateway, "amq.default?routing_key=q").await;
    let fault = vhost.suspend_queue("stuck").await;
    let since = Instant::now();
    let stuck = Load::start(&gateway, "stuck", 200, |_| "stuck?timeout=500ms".to_owned());
    let pause = Duration::from_millis(50);
    let others = Arrivals::start(&gateway, "other", pause, |number| format!("other-{number}?timeout=5s"));
    pass(SECOND * 8).await;
    let others = others.stop().await;
    let settled = others.0.iter().filter(|answer| answer.sent >= since + SECOND * 5);
    let slowest = settled.inspect(|answer| answer.assert_confirmed()).map(Answer::took).max();
    let slowest = slowest.expect("some were sent after five seconds");
    println!("the slowest publish beside the stuck exchange took {slowest:?}");
    assert!(slowest <= SECOND, "{slowest:?} beside the stuck exchange");

    fault.resume().await;
    stuck.flows(50, SOON).await;
    stuck.stop().await.assert_agree_with(&observer.take_ids("stuck").await);
    let mut there = observer.take_ids("q").await;
    there.retain(|id| id != "proof");
    others.assert_agree_with(&there);
    gateway.stop().await;
}
