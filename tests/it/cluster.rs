//! Faults of single nodes of a cluster of three. Each test has a cluster of its own, and some take minutes: `make test` ignores
//! them. `make test-cluster` runs them and repeats the lines that begin with `figure:`.

#![expect(clippy::print_stdout, reason = "figures for the notes")]

mod frozen;
mod leader;
mod majority;
mod restart;
mod spread;

use std::{collections::BTreeMap, time::Duration};

use crate::support::{
    book::Lies,
    cluster::{Cluster, NODES},
    direct::Direct,
    gateway::TestGateway,
    load::Answers,
    observer::Observer,
};

const SOON: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);
/// Time between two direct publishes.
const DIRECT_PAUSE: Duration = Duration::from_millis(50);
/// How long a caller waits between two of its publishes, so that the queues stay short.
const CALLER_PAUSE: Duration = Duration::from_millis(10);

/// A gateway that knows the addresses of all nodes.
async fn gateway_of(cluster: &Cluster) -> TestGateway {
    TestGateway::start(&[("AMQP_URL", &cluster.url())]).await
}

/// All nodes except this one.
fn others_than(node: usize) -> impl Iterator<Item = usize> {
    (0..NODES).filter(move |other| *other != node)
}

fn to_q(_: usize) -> String {
    "amq.default?routing_key=q&timeout=30s".to_owned()
}

/// The number of answers by outcome.
fn outcomes(answers: &Answers) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in &answers.0 {
        *counts.entry(answer.outcome()).or_default() += 1;
    }
    counts
}

/// No confirmed message is lost, and no message with outcome `not_sent` is in the queue. A rejected one may be there: during an
/// election RabbitMQ nacks messages that a member of the queue may have.
async fn assert_none_is_lost(answers: &Answers, observer: &Observer, queue: &str) {
    let mut there = observer.take_ids(queue).await;
    there.retain(|id| id != "proof" && !Direct::is_own(id));
    let lies = Lies { unrefused: Vec::new(), ..answers.book().compare(&there, &[]) };
    assert_eq!(lies, Lies::default(), "the answers disagree with {queue}");
}
