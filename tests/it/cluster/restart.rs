//! The test restarts all nodes in order, one after the other, under load.

use std::time::Duration;

use super::{CALLER_PAUSE, SECOND, SOON, assert_none_is_lost, gateway_of, outcomes, to_q};
use crate::support::{
    cluster::{Cluster, NODES},
    direct::{Attempt, Direct, Told},
    load::{Answer, Load, prove},
    observer::Observer,
};

const CALLERS: usize = 8;
/// Time between two direct publishes; it is short because an election may be short.
const DIRECT_PAUSE: Duration = Duration::from_millis(10);
/// The number of confirms between two restarts, so that the gateway uses each node that came back.
const BETWEEN: usize = 50 * CALLERS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes and a minute: make test-cluster"]
async fn a_rolling_restart_causes_only_errors_that_a_fresh_channel_gets_too() {
    let cluster = Cluster::start().await;
    Observer::connect(&cluster.url_of(0)).await.declare_quorum_queue("q").await;
    let gateway = gateway_of(&cluster).await;
    prove(&gateway, &to_q(0)).await;
    let direct = Direct::start((0..NODES).map(|node| cluster.url_of(node)).collect(), "q", DIRECT_PAUSE);
    let load = Load::paced(&gateway, "rolling", CALLERS, CALLER_PAUSE, to_q);
    for node in 0..NODES {
        cluster.agreed_leader("q").await;
        load.flows(BETWEEN, SOON).await;
        cluster.stop(node).await;
        cluster.start_again(node).await;
    }
    cluster.agreed_leader("q").await;
    load.flows(BETWEEN, SOON).await;
    let (answers, attempts) = (load.stop().await, direct.stop().await);

    let rejected: Vec<_> = answers.0.iter().filter(|answer| answer.outcome() == "rejected").collect();
    let alone: Vec<_> = rejected.iter().filter(|answer| !is_nacked_too(answer, &attempts)).collect();
    let told = |told| attempts.iter().filter(|attempt| attempt.told == told).count();
    println!(
        "figure: rolling restart: {:?}, {} rejected where no fresh channel was nacked; slowest {:.1?}; direct: {} acks, \
         {} nacks, {} without an answer",
        outcomes(&answers),
        alone.len(),
        answers.0.iter().map(Answer::took).max().unwrap_or(Duration::ZERO),
        told(Told::Ack),
        told(Told::Nack),
        told(Told::Nothing)
    );
    assert!(alone.is_empty(), "{} of {} rejected, the first {:?}", alone.len(), rejected.len(), alone[0]);
    for answer in answers.0.iter().filter(|answer| answer.outcome() != "rejected") {
        answer.assert_confirmed();
    }
    let observer = Observer::connect(&cluster.url_of(0)).await;
    assert_none_is_lost(&answers, &observer, "q").await;
    gateway.stop().await;
}

/// Whether a direct publisher got a nack within a second of this answer.
fn is_nacked_too(answer: &Answer, attempts: &[Attempt]) -> bool {
    let nacks = attempts.iter().filter(|attempt| attempt.told == Told::Nack);
    nacks.into_iter().any(|nack| nack.at + SECOND >= answer.at && answer.at + SECOND >= nack.at)
}
