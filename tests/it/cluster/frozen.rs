//! One node is frozen for 27 seconds: its connections stay open and it answers nothing. Other nodes lead all queues.

use std::time::{Duration, Instant};

use lapin::ExchangeKind;

use super::{CALLER_PAUSE, SECOND, SOON, gateway_of, others_than, outcomes};
use crate::{
    faults::{NOTICED, assert_only_those_in_flight_are_unknown},
    support::{
        arrivals::Arrivals,
        cluster::{Cluster, NODES},
        direct::{Attempt, Direct, Told},
        figures::{Window, longest_gap},
        load::{Answers, Load, prove},
        observer::Observer,
        poll::{eventually, pass},
    },
};

const FROZEN: Duration = Duration::from_secs(27);
const QUEUES: [&str; 2] = ["quorum", "classic"];
const CALLERS: usize = 16;
const PAUSE: Duration = Duration::from_millis(250);
/// More exchanges than the callers use while the node is frozen.
const EXCHANGES: usize = 200;

fn to_one_of_them(number: usize) -> String {
    format!("amq.default?routing_key={}&timeout=4s", QUEUES[number % QUEUES.len()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes and a minute: make test-cluster"]
async fn a_frozen_node_that_has_a_publish_connection_does_not_stop_publishing() {
    freeze_the_node_of("publish-0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "three nodes and a minute: make test-cluster"]
async fn a_frozen_node_that_has_an_isolated_connection_does_not_stop_publishing() {
    freeze_the_node_of("isolated-0").await;
}

async fn freeze_the_node_of(connection: &str) {
    let cluster = Cluster::start().await;
    let gateway = gateway_of(&cluster).await;
    let node = node_of(&cluster, connection).await;
    let other = others_than(node).next().expect("three nodes");
    let observer = Observer::connect(&cluster.url_of(other)).await;
    declare(&observer).await;
    cluster.move_leader("quorum", other).await;
    prove(&gateway, &to_one_of_them(0)).await;
    prove(&gateway, &to_one_of_them(1)).await;

    let callers = Load::paced(&gateway, "caller", CALLERS, CALLER_PAUSE, to_one_of_them);
    callers.flows(20 * CALLERS, SOON).await;
    cluster.pause(node).await;
    let frozen = Instant::now();
    let arrivals = Arrivals::start(&gateway, "arrival", PAUSE, to_one_of_them);
    let unused = Arrivals::start(&gateway, "unused", PAUSE, |number| format!("unused-{number}?timeout=2s"));
    let direct = QUEUES.map(|queue| Direct::start(vec![cluster.url_of(other)], queue, PAUSE));
    pass(FROZEN).await;
    let window = Window { from: frozen, to: Instant::now() };
    let (mut known, unused) = (callers.stop().await, unused.stop().await);
    known.0.extend(arrivals.stop().await.0);
    let [quorum, classic] = direct.map(Direct::stop);
    let direct = [quorum.await, classic.await].concat();
    cluster.resume(node).await;

    assert_rabbitmq_is_well(&direct);
    report(connection, &known, &unused, window);
    let gap = longest_gap(&known.0, window);
    assert!(gap <= NOTICED, "no confirm for {gap:?}");
    assert_only_those_in_flight_are_unknown(&known.0, frozen);
    assert_only_those_in_flight_are_unknown(&unused.0, frozen);

    let after = Load::of(&gateway, "after", CALLERS, 10, to_one_of_them).end().await;
    after.assert_all_confirmed();
    let all = Answers([known.0, unused.0, after.0].concat());
    let mut there = Vec::new();
    for queue in QUEUES {
        there.extend(observer.take_ids(queue).await);
    }
    there.retain(|id| id != "proof" && !Direct::is_own(id));
    all.assert_agree_with(&there);
    gateway.stop().await;
}

fn report(connection: &str, known: &Answers, unused: &Answers, window: Window) {
    println!(
        "figure: the node of {connection} frozen for {FROZEN:?}: longest gap {:.1?}, known exchange {:?}; exchanges not \
         used before: longest gap {:.1?}, {:?}",
        longest_gap(&known.0, window),
        outcomes(known),
        longest_gap(&unused.0, window),
        outcomes(unused)
    );
}

/// The other nodes answer a direct publisher in time. Otherwise the test can require nothing of the gateway.
fn assert_rabbitmq_is_well(direct: &[Attempt]) {
    let slowest = direct.iter().map(|attempt| attempt.at - attempt.sent).max().expect("it published");
    println!(
        "figure: {} direct publishes beside the frozen node, the slowest took {slowest:.1?}",
        direct.len()
    );
    assert!(
        direct.iter().all(|attempt| attempt.told == Told::Ack),
        "a direct publish without a confirm: {direct:?}"
    );
    assert!(slowest <= SECOND, "a direct publish took {slowest:?}");
}

async fn declare(observer: &Observer) {
    observer.declare_quorum_queue("quorum").await;
    observer.declare_queue("classic").await;
    for number in 0..EXCHANGES {
        let exchange = format!("unused-{number}");
        observer.declare_exchange(&exchange, ExchangeKind::Fanout).await;
        observer.bind("classic", &exchange, "").await;
    }
}

/// The node to which the gateway has this connection.
async fn node_of(cluster: &Cluster, connection: &str) -> usize {
    eventually(SECOND * 10, &format!("{connection} is there"), || async {
        for node in 0..NODES {
            if cluster.connection_names(node).await.iter().any(|name| name == connection) {
                return Some(node);
            }
        }
        None
    })
    .await
}
