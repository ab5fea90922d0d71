//! A message whose channel RabbitMQ may close is isolated until its destination is good. The same rules hold for isolated
//! messages.

use std::time::{Duration, Instant};

use crate::support::{
    fake_broker::{CHANNELS, FakeBroker, Step},
    gateway::TestGateway,
    load::{Answer, Load, publish},
    poll::within,
};

const SOON: Duration = Duration::from_secs(10);
const MISSING: &str = "NOT_FOUND - no exchange 'x' in vhost '/'";
/// This text does not name the exchange.
const VAGUE: &str = "NOT_FOUND - no exchange";
const FORBIDDEN: &str = "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'guest'";
/// The part of it that callers see: neither the virtual host nor the gateway's user.
const FORBIDDEN_SEEN: &str = "ACCESS_REFUSED - write access to exchange 'x'";

async fn stage() -> (FakeBroker, TestGateway) {
    let fake = FakeBroker::start().await;
    let settings =
        [("AMQP_URL", &*fake.url()), ("RABBITMQ_HEARTBEAT", "0"), ("RABBITMQ_RETRY_DELAY", "10ms")];
    let gateway = TestGateway::start(&settings).await;
    (fake, gateway)
}

/// One publish, and the steps that the server plays when it arrives.
async fn met_by(
    fake: &FakeBroker,
    gateway: &TestGateway,
    steps: Vec<Step>,
    target: &str,
    id: &str,
) -> Answer {
    let played = fake.arm(1, steps, vec![]);
    let answer = publish(gateway, target, id).await;
    within(SOON, "the script is played", played).await.expect("the publish has arrived");
    answer
}

#[tokio::test]
async fn publishes_to_an_exchange_that_closed_a_channel_are_isolated_until_one_is_confirmed() {
    let (fake, gateway) = stage().await;
    let ends =
        [(MISSING, (404, "exchange-not-found", "not_sent")), (VAGUE, (504, "outcome-unknown", "unknown"))];
    for (round, (words, told)) in ends.into_iter().cycle().take(4).enumerate() {
        for (name, by) in [("alone", "isolated-*"), ("beside-others", "publish-")] {
            let id = format!("{name}-{round}");
            publish(&gateway, "x", &id).await.assert_confirmed();
            let brought = fake.brought(&id);
            assert!(matches!(&brought[..], [only] if only.starts_with(by)), "{id} by {brought:?}");
        }
        let close = vec![Step::CloseChannel(404, words)];
        let answer = met_by(&fake, &gateway, close, "x?retry=false", &format!("missing-{round}")).await;
        assert_eq!((answer.status.as_u16(), answer.problem(), answer.outcome()), told, "{answer:?}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_answer_to_an_isolated_publish_that_closed_its_channel_has_the_reason() {
    let (fake, gateway) = stage().await;
    for (code, words, problem) in [(404, MISSING, "exchange-not-found"), (403, FORBIDDEN, "forbidden")] {
        let close = vec![Step::CloseChannel(code, words)];
        let answer = met_by(&fake, &gateway, close, "x", problem).await;
        let told = (answer.status.as_u16(), answer.problem(), answer.outcome());
        assert_eq!(told, (code, problem, "not_sent"), "{answer:?}");
        assert_eq!(fake.brought(problem), ["isolated-*"]);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn many_callers_of_a_missing_exchange_cause_no_more_work_than_one() {
    cost_no_more_than_one(404, MISSING, "exchange-not-found").await;
}

#[tokio::test]
async fn many_callers_of_a_forbidden_exchange_cause_no_more_work_than_one() {
    cost_no_more_than_one(403, FORBIDDEN, "forbidden").await;
}

/// The gateway asks the server once in 10 ms, and all callers that wait at that time get the same answer.
async fn cost_no_more_than_one(code: u16, words: &'static str, problem: &str) {
    const CALLS: usize = 600;
    let (fake, gateway) = stage().await;
    for _ in 0..=CALLS {
        drop(fake.arm(1, vec![Step::CloseChannel(code, words)], vec![]));
    }
    let begun = Instant::now();
    assert_eq!(publish(&gateway, "x", "first").await.problem(), problem);
    let answers = Load::of(&gateway, "refused", 30, CALLS / 30, |_| "x".to_owned()).end().await;
    let most = begun.elapsed().as_millis() / 10 + 1;
    for answer in &answers.0 {
        let told = (answer.status.as_u16(), answer.problem(), answer.outcome());
        assert_eq!(told, (code, problem, "not_sent"), "{answer:?}");
        assert_eq!(answer.body["message_id"], *answer.id);
        let seen = if words == FORBIDDEN { FORBIDDEN_SEEN } else { words };
        assert!(answer.text.contains(seen) && !answer.text.contains("guest"), "{answer:?}");
    }
    let asked: usize = answers.0.iter().map(|answer| fake.brought(&answer.id).len()).sum();
    assert!((1..=most).contains(&(asked as u128)), "asked {asked} times, for {CALLS} calls");
    gateway.stop().await;
}

#[tokio::test]
async fn isolated_publish_is_sent_again_when_its_connection_is_lost_but_not_after_silence_or_an_alarm() {
    let (fake, gateway) = stage().await;
    let lost = met_by(&fake, &gateway, vec![Step::HangUp], "x", "lost").await;
    lost.assert_confirmed();
    assert!(lost.is_duplicate_possible(), "{lost:?}");
    assert_eq!(fake.brought("lost"), ["isolated-*", "isolated-*"]);
    let silent = met_by(&fake, &gateway, vec![], "silent?timeout=1s", "silent").await;
    silent.assert_unknown();
    assert_eq!(fake.brought("silent"), ["isolated-*"]);
    let blocked = met_by(&fake, &gateway, vec![Step::Block, Step::HangUp], "blocked", "blocked").await;
    blocked.assert_unknown();
    assert_eq!(fake.brought("blocked"), ["isolated-*"]);
    gateway.stop().await;
}

/// lapin still remembers the end of an earlier channel with the same number.
#[tokio::test]
async fn a_publish_is_not_refused_with_the_reason_that_closed_an_earlier_channel_of_the_same_number() {
    let (fake, gateway) = stage().await;
    for number in 0..3 * usize::from(CHANNELS) {
        let id = format!("missing-{number}");
        let answer = met_by(&fake, &gateway, vec![Step::CloseChannel(404, MISSING)], "x", &id).await;
        assert_eq!(answer.problem(), "exchange-not-found", "{answer:?}");
        publish(&gateway, &format!("other-{number}"), "fine").await.assert_confirmed();
    }
    gateway.stop().await;
}
