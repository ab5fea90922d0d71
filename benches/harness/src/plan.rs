//! The plan of the runs: each workload changes one thing of the base case.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contestant::Contestant::{
    self, DirectOneTask, DirectTasks, FastApi1, FastApi2, Fastify, Floor, Gateway, GatewayWithKeys,
    Management,
};
use crate::spec::{Ask, Mix, Operation, Pace, Queue, Traffic};

const EVERYONE: &[Contestant] =
    &[DirectTasks, DirectOneTask, Gateway, Floor, Fastify, FastApi1, FastApi2, Management];
/// The floor answers 500 when the gateway answers 422, so it gets no unroutable messages.
const WITHOUT_FLOOR: &[Contestant] =
    &[DirectTasks, DirectOneTask, Gateway, Fastify, FastApi1, FastApi2, Management];
const MOST: &[Contestant] = &[DirectTasks, DirectOneTask, Gateway, Floor, Fastify, FastApi2];
const CORE: &[Contestant] = &[DirectTasks, DirectOneTask, Gateway, Floor];
const CORE_AND_PEER: &[Contestant] = &[DirectTasks, DirectOneTask, Gateway, Floor, Fastify];
/// The floor publishes only.
const CALLS: &[Contestant] = &[DirectTasks, DirectOneTask, Gateway];
const ALONE: &[Contestant] = &[Gateway];
const WITH_AND_WITHOUT_KEYS: &[Contestant] = &[Gateway, GatewayWithKeys];
/// The peers have neither batches nor streams. AMQP directly takes part once: with four clients, both versions are equally fast.
const BULK: &[Contestant] = &[DirectTasks, Gateway];
/// The peers do not consume. AMQP directly has one consumer, and so one task.
const CONSUME: &[Contestant] = &[DirectOneTask, Gateway];
/// The messages of a full queue: in the whole plan, in the quick one, and where one worker takes them one at a time.
const MANY: u64 = 200_000;
const QUICK: u64 = 50_000;
const FEW: u64 = 5_000;

/// One kind of traffic and the contestants that take it in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// The name for `--only`.
    pub name: String,
    /// The name in tables.
    pub title: String,
    /// The measured traffic.
    pub traffic: Traffic,
    /// Traffic that runs at the same time and is only checked.
    pub beside: Option<Traffic>,
    /// The contestants.
    pub contestants: Vec<Contestant>,
    /// Whether it runs in the first round only.
    pub once: bool,
}

/// All runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How many turns each contestant has.
    pub rounds: usize,
    /// The time before a window.
    pub warmup: Duration,
    /// The time in which answers are measured.
    pub window: Duration,
    /// The workloads in the order of a round.
    pub workloads: Vec<Workload>,
    /// The binary of the contestant `before`. A path of this machine is of no use in the results, so it is not kept.
    #[serde(skip)]
    pub before: Option<PathBuf>,
}

impl Plan {
    /// All workloads and contestants.
    #[must_use]
    pub fn full() -> Self {
        let mut workloads = vec![publish(64, EVERYONE)];
        workloads.extend([1, 16, 256, 1024].map(|callers| publish(callers, MOST)));
        workloads.extend([
            vary("100-bytes", "100 B", MOST, |it| it.size = 100),
            vary("64-kibibytes", "64 KiB", MOST, |it| it.size = 64 * 1024),
            transient(MOST),
            quorum(MOST),
            vary("unroutable", "10 % unroutable", WITHOUT_FLOOR, |it| {
                it.mix = Mix(vec![(Ask::Unroutable, 10)]);
            }),
            rate(1_000, MOST),
            rate(5_000, CORE),
            keys(),
        ]);
        workloads.extend([1, 64, 256].map(rpc));
        workloads.extend(bulk());
        workloads.extend(consume(MANY));
        workloads.extend([good(), beside_poison(), mixed(), idle(), waiting(), long_stream()]);
        Self::of(3, 500, 2_000, workloads)
    }

    /// The workloads that have a bound on speed or cost.
    #[must_use]
    pub fn quick() -> Self {
        let mut workloads = vec![
            publish(1, CORE),
            publish(64, CORE_AND_PEER),
            publish(256, CORE),
            transient(CORE),
            quorum(CORE),
            keys(),
            rpc(1),
            rpc(64),
        ];
        workloads.extend(bulk());
        workloads.extend(consume(QUICK));
        Self::of(3, 400, 1_500, workloads)
    }

    fn of(rounds: usize, warmup: u64, window: u64, workloads: Vec<Workload>) -> Self {
        let (warmup, window) = (Duration::from_millis(warmup), Duration::from_millis(window));
        Self { rounds, warmup, window, workloads, before: None }
    }
}

impl Display for Plan {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for workload in &self.workloads {
            let names: Vec<_> = workload.contestants.iter().map(|contestant| contestant.name()).collect();
            writeln!(out, "{}: {}", workload.name, names.join(" "))?;
        }
        Ok(())
    }
}

fn workload(name: &str, title: &str, contestants: &[Contestant], traffic: Traffic) -> Workload {
    Workload {
        name: name.to_owned(),
        title: title.to_owned(),
        traffic,
        beside: None,
        contestants: contestants.to_vec(),
        once: false,
    }
}

fn publish(callers: usize, contestants: &[Contestant]) -> Workload {
    let title = format!("Publish, {callers} {}", if callers == 1 { "caller" } else { "callers" });
    workload(&format!("publish-{callers}"), &title, contestants, Traffic { callers, ..Traffic::base() })
}

fn vary(name: &str, what: &str, contestants: &[Contestant], change: impl Fn(&mut Traffic)) -> Workload {
    let mut traffic = Traffic::base();
    change(&mut traffic);
    workload(name, &format!("Publish, 64 callers, {what}"), contestants, traffic)
}

fn transient(contestants: &[Contestant]) -> Workload {
    vary("transient", "transient", contestants, |it| it.persistent = false)
}

fn quorum(contestants: &[Contestant]) -> Workload {
    vary("quorum", "quorum queue", contestants, |it| it.queue = Queue::Quorum)
}

fn keys() -> Workload {
    vary("keys", "with and without API keys", WITH_AND_WITHOUT_KEYS, |_| {})
}

fn rate(rate: u32, contestants: &[Contestant]) -> Workload {
    let title = format!("Publish at a fixed rate, {rate} a second");
    workload(
        &format!("rate-{rate}"),
        &title,
        contestants,
        Traffic { pace: Pace::Rate(rate), ..Traffic::base() },
    )
}

fn rpc(callers: usize) -> Workload {
    let title = format!("RPC, {callers} {}", if callers == 1 { "caller" } else { "callers" });
    let traffic = Traffic { operation: Operation::Rpc, callers, persistent: false, ..Traffic::base() };
    workload(&format!("rpc-{callers}"), &title, CALLS, traffic)
}

/// Batches and streams, each to a classic queue, to a quorum queue, and transient.
fn bulk() -> Vec<Workload> {
    let mut workloads = Vec::new();
    for (operation, name, title) in [
        (Operation::Batch, "batch", "Batches of 100, 4 clients"),
        (Operation::Stream, "stream", "Publish streams, 4 clients"),
    ] {
        let base = Traffic { operation, callers: 4, ..Traffic::base() };
        let quorum = Traffic { queue: Queue::Quorum, ..base.clone() };
        let transient = Traffic { persistent: false, ..base.clone() };
        workloads.extend([
            workload(&format!("{name}-classic"), title, BULK, base),
            workload(&format!("{name}-quorum"), &format!("{title}, quorum queue"), BULK, quorum),
            workload(&format!("{name}-transient"), &format!("{title}, transient"), BULK, transient),
        ]);
    }
    workloads
}

/// Full queues that are drained, and a caller who waits for a message.
fn consume(messages: u64) -> Vec<Workload> {
    let drain = |max, callers, queue, messages| Traffic {
        operation: Operation::Drain(max),
        callers,
        queue,
        pace: Pace::Count(messages),
        ..Traffic::base()
    };
    let settle = |operation| Traffic { operation, ..drain(1, 1, Queue::Classic, FEW) };
    let hundred = |queue| drain(100, 16, queue, messages);
    let single = |queue| drain(1, 64, queue, messages);
    let (of_hundred, of_one) = ("Pull 100 and ack, 16 workers", "Pull 1 and ack, 64 workers");
    let wait = Traffic { operation: Operation::LongPoll, callers: 1, ..Traffic::base() };
    vec![
        workload("pull-100-classic", of_hundred, CONSUME, hundred(Queue::Classic)),
        workload("pull-100-quorum", &format!("{of_hundred}, quorum queue"), CONSUME, hundred(Queue::Quorum)),
        workload("pull-1-classic", of_one, CONSUME, single(Queue::Classic)),
        workload("pull-1-quorum", &format!("{of_one}, quorum queue"), CONSUME, single(Queue::Quorum)),
        workload("one-worker", "Pull 1 and ack, 1 worker", CONSUME, drain(1, 1, Queue::Classic, FEW)),
        workload("long-poll", "Message to a waiting caller", CONSUME, wait),
        workload("settle-own", "Ack at the owner, 1 worker", ALONE, settle(Operation::Settle)),
        workload(
            "settle-elsewhere",
            "Ack at another replica, 1 worker",
            ALONE,
            settle(Operation::SettleElsewhere),
        ),
    ]
}

fn waiting() -> Workload {
    let traffic = Traffic { operation: Operation::Waiting, callers: 10_000, ..Traffic::base() };
    Workload { once: true, ..workload("waiting", "10,000 callers who wait on one queue", ALONE, traffic) }
}

fn long_stream() -> Workload {
    let traffic = Traffic { operation: Operation::LongStream, callers: 1, ..Traffic::base() };
    let title = "Publish stream of 1,000,000 lines, 1 client, return=minimal";
    Workload { once: true, ..workload("stream-long", title, ALONE, traffic) }
}

/// Good callers without bad ones.
fn good() -> Workload {
    let traffic = Traffic { pace: Pace::Rate(2_000), ..Traffic::base() };
    workload("good-alone", "2,000 good publishes a second, alone", ALONE, traffic)
}

fn beside_poison() -> Workload {
    let bad = Mix(vec![(Ask::MissingExchange, 50), (Ask::BadProperty, 50)]);
    let poison = Traffic { pace: Pace::Rate(1_000), mix: bad, ..Traffic::base() };
    let title = "the same beside 1,000 bad ones a second (missing exchange, bad property)";
    Workload {
        name: "good-beside-poison".to_owned(),
        title: title.to_owned(),
        beside: Some(poison),
        ..good()
    }
}

fn mixed() -> Workload {
    let mix = Mix(vec![(Ask::Unroutable, 20), (Ask::Rejected, 10)]);
    let traffic = Traffic { callers: 256, mix, pace: Pace::Count(1_000_000), ..Traffic::base() };
    let title = "1,000,000 publishes, 256 callers, 20 % unroutable, 10 % rejected";
    Workload { once: true, ..workload("mixed", title, ALONE, traffic) }
}

fn idle() -> Workload {
    let traffic = Traffic { operation: Operation::Idle, callers: 10_000, ..Traffic::base() };
    Workload { once: true, ..workload("idle", "10,000 idle keep-alive connections", ALONE, traffic) }
}
