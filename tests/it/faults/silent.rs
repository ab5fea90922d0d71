//! One connection of several loses all bytes that are written to it, and no bytes come back.

use std::time::{Duration, Instant};

use lapin::ExchangeKind;

use super::{NOTICED, SECOND, SOON, assert_only_those_in_flight_are_unknown, to, wired};
use crate::support::{
    arrivals::Arrivals,
    broker::{Broker, OwnBroker},
    figures::{Window, longest_gap},
    gateway::TestGateway,
    link::{Link, Mode, Way},
    load::{Answers, Load, prove},
    observer::Observer,
    poll::{eventually, pass},
};

const CALLERS: usize = 16;
/// Time between two new publishes.
const PAUSE: Duration = Duration::from_millis(50);

const LOST: Mode = Mode::BlackHole(Way::Both);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_does_not_stop_publishing() {
    let (_vhost, observer, link, gateway) = wired("silent", &[]).await;
    prove(&gateway, &to("q", "4s")).await;
    let callers = Load::start(&gateway, "caller", CALLERS, |_| to("q", "4s"));
    callers.flows(20 * CALLERS, SOON).await;
    link.set_named("publish-0", LOST);
    let silent = Instant::now();
    let arrivals = Arrivals::start(&gateway, "arrival", PAUSE, |_| to("q", "4s"));
    pass(SECOND * 6).await;
    let window = Window { from: silent, to: Instant::now() };
    let mut answers = callers.stop().await;
    answers.0.extend(arrivals.stop().await.0);

    let gap = longest_gap(&answers.0, window);
    let unknown = answers.0.iter().filter(|answer| answer.outcome() == "unknown").count();
    println!("longest gap {gap:?}, {unknown} of {} unknown", answers.len());
    assert!(gap <= NOTICED, "no confirm for {gap:?}");
    assert_only_those_in_flight_are_unknown(&answers.0, silent);

    link.mend();
    link.cut_named("publish-0");
    eventually(SOON, "the connection is open again", || async { link.open_named("publish-0") == 1 }).await;
    let after = Load::of(&gateway, "after", CALLERS, 10, |_| to("q", "4s")).end().await;
    after.assert_all_confirmed();
    answers.0.extend(after.0);
    agree(&answers, &observer).await;
    gateway.stop().await;
}

/// The gateway replaces it long before a heartbeat is missed. The callers that wait on it keep it open until their deadlines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_nothing_is_answered_is_replaced_and_closed_after_the_last_deadline() {
    let (_vhost, observer, link, gateway) = wired("replaced", &[("RABBITMQ_HEARTBEAT", "60")]).await;
    prove(&gateway, &to("q", "8s")).await;
    let callers = Load::start(&gateway, "caller", CALLERS, |_| to("q", "8s"));
    callers.flows(20 * CALLERS, SOON).await;
    link.lose_named("publish-0");
    let silent = Instant::now();
    let arrivals = Arrivals::start(&gateway, "arrival", PAUSE, |_| to("q", "8s"));
    let is_dialled = || async { link.accepted_named("publish-0") == 2 };
    eventually(SECOND * 5, "a replacement is dialled", is_dialled).await;
    println!("replaced after {:?}", silent.elapsed());
    assert_eq!(link.open_named("publish-0"), 2, "callers wait on the old one");
    let is_closed = || async { link.open_named("publish-0") == 1 };
    eventually(SECOND * 10, "the old one is closed", is_closed).await;
    assert!(silent.elapsed() >= SECOND * 7, "closed after {:?}, before the deadline", silent.elapsed());
    let mut answers = callers.stop().await;
    answers.0.extend(arrivals.stop().await.0);
    assert_only_those_in_flight_are_unknown(&answers.0, silent);
    agree(&answers, &observer).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_becomes_silent_again_and_again_is_replaced_as_soon_each_time() {
    let settings = [("RABBITMQ_HEARTBEAT", "60"), ("RABBITMQ_PUBLISH_CONNECTIONS", "1")];
    let (_vhost, observer, link, gateway) = wired("again", &settings).await;
    prove(&gateway, &to("q", "1s")).await;
    let callers = Load::paced(&gateway, "caller", CALLERS, PAUSE, |_| to("q", "1s"));
    callers.flows(5 * CALLERS, SOON).await;
    for round in 1..=3 {
        link.lose_named("publish-0");
        let silent = Instant::now();
        let is_dialled = || async { link.accepted_named("publish-0") == 1 + round };
        eventually(SECOND * 10, "a replacement is dialled", is_dialled).await;
        let dialled = Instant::now();
        println!("round {round}: replaced after {:?}", dialled - silent);
        assert!(dialled - silent <= SECOND * 3, "round {round}: replaced after {:?}", dialled - silent);
        let is_confirmed = || async { callers.first_confirm_after(dialled) };
        eventually(SOON, "a publish is confirmed", is_confirmed).await;
        callers.flows(5 * CALLERS, SOON).await;
    }
    let answers = callers.stop().await;
    agree(&answers, &observer).await;
    gateway.stop().await;
}

/// A RabbitMQ of its own, for alarms, and a gateway behind a link.
async fn with_own_broker() -> (OwnBroker, Observer, Link, TestGateway) {
    let broker = Broker::own().await;
    let observer = Observer::connect(&broker.url()).await;
    observer.declare_queue("q").await;
    let link = Link::to(broker.address()).await;
    let url = format!("amqp://guest:guest@{}/", link.addr());
    let gateway = TestGateway::start(&[("AMQP_URL", &url)]).await;
    (broker, observer, link, gateway)
}

/// During an alarm RabbitMQ answers nothing, and the gateway knows the reason from `connection.blocked`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_an_alarm_blocks_is_not_replaced() {
    let (broker, observer, link, gateway) = with_own_broker().await;
    prove(&gateway, &to("q", "20s")).await;
    let callers = Load::paced(&gateway, "caller", CALLERS, PAUSE, |_| to("q", "20s"));
    callers.flows(5 * CALLERS, SOON).await;
    let dialled = link.accepted();
    broker.alarm_on().await;
    pass(SECOND * 4).await;
    assert_eq!(
        (link.accepted() - dialled, link.accepted_named("slow-*")),
        (0, 0),
        "dials because of an alarm"
    );
    broker.alarm_off().await;
    callers.flows(5 * CALLERS, SOON).await;
    let answers = callers.stop().await;
    for answer in answers.0.iter().filter(|answer| !answer.is_confirmed()) {
        answer.assert_refused("broker-blocked");
    }
    agree(&answers, &observer).await;
    gateway.stop().await;
    broker.give_back().await;
}

/// The other connections learn about the alarm only when they have a message unconfirmed too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_that_first_blocks_an_isolated_connection_causes_no_dial() {
    let (broker, observer, link, gateway) = with_own_broker().await;
    let roles = ["publish-0", "publish-1", "isolated-0", "isolated-1"];
    let are_open = || async { roles.iter().all(|role| link.open_named(role) == 1) };
    eventually(SOON, "all connections for publishes are open", are_open).await;
    broker.alarm_on().await;
    let dialled = link.accepted();
    let held = Load::of(&gateway, "held", 1, 1, |_| to("q", "20s"));
    pass(SECOND * 5).await;
    assert_eq!(link.accepted() - dialled, 0, "dials because of an alarm");
    broker.alarm_off().await;
    let answers = held.end().await;
    answers.assert_all_confirmed();
    pass(SECOND).await;
    assert_eq!(link.accepted() - dialled, 0, "dials after the alarm");
    agree(&answers, &observer).await;
    gateway.stop().await;
    broker.give_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_isolated_connection_does_not_stop_publishes_to_exchanges_not_used_before() {
    publish_beside_a_silent_isolated_connection("silent-isolated", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_isolated_connection_does_not_stop_such_publishes_with_one_isolated_channel_either() {
    publish_beside_a_silent_isolated_connection("silent-single", &[("RABBITMQ_ISOLATED_CHANNELS", "1")])
        .await;
}

async fn publish_beside_a_silent_isolated_connection(vhost: &str, settings: &[(&str, &str)]) {
    let (_vhost, observer, link, gateway) = wired(vhost, settings).await;
    let mut answers = Answers(Vec::new());
    for name in ["isolated-0", "isolated-1"] {
        declare_exchanges(&observer, name, 100).await;
        link.set_named(name, LOST);
        let silent = Instant::now();
        let arrivals =
            Arrivals::start(&gateway, name, PAUSE, move |number| format!("{name}-{number}?timeout=1s"));
        pass(SECOND * 4).await;
        let some = arrivals.stop().await;
        assert_only_those_in_flight_are_unknown(&some.0, silent);
        answers.0.extend(some.0);
        link.mend();
        link.cut_named(name);
        let are_back = || async { link.open_named("isolated-*") == 2 };
        eventually(SOON, "both isolated connections are open", are_back).await;
    }
    agree(&answers, &observer).await;
    gateway.stop().await;
}

/// All connections are lost, and the gateway cannot open one of the isolated ones again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_goes_on_after_a_loss_before_every_isolated_connection_is_back() {
    let (_vhost, observer, link, gateway) = wired("silent-dial", &[]).await;
    prove(&gateway, &to("q", "10s")).await;
    let mut answers = Answers(Vec::new());
    for name in ["isolated-0", "isolated-1"] {
        link.set_named(name, LOST);
        link.cut();
        let first = first_confirm(&gateway, &link, name, &mut answers).await;
        assert!(first <= NOTICED, "the first confirm came {first:?} after the loss, without {name}");
        link.mend();
        link.cut_named(name);
        let are_back = || async { link.open_named("isolated-*") == 2 };
        eventually(SOON, "both isolated connections are open", are_back).await;
    }
    agree(&answers, &observer).await;
    gateway.stop().await;
}

async fn first_confirm(gateway: &TestGateway, link: &Link, name: &str, answers: &mut Answers) -> Duration {
    let lost = Instant::now();
    let load = Load::start(gateway, name, CALLERS, |_| to("q", "10s"));
    load.flows(CALLERS * 5, SOON * 2).await;
    let first = load.first_confirm_after(lost).expect("some were confirmed");
    assert!(link.open_named(name) <= 1, "one dial at a time");
    let some = load.stop().await;
    some.assert_all_confirmed();
    answers.0.extend(some.0);
    first - lost
}

/// Fanout exchanges bound to `q`; their names begin with `name`.
async fn declare_exchanges(observer: &Observer, name: &str, count: usize) {
    for number in 0..count {
        let exchange = format!("{name}-{number}");
        observer.declare_exchange(&exchange, ExchangeKind::Fanout).await;
        observer.bind("q", &exchange, "").await;
    }
}

async fn agree(answers: &Answers, observer: &Observer) {
    let mut there = observer.take_ids("q").await;
    there.retain(|id| id != "proof");
    answers.assert_agree_with(&there);
}
