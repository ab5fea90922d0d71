//! Measures callers of a healthy queue alone, then beside callers of a stuck queue, then alone again.
//!
//! At the same time callers of a third queue use a second gateway, which has no callers of the stuck queue. Other programs on the
//! machine slow down both, and only a fault of the gateway slows down the first alone.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::support::{
    figures::{Figures, Window},
    gateway::TestGateway,
    load::{Answer, Answers, Load, prove},
    observer::Observer,
    poll::pass,
};

const HEALTHY_CALLERS: usize = 8;
const STUCK_CALLERS: usize = 200;
const ALONE: Duration = Duration::from_secs(2);
/// Until this time after each stuck caller got an answer, publishes that were in flight on the connection may be lost.
const SETTLED: Duration = Duration::from_millis(4_500);
const BESIDE: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_secs(20);
/// As a share of the rate alone.
const LEAST_RATE: f64 = 0.2;
/// As a multiple of the p99 alone.
const MOST_P99: u32 = 10;

/// The answers that the callers got. The queues are `healthy`, `stuck` and `control`, through the default exchange.
pub(crate) struct Report {
    pub(crate) healthy: Answers,
    pub(crate) stuck: Answers,
    control: Answers,
    alone: Window,
    beside: Window,
    alone_again: Window,
}

/// Measures with a queue that `suspend` stops and `resume` starts again. Only the callers of `control` use the second gateway.
pub(crate) async fn measure<T>(
    [gateway, second]: [&TestGateway; 2],
    suspend: impl AsyncFnOnce() -> T,
    resume: impl AsyncFnOnce(T),
) -> Report {
    prove(gateway, &to_stuck(0)).await;
    prove(gateway, &to_healthy(0)).await;
    prove(second, &to_control(0)).await;
    let healthy = Load::start(gateway, "healthy", HEALTHY_CALLERS, to_healthy);
    let control = Load::start(second, "control", HEALTHY_CALLERS, to_control);
    healthy.flows(10 * HEALTHY_CALLERS, SOON).await;
    let alone = window(ALONE).await;

    let fault = suspend().await;
    let stuck = Load::start(gateway, "stuck", STUCK_CALLERS, to_stuck);
    // A busy machine sends late the publishes with which the fault begins.
    stuck.is_answered(STUCK_CALLERS, SOON).await;
    pass(SETTLED).await;
    let beside = window(BESIDE).await;

    resume(fault).await;
    stuck.flows(50, SOON).await;
    let stuck = stuck.stop().await;
    let alone_again = window(ALONE).await;
    let (healthy, control) = (healthy.stop().await, control.stop().await);
    Report { healthy, stuck, control, alone, beside, alone_again }
}

/// A publish that was in flight on the stopped connection ends before the window: the gateway does not resend a message that
/// RabbitMQ may have read.
fn to_healthy(_: usize) -> String {
    "amq.default?routing_key=healthy&timeout=3s".to_owned()
}

fn to_control(_: usize) -> String {
    "amq.default?routing_key=control&timeout=3s".to_owned()
}

fn to_stuck(_: usize) -> String {
    "amq.default?routing_key=stuck&timeout=500ms".to_owned()
}

async fn window(length: Duration) -> Window {
    let from = Instant::now();
    pass(length).await;
    Window { from, to: Instant::now() }
}

impl Report {
    /// The bounds of issue 11.
    pub(crate) fn assert_is_not_slowed(&self) {
        println!("figure: {self}");
        let [alone, beside, again] = self.figures();
        assert_eq!(beside.others, 0, "callers of the healthy queue saw errors: {:?}", self.first_error());
        let usual = self.usual();
        let share = beside.rate / usual.rate;
        assert!(share >= LEAST_RATE, "{share:.2} of the usual rate, {alone} and {again} alone");
        assert!(beside.p99 <= usual.p99 * MOST_P99, "p99 {:?}, usually {:?}", beside.p99, usual.p99);
        for answer in self.healthy.0.iter().filter(|answer| !answer.is_confirmed()) {
            assert!(answer.sent < self.beside.from, "{answer:?}");
            answer.assert_unknown();
        }
    }

    /// Callers of the stuck queue get true answers, and some of the answers say that the destination is slow.
    pub(crate) fn assert_stuck_callers_are_told_so(&self) {
        let failed: Vec<_> = self.stuck.0.iter().filter(|answer| !answer.is_confirmed()).collect();
        assert!(failed.len() >= STUCK_CALLERS, "only {} failed", failed.len());
        for answer in failed {
            match answer.outcome() {
                "not_sent" => answer.assert_refused("overloaded"),
                _ => answer.assert_unknown(),
            }
        }
    }

    /// The answers agree with both queues.
    pub(crate) async fn assert_agrees(&self, observer: &Observer) {
        for (answers, queue) in [(&self.healthy, "healthy"), (&self.stuck, "stuck")] {
            let mut there = observer.take_ids(queue).await;
            there.retain(|id| id != "proof");
            answers.assert_agree_with(&there);
        }
    }

    /// The slowest of the measurements without the fault, because other programs use the machine too: alone, alone again, and the
    /// callers of the second gateway at the time of the fault.
    fn usual(&self) -> Figures {
        let [alone, _, again] = self.figures();
        let control = Figures::of(&self.control.0, self.beside);
        let rate = alone.rate.min(again.rate).min(control.rate);
        Figures { rate, p99: alone.p99.max(again.p99).max(control.p99), ..control }
    }

    fn figures(&self) -> [Figures; 3] {
        [self.alone, self.beside, self.alone_again].map(|window| Figures::of(&self.healthy.0, window))
    }

    fn first_error(&self) -> Option<&Answer> {
        let beside = self.healthy.0.iter().filter(|answer| self.beside.contains(answer.at));
        beside.into_iter().find(|answer| !answer.is_confirmed())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let [alone, beside, again] = self.figures();
        let stuck = Figures::of(&self.stuck.0, self.beside);
        write!(out, "healthy alone: {alone}; beside: {beside}; again: {again}; stuck: {stuck}; ")?;
        let control = Figures::of(&self.control.0, self.beside);
        let (usual, p99) = (self.usual(), beside.p99.as_secs_f64());
        let (share, times) = (beside.rate / usual.rate, p99 / usual.p99.as_secs_f64());
        write!(out, "second gateway: {control}; share {share:.2}, p99 {times:.1} times")
    }
}
