//! A quorum queue has lost its majority, while all nodes run.

use super::{gateway_of, others_than};
use crate::{
    faults::beside,
    support::{cluster::Cluster, observer::Observer},
};

/// The members of the queue that the test stops.
#[derive(Debug, Clone, Copy)]
enum Stopped {
    Followers,
    LeaderAndOneFollower,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes: make test-cluster"]
async fn a_queue_whose_leader_has_no_followers_does_not_slow_another_queue() {
    measure(Stopped::Followers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes: make test-cluster"]
async fn a_queue_that_can_elect_no_leader_does_not_slow_another_queue() {
    measure(Stopped::LeaderAndOneFollower).await;
}

async fn measure(which: Stopped) {
    let cluster = Cluster::start().await;
    let observer = Observer::connect(&cluster.url_of(0)).await;
    observer.declare_quorum_queue("stuck").await;
    observer.declare_queue("healthy").await;
    observer.declare_queue("control").await;
    let (gateway, second) = (gateway_of(&cluster).await, gateway_of(&cluster).await);
    let leader = cluster.agreed_leader("stuck").await;
    let mut stopped: Vec<_> = others_than(leader).collect();
    if let Stopped::LeaderAndOneFollower = which {
        stopped[0] = leader;
    }
    let stop = async || {
        for node in &stopped {
            cluster.stop_member("stuck", *node).await;
        }
    };
    let start = async |()| {
        for node in &stopped {
            cluster.start_member("stuck", *node).await;
        }
    };
    let report = beside::measure([&gateway, &second], stop, start).await;
    println!("majority lost, {which:?} stopped");
    report.assert_is_not_slowed();
    report.assert_stuck_callers_are_told_so();
    report.assert_agrees(&observer).await;
    second.stop().await;
    gateway.stop().await;
}
