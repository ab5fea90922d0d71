//! A queue whose process does not answer: RabbitMQ stops reading from a connection that publishes many messages to it.

use std::time::{Duration, Instant};

use lapin::ExchangeKind;

use super::{SECOND, SOON, SlowQueue, beside, to, wired};
use crate::support::{
    arrivals::Arrivals,
    figures::{Figures, Window},
    gateway::TestGateway,
    load::{Answer, Load, prove},
    poll::pass,
    stuck::StuckQueue,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_queue_does_not_slow_another_queue() {
    let (vhost, observer, _link, gateway) = wired("stuck", &[]).await;
    for queue in ["healthy", "stuck", "control"] {
        observer.declare_queue(queue).await;
    }
    let suspend = async || vhost.suspend_queue("stuck").await;
    let second = TestGateway::start(&[("AMQP_URL", &vhost.url)]).await;
    let resume = async |stuck: StuckQueue<'_>| stuck.resume().await;
    let report = beside::measure([&gateway, &second], suspend, resume).await;
    report.assert_is_not_slowed();
    report.assert_stuck_callers_are_told_so();
    report.assert_agrees(&observer).await;
    second.stop().await;
    gateway.stop().await;
}

/// More keys are stuck than the gateway may have connections for slow destinations, and more than an exchange may have slow keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_stuck_keys_of_one_exchange_take_few_connections_and_do_not_slow_another() {
    let (vhost, observer, link, gateway) = wired("stuck-keys", &[]).await;
    observer.declare_queue("stuck").await;
    observer.declare_exchange("topic", ExchangeKind::Topic).await;
    observer.bind("stuck", "topic", "#").await;
    let key = |number: usize| format!("topic?routing_key=key-{}&timeout=500ms", number % 12);
    let proofs = Load::of(&gateway, "proof", 1, 24, key).end().await;
    prove(&gateway, &to("q", "10s")).await;
    let healthy = Load::start(&gateway, "healthy", 4, |_| to("q", "10s"));
    let fault = vhost.suspend_queue("stuck").await;
    let stuck = Load::paced(&gateway, "stuck", 24, Duration::from_millis(100), key);
    pass(SECOND * 5).await;
    let from = Instant::now();
    let mut most = 0;
    while from.elapsed() < SECOND * 2 {
        most = most.max(link.open_named("slow-*"));
        pass(Duration::from_millis(20)).await;
    }
    let window = Window { from, to: Instant::now() };
    fault.resume().await;
    stuck.flows(100, SOON).await;
    let (mut stuck, healthy) = (stuck.stop().await, healthy.stop().await);

    let figures = Figures::of(&healthy.0, window);
    println!("healthy beside many stuck keys: {figures}; {most} connections for slow destinations");
    assert!((1..=4).contains(&most), "{most} connections for slow destinations");
    assert_eq!(figures.others, 0);
    assert!(figures.confirmed > 100, "{figures}");
    stuck.0.extend(proofs.0);
    stuck.assert_agree_with(&observer.take_ids("stuck").await);
    let mut there = observer.take_ids("q").await;
    there.retain(|id| id != "proof");
    healthy.assert_agree_with(&there);
    gateway.stop().await;
}

/// Publishes to an exchange that is not known to be good are isolated, and so are those to the stuck exchange.
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
    let stuck = Load::start(&gateway, "stuck", 200, |_| "stuck?timeout=500ms".to_owned());
    let pause = Duration::from_millis(50);
    let others = Arrivals::start(&gateway, "other", pause, |number| format!("other-{number}?timeout=5s"));
    // A busy machine sends late the publishes with which the fault begins.
    stuck.is_answered(200, SOON).await;
    let settled = Instant::now() + Duration::from_millis(4_500);
    pass(Duration::from_millis(7_500)).await;
    let others = others.stop().await;
    let settled = others.0.iter().filter(|answer| answer.sent >= settled);
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

/// RabbitMQ's channel to a quorum queue that has lost its leader behaves like this. It may wait for half a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_queue_that_answers_again_is_confirmed_although_its_connection_stays_silent() {
    let settings = [("RABBITMQ_HEARTBEAT", "0"), ("RABBITMQ_SLOW_AFTER", "400ms")];
    let (vhost, observer, link, gateway) = wired("slow-silent", &settings).await;
    let SlowQueue { fault, healthy, stuck } = SlowQueue::with(50, &vhost, &observer, &link, &gateway).await;
    // From now on no publish on the shared connections may be answered in time.
    pass(SECOND).await;
    link.lose_named("slow-*");
    fault.resume().await;
    stuck.flows(100, SOON * 2).await;
    assert_eq!(link.accepted_named("slow-*"), 2);

    let mut answers = stuck.stop().await;
    answers.0.extend(healthy.stop().await.0);
    let mut there = observer.take_ids("stuck").await;
    there.extend(observer.take_ids("q").await);
    there.retain(|id| id != "proof");
    answers.assert_agree_with(&there);
    gateway.stop().await;
}
