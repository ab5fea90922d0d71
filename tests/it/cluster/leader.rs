//! The test kills the node that leads a quorum queue, again and again.

use std::{
    env,
    time::{Duration, Instant},
};

use super::{
    CALLER_PAUSE, DIRECT_PAUSE, SECOND, SOON, assert_none_is_lost, gateway_of, others_than, outcomes, to_q,
};
use crate::support::{
    cluster::Cluster,
    direct::Direct,
    gateway::TestGateway,
    load::{Answer, Load, prove},
    observer::Observer,
    poll::{eventually, pass},
};

const CALLERS: usize = 16;
/// The longest time from the first confirm of a direct publisher with a fresh channel to the gateway's last `rejected`.
const MOST: Duration = Duration::from_millis(1_500);
/// The time between the first confirm and the restart of the node.
const WITHOUT_NODE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes and some minutes: make test-cluster"]
async fn after_the_kill_of_a_queue_leader_messages_are_rejected_no_longer_than_on_a_fresh_channel() {
    let kills = env::var("GATEWAY_TEST_KILLS").map_or(20, |number| number.parse().expect("a number"));
    let cluster = Cluster::start().await;
    Observer::connect(&cluster.url_of(0)).await.declare_quorum_queue("q").await;
    let gateway = gateway_of(&cluster).await;
    prove(&gateway, &to_q(0)).await;
    let mut slowest = Duration::ZERO;
    let mut failed = Vec::new();
    for kill in 0..kills {
        let late = kill_the_leader(&cluster, &gateway, kill).await;
        slowest = slowest.max(late);
        failed.extend((late > MOST).then_some((kill, late)));
    }
    println!(
        "figure: {kills} kills of a leader, the last rejected at most {slowest:.1?} after the first fresh confirm"
    );
    assert!(failed.is_empty(), "{} of {kills} kills took longer than {MOST:?}: {failed:?}", failed.len());
    gateway.stop().await;
}

/// How long after the first fresh confirm a caller still got `rejected`.
async fn kill_the_leader(cluster: &Cluster, gateway: &TestGateway, kill: usize) -> Duration {
    let leader = cluster.agreed_leader("q").await;
    let survivors: Vec<_> = others_than(leader).collect();
    let observer = Observer::connect(&cluster.url_of(survivors[0])).await;
    let urls = survivors.iter().map(|node| cluster.url_of(*node)).collect();
    let direct = Direct::start(urls, "q", DIRECT_PAUSE);
    let load = Load::paced(gateway, &format!("kill-{kill}"), CALLERS, CALLER_PAUSE, to_q);
    load.flows(20 * CALLERS, SOON).await;

    let killed = Instant::now();
    cluster.kill(leader).await;
    let first = || async { direct.first_ack_after(killed) };
    let first = eventually(SOON, "a fresh channel confirms", first).await;
    pass(WITHOUT_NODE).await;
    cluster.start_again(leader).await;
    load.flows(20 * CALLERS, SOON).await;
    let (answers, attempts) = (load.stop().await, direct.stop().await);

    let rejected = answers.0.iter().filter(|answer| answer.outcome() == "rejected");
    let last = rejected.clone().map(|answer| answer.at).max().unwrap_or(killed);
    let late = last.saturating_duration_since(first);
    println!(
        "figure: kill {kill}: first fresh confirm {:.1?} after the kill, {} rejected, the last {late:.1?} after that; \
         {:?}; {} direct attempts",
        first - killed,
        rejected.count(),
        outcomes(&answers),
        attempts.len()
    );
    for answer in &answers.0 {
        assert_is_confirmed_or_rejected(answer);
    }
    cluster.agreed_leader("q").await;
    assert_none_is_lost(&answers, &observer, "q").await;
    assert!(answers.0.iter().any(|answer| answer.is_confirmed() && answer.sent > first + SECOND * 2));
    late
}

fn assert_is_confirmed_or_rejected(answer: &Answer) {
    let told = (answer.status.as_u16(), answer.outcome());
    assert!([(200, "confirmed"), (503, "rejected")].contains(&told), "{answer:?}");
}
