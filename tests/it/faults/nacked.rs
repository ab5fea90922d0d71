//! A channel nacks every message to a queue, although a fresh channel would confirm them. RabbitMQ does this when a channel's
//! first publish to a quorum queue fell into an election.

use std::time::{Duration, Instant};

use super::{SECOND, SOON};
use crate::support::{
    fake_broker::FakeBroker,
    gateway::TestGateway,
    load::{Answer, Answers, Load, prove},
    poll::{eventually, pass},
};

const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(10);
/// A second of nacks, and the time to replace a channel.
const REPLACED: Duration = Duration::from_secs(2);
const SOUR: &str = "amq.default?routing_key=sour&timeout=5s";
const WELL: &str = "amq.default?routing_key=well&timeout=5s";

async fn stage() -> (FakeBroker, TestGateway) {
    let fake = FakeBroker::start().await;
    let gateway = TestGateway::start(&[("AMQP_URL", &*fake.url()), ("RABBITMQ_HEARTBEAT", "0")]).await;
    (fake, gateway)
}

fn start(gateway: &TestGateway, name: &str, target: &'static str) -> Load {
    Load::paced(gateway, name, CALLERS, PAUSE, move |_| target.to_owned())
}

/// 503 `rejected`, and the gateway sent the message once.
fn assert_is_rejected(fake: &FakeBroker, answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.outcome()), (503, "rejected"), "{answer:?}");
    assert_eq!(fake.brought(&answer.id).len(), 1, "{answer:?}");
}

fn assert_has_nothing_to_do_with_it(answers: &Answers) {
    answers.assert_all_confirmed();
    assert!(
        answers.0.iter().all(|answer| answer.body["attempts"] == 1),
        "a message to another queue was sent twice"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_nacks_a_queue_for_a_quarter_of_a_second_is_replaced() {
    let (fake, gateway) = stage().await;
    prove(&gateway, SOUR).await;
    let (sour, well) = (start(&gateway, "sour", SOUR), start(&gateway, "well", WELL));
    sour.flows(20 * CALLERS, SOON).await;
    fake.nack_on_channels_of_now("sour");
    let since = Instant::now();
    pass(REPLACED).await;
    sour.flows(20 * CALLERS, SOON).await;
    let (sour, well) = (sour.stop().await, well.stop().await);
    let (confirmed, rejected): (Vec<&Answer>, Vec<_>) =
        sour.0.iter().partition(|answer| answer.is_confirmed());
    let last = rejected.iter().map(|answer| answer.at).max().expect("some were rejected");
    println!("{} confirmed, {} rejected, the last after {:?}", confirmed.len(), rejected.len(), last - since);
    assert!(rejected.len() > CALLERS, "only {}", rejected.len());
    for answer in &rejected {
        assert_is_rejected(&fake, answer);
    }
    assert!(last <= since + REPLACED, "the last rejected came after {:?}", last - since);
    assert_has_nothing_to_do_with_it(&well);
    gateway.stop().await;
}

/// Isolated channels follow the same rule. The fake server also nacks on shared channels, which messages to the exchange use once
/// it is good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_channel_that_nacks_a_queue_for_a_quarter_of_a_second_is_replaced() {
    let (fake, gateway) = stage().await;
    // Each of these publishes opens a channel when no idle one is there.
    let many = Load::of(&gateway, "other", 16, 4, |number| format!("other-{number}?routing_key=well"));
    many.end().await.assert_all_confirmed();
    fake.nack_on_channels_of_now("sour");
    let since = Instant::now();
    let sour = start(&gateway, "sour", "unused?routing_key=sour&timeout=5s");
    let is_rejected = || async { sour.answered() > sour.confirmed() };
    eventually(SOON, "a first one is rejected", is_rejected).await;
    pass(REPLACED * 2).await;
    sour.flows(20 * CALLERS, SOON).await;
    let sour = sour.stop().await;
    let rejected: Vec<_> = sour.0.iter().filter(|answer| !answer.is_confirmed()).collect();
    let last = rejected.iter().map(|answer| answer.at).max().expect("some were rejected");
    println!("{} rejected, the last after {:?}", rejected.len(), last - since);
    for answer in &rejected {
        assert_is_rejected(&fake, answer);
    }
    assert!(last <= since + REPLACED * 2, "the last rejected came after {:?}", last - since);
    gateway.stop().await;
}

/// The gateway replaces the channel after a quarter of a second, then after pauses that double: three or four times in six
/// seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_causes_few_fresh_channels_and_does_not_affect_other_queues() {
    let (fake, gateway) = stage().await;
    prove(&gateway, SOUR).await;
    let (full, well) = (start(&gateway, "full", SOUR), start(&gateway, "well", WELL));
    full.flows(20 * CALLERS, SOON).await;
    let lanes = usize::try_from(gateway.observes("channels:open").await).unwrap();
    let before = fake.channels_opened();
    fake.nack_on_all_channels("sour");
    let since = Instant::now();
    pass(SECOND * 6).await;
    let until = Instant::now();
    let opened = fake.channels_opened() - before;
    fake.stop_nacks();
    full.flows(20 * CALLERS, SOON).await;
    let (full, well) = (full.stop().await, well.stop().await);
    println!("{opened} fresh channels of {lanes} lanes");
    assert!((1..=4 * lanes).contains(&opened), "{opened} fresh channels of {lanes} lanes");
    for answer in full.0.iter().filter(|answer| !answer.is_confirmed()) {
        assert_is_rejected(&fake, answer);
    }
    let meanwhile = full.0.iter().filter(|answer| answer.sent > since && answer.at < until);
    let confirmed = meanwhile.filter(|answer| answer.is_confirmed()).count();
    assert_eq!(confirmed, 0, "a full queue took messages");
    assert_has_nothing_to_do_with_it(&well);
    gateway.stop().await;
}
