//! A fault of one queue, exchange, connection or node affects only the callers that use it.
//!
//! Faults that need several nodes are in `cluster.rs`.

#![expect(clippy::print_stdout, reason = "the figures, to compare runs")]

mod addresses;
pub(crate) mod beside;
mod forgotten;
mod frozen;
mod limit;
mod nacked;
mod silent;
mod stuck;

use std::time::{Duration, Instant};

use crate::support::{
    broker::Vhost,
    gateway::TestGateway,
    link::Link,
    load::{Answer, Load, prove},
    observer::Observer,
    poll::eventually,
    stage::wired,
    stuck::StuckQueue,
};

/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
/// How long a fault may affect callers of other destinations.
pub(crate) const NOTICED: Duration = Duration::from_secs(2);

/// A queue `stuck` whose process does not answer, so that it has a connection of its own, beside callers of `q`.
struct SlowQueue<'a> {
    fault: StuckQueue<'a>,
    healthy: Load,
    stuck: Load,
}

impl<'a> SlowQueue<'a> {
    async fn with(
        callers: usize,
        vhost: &'a Vhost<'_>,
        observer: &Observer,
        link: &Link,
        gateway: &TestGateway,
    ) -> Self {
        observer.declare_queue("stuck").await;
        prove(gateway, &to("stuck", "5s")).await;
        let healthy = Load::start(gateway, "healthy", 1, |_| to("q", "10s"));
        let fault = vhost.suspend_queue("stuck").await;
        let stuck = Load::start(gateway, "stuck", callers, |_| to("stuck", "500ms"));
        let has_one = || async { link.open_named("slow-*") == 1 };
        eventually(SOON, "the stuck queue has a connection of its own", has_one).await;
        Self { fault, healthy, stuck }
    }
}

/// The path of a publish to the default exchange.
fn to(queue: &str, timeout: &str) -> String {
    format!("amq.default?routing_key={queue}&timeout={timeout}")
}

/// Publishes that were in flight on the silent connection may be unknown. All others are confirmed, and those that were sent
/// later are confirmed within a second.
pub(crate) fn assert_only_those_in_flight_are_unknown(answers: &[Answer], fault: Instant) {
    let noticed = fault + NOTICED;
    let late: Vec<_> = answers.iter().filter(|answer| answer.sent >= noticed).collect();
    assert!(late.len() >= 10, "only {} messages were sent {NOTICED:?} after the fault", late.len());
    let wrong = late.iter().filter(|answer| !answer.is_confirmed() || answer.took() > SECOND);
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {}, the first {:?}", wrong.len(), late.len(), wrong[0]);
    let early = answers.iter().filter(|answer| answer.sent < noticed && !answer.is_confirmed());
    early.for_each(Answer::assert_unknown);
}
