//! When RabbitMQ is lost, silent or refuses connections, callers wait longer but never get a false answer.

#![expect(clippy::print_stdout, reason = "the figures of the long forms")]

mod vain;

use std::{
    env,
    time::{Duration, Instant},
};

use crate::support::{
    broker::Broker,
    gateway::TestGateway,
    link::{Link, Mode, Way},
    load::{Load, prove, publish},
    observer::Observer,
    poll::eventually,
    stage::wired,
};

/// Two for shared messages, two for isolated ones, and one each for topology, replies and probes.
const CONNECTIONS: usize = 7;
/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// Waits through the slowest restart: this is the largest deadline that the gateway accepts.
fn patient(_: usize) -> String {
    "amq.default?routing_key=q&timeout=60s".to_owned()
}

fn to_q(_: usize) -> String {
    "amq.default?routing_key=q".to_owned()
}

/// A second, and on a busy machine as much more as the logins of the gateway's connections take there.
async fn about_a_second(url: &str) -> Duration {
    let begun = Instant::now();
    Observer::connect(url).await;
    SECOND + begun.elapsed() * u32::try_from(CONNECTIONS).unwrap()
}

async fn gets_ready_within_a_second(url: &str, gateway: &TestGateway) {
    let begun = Instant::now();
    let ready = async {
        eventually(SOON, "the gateway is ready", || gateway.is_ready()).await;
        begun.elapsed()
    };
    let (ready, bound) = tokio::join!(ready, about_a_second(url));
    assert!(ready <= bound, "ready after {ready:?}, and the bound is {bound:?}");
}

async fn gets_unready_within(deadline: Duration, gateway: &TestGateway) {
    eventually(deadline, "the gateway is not ready", || async { !gateway.is_ready().await }).await;
}

/// `GATEWAY_TEST_KILLS=5 GATEWAY_TEST_CALLERS=64` in release mode is the long form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_of_rabbitmq_under_load_delays_callers_but_causes_no_error_and_loses_no_message() {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    broker.sync_topology().await;
    let link = Link::to(broker.address()).await;
    let url = format!("amqp://guest:guest@{}/", link.addr());
    let gateway = TestGateway::start(&[("AMQP_URL", &url)]).await;

    let number = |name, default| env::var(name).map_or(default, |number| number.parse().expect("a number"));
    let callers = number("GATEWAY_TEST_CALLERS", 32);
    let load = Load::start(&gateway, "killed", callers, patient);
    for _ in 0..number("GATEWAY_TEST_KILLS", 2) {
        load.flows(callers * 10, SOON).await;
        let (dials, down) = (link.accepted(), Instant::now());
        broker.kill().await;
        gets_unready_within(SECOND, &gateway).await;
        let silent = Instant::now();
        broker.start().await;
        let back = Instant::now();
        gets_ready_within_a_second(&broker.url(), &gateway).await;
        let first = eventually(SOON, "a confirm", || async { load.first_confirm_after(silent) }).await;
        let late = first.saturating_duration_since(back);
        assert!(
            late <= about_a_second(&broker.url()).await,
            "first confirm {late:?} after RabbitMQ was back"
        );
        // The gateway dials each connection after 50 to 400 ms, and after the first two failures after 200 ms at least.
        let most = CONNECTIONS * usize::try_from((back - down).as_millis() / 100 + 2).unwrap();
        let dials = link.accepted() - dials;
        println!("away for {:?}, {dials} dials, first confirm after {late:?}", back - down);
        assert!(dials <= most, "{dials} dials in {:?}", back - down);
    }
    load.flows(callers * 10, SOON).await;
    let answers = load.stop().await;
    let resent = answers.0.iter().filter(|answer| answer.is_duplicate_possible()).count();
    println!("{} answers, {resent} of them after a second attempt", answers.len());
    answers.assert_all_confirmed();
    let observer = Observer::connect(&broker.url()).await;
    answers.assert_agree_with(&observer.drain_ids("q").await);
    gateway.stop().await;
    broker.give_back().await;
}

/// SIGSTOP: the connections stay open, and RabbitMQ answers nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_rabbitmq_makes_publishes_unknown_never_duplicates_them_and_leaks_no_channel() {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    // This heartbeat does not close the connections during the test.
    let settings =
        [("AMQP_URL", &*broker.url()), ("RABBITMQ_HEARTBEAT", "60"), ("RABBITMQ_CHANNEL_WINDOW", "4")];
    let gateway = TestGateway::start(&settings).await;
    prove(&gateway, "amq.default?routing_key=q").await;
    observer.drain("q").await;
    publish(&gateway, "amq.default?routing_key=q", "before").await.assert_confirmed();

    broker.pause().await;
    // There are more callers than permits: some messages are written, some wait.
    let load = Load::of(&gateway, "frozen", 20, 2, |_| "amq.default?routing_key=q&timeout=700ms".to_owned());
    let mut frozen = load.end().await;
    for answer in &frozen.0 {
        match answer.outcome() {
            "not_sent" => answer.assert_refused("overloaded"),
            _ => answer.assert_unknown(),
        }
        assert!(answer.took() < Duration::from_millis(1_700), "{answer:?}");
    }
    assert!(frozen.0.iter().any(|answer| answer.outcome() == "unknown"));
    broker.resume().await;

    let late = || async { gateway.observes("publishes:overdue").await == 0 };
    eventually(SOON, "every overdue confirm arrives", late).await;
    let after = Load::of(&gateway, "thawed", 8, 10, to_q).end().await;
    after.assert_all_confirmed();
    frozen.0.extend(after.0);
    let mut there = observer.drain_ids("q").await;
    there.retain(|id| id != "before");
    frozen.assert_agree_with(&there);
    for id in &there {
        assert_eq!(there.iter().filter(|other| *other == id).count(), 1, "{id} was sent twice");
    }
    let leaks = || async {
        let at_broker = broker.confirm_channel_count().await;
        let open = gateway.observes("channels:open").await;
        at_broker.to_string() == open.to_string() && gateway.observes("publishes:in_flight").await == 0
    };
    eventually(SOON, "RabbitMQ has the channels of the pool and no others", leaks).await;
    gateway.stop().await;
    broker.give_back().await;
}

#[tokio::test]
async fn gateway_starts_without_rabbitmq_and_publishes_when_it_comes() {
    let broker = Broker::shared().await;
    let vhost = broker.vhost("absent").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    let link = Link::to(broker.address()).await;
    link.refuse().await;
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &vhost.url_by(link.addr()))]).await;
    assert_eq!(gateway.get("/health/live").send().await.unwrap().status(), 200);
    assert!(!gateway.is_ready().await);
    publish(&gateway, "amq.default?routing_key=q&timeout=1s", "early")
        .await
        .assert_refused("broker-unavailable");

    let waiting = publish(&gateway, "amq.default?routing_key=q&timeout=30s", "waits");
    let comes = async {
        link.mend();
        gets_ready_within_a_second(&vhost.url, &gateway).await;
    };
    let (answer, ()) = tokio::join!(waiting, comes);
    answer.assert_confirmed();
    assert_eq!((&answer.body["attempts"], answer.is_duplicate_possible()), (&1.into(), false));
    assert_eq!(observer.drain_ids("q").await, ["waits"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_connections_and_forced_closes_under_load_cause_no_error() {
    let (vhost, observer, link, gateway) = wired("cut", &[]).await;
    let load = Load::start(&gateway, "cut", 16, patient);
    load.flows(50, SOON).await;
    let dials = link.accepted();
    for _ in 0..3 {
        link.cut();
        load.flows(100, SOON).await;
    }
    for _ in 0..2 {
        vhost.close_connections().await;
        let closed = Instant::now();
        load.flows(50, SOON).await;
        let back = load.first_confirm_after(closed).unwrap() - closed;
        assert!(back <= about_a_second(&vhost.url).await, "first confirm {back:?} after the forced close");
    }
    let dials = link.accepted() - dials;
    // Each connection is closed five times; twice as many dials are allowed, since a dial may meet the next close.
    assert!(dials <= 10 * CONNECTIONS, "{dials} dials");
    let answers = load.stop().await;
    answers.assert_all_confirmed();
    let observer_again = if observer.is_connected() { observer } else { Observer::connect(&vhost.url).await };
    answers.assert_agree_with(&observer_again.drain_ids("q").await);
    gateway.stop().await;
}

/// The confirm of a publish is lost with its connection.
#[tokio::test]
async fn a_message_whose_confirm_is_lost_is_sent_again_and_marked_or_is_unknown_at_once_with_retry_false() {
    let (vhost, observer, link, gateway) = wired("lost-confirm", &[]).await;
    for (retry, copies) in [("false", 1), ("true", 2)] {
        prove(&gateway, "amq.default?routing_key=q").await;
        publish(&gateway, "amq.default?routing_key=q", "warm").await.assert_confirmed();
        observer.drain("q").await;
        link.set(Mode::BlackHole(Way::ToClient));
        let target = format!("amq.default?routing_key=q&timeout=30s&retry={retry}");
        let cut = async {
            eventually(SOON, "the message is in the queue", || async {
                observer.count("q").await == Some(1)
            })
            .await;
            link.mend();
            link.cut();
            Instant::now()
        };
        let (answer, cut) = tokio::join!(publish(&gateway, &target, "lost"), cut);
        assert!(answer.at - cut <= about_a_second(&vhost.url).await, "{answer:?}");
        if copies == 1 {
            answer.assert_unknown();
        } else {
            answer.assert_confirmed();
            assert_eq!((&answer.body["attempts"], answer.is_duplicate_possible()), (&2.into(), true));
        }
        assert_eq!(observer.drain_ids("q").await, vec!["lost"; copies]);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_publish_without_an_answer_is_unknown_at_its_deadline_and_never_sent_again() {
    let (_vhost, observer, link, gateway) = wired("silence", &[("RABBITMQ_HEARTBEAT", "60")]).await;
    for (way, copies) in [(Way::ToBroker, 0), (Way::ToClient, 1)] {
        prove(&gateway, "amq.default?routing_key=q").await;
        publish(&gateway, "amq.default?routing_key=q", "warm").await.assert_confirmed();
        observer.drain("q").await;
        link.set(Mode::BlackHole(way));
        let answer = publish(&gateway, "amq.default?routing_key=q&timeout=1s", "silent").await;
        answer.assert_unknown();
        assert!((SECOND..SECOND * 2).contains(&answer.took()), "{answer:?}");
        link.mend();
        link.cut();
        // The next message is confirmed over a new connection, and the state of the lost connection does not affect it.
        publish(&gateway, "amq.default?routing_key=q", "next").await.assert_confirmed();
        let ids = observer.drain_ids("q").await;
        assert_eq!(ids.iter().filter(|id| *id == "silent").count(), copies, "{ids:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_permit_of_an_overdue_publish_is_not_used_again_before_its_confirm_and_is_freed_then() {
    let one = [("RABBITMQ_POOL_SIZE", "1"), ("RABBITMQ_CHANNEL_WINDOW", "1"), ("RABBITMQ_HEARTBEAT", "60")];
    let (_vhost, observer, link, gateway) = wired("late", &one).await;
    prove(&gateway, "amq.default?routing_key=q").await;
    publish(&gateway, "amq.default?routing_key=q", "warm").await.assert_confirmed();
    for way in [Way::ToClient, Way::ToBroker, Way::Both] {
        observer.drain("q").await;
        link.set(Mode::Stall(way));
        publish(&gateway, "amq.default?routing_key=q&timeout=500ms", "late").await.assert_unknown();
        // The only permit is in use: the gateway wrote nothing.
        publish(&gateway, "amq.default?routing_key=q&timeout=500ms", "more")
            .await
            .assert_refused("overloaded");
        let late = || async { gateway.observes("publishes:overdue").await == 1 };
        eventually(SOON, "the overdue confirm is counted", late).await;
        link.mend();
        let settled = || async { gateway.observes("publishes:overdue").await == 0 };
        eventually(SOON, "the overdue confirm arrives", settled).await;
        publish(&gateway, "amq.default?routing_key=nowhere", "unroutable").await;
        publish(&gateway, "amq.default?routing_key=q", "next").await.assert_confirmed();
        assert_eq!(observer.drain_ids("q").await, ["late", "next"]);
    }
    // One of them belongs to isolated messages; the first publish to an exchange goes there.
    assert_eq!(
        (gateway.observes("channels:open").await, gateway.observes("publishes:in_flight").await),
        (2, 0)
    );
    gateway.stop().await;
}

#[tokio::test]
async fn readiness_changes_with_rabbitmq_and_publishes_end_at_their_deadline_while_it_is_away() {
    let (vhost, observer, link, gateway) = wired("away", &[]).await;
    for _ in 0..2 {
        link.refuse().await;
        link.cut();
        gets_unready_within(SECOND, &gateway).await;
        let health = gateway.get("/health/rabbitmq").send().await.unwrap();
        assert_eq!(health.status(), 503);
        let answer = publish(&gateway, "amq.default?routing_key=q&timeout=1s", "away").await;
        answer.assert_refused("broker-unavailable");
        assert!((SECOND..SECOND * 2).contains(&answer.took()), "{answer:?}");
        assert_eq!(gateway.get("/health/live").send().await.unwrap().status(), 200);
        link.mend();
        gets_ready_within_a_second(&vhost.url, &gateway).await;
        publish(&gateway, "amq.default?routing_key=q", "back").await.assert_confirmed();
        assert_eq!(observer.drain_ids("q").await, ["back"]);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_rabbitmq_that_accepts_and_is_silent_is_dialled_slowly_and_reconnected_when_it_answers() {
    let (_vhost, observer, link, gateway) = wired("mute", &[("RABBITMQ_CONNECTION_TIMEOUT", "1s")]).await;
    link.set(Mode::Silence);
    link.cut();
    gets_unready_within(SECOND, &gateway).await;
    let dials = link.accepted();
    publish(&gateway, "amq.default?routing_key=q&timeout=3s", "mute")
        .await
        .assert_refused("broker-unavailable");
    // Each connection has one dial at a time, which lasts a second.
    let dials = link.accepted() - dials;
    assert!((CONNECTIONS..=4 * CONNECTIONS).contains(&dials), "{dials} dials in 3 s");
    assert!(link.open() <= CONNECTIONS, "{} dials are left open", link.open());
    link.mend();
    // A dial that has begun gets no answer; the next one does.
    eventually(SECOND * 3, "the gateway is ready", || gateway.is_ready()).await;
    publish(&gateway, "amq.default?routing_key=q", "back").await.assert_confirmed();
    assert_eq!(observer.drain_ids("q").await, ["back"]);
    gateway.stop().await;
}
