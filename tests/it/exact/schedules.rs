//! A server answers publishes in any order, and each caller gets the outcome of its own message.

use std::{
    env,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::runtime;

use super::schedule::{End, Schedule, Verdict};
use crate::support::{
    fake_broker::{FakeBroker, Step},
    gateway::TestGateway,
    load::{Answer, publish},
    poll::{eventually, within},
};

const SOON: Duration = Duration::from_secs(10);

/// `GATEWAY_TEST_SCHEDULES=5000` is the long form. The schedules are the same in each run.
#[test]
fn every_caller_gets_the_outcome_of_its_own_message_in_any_order_of_answers() {
    let cases = env::var("GATEWAY_TEST_SCHEDULES").map_or(64, |count| count.parse().expect("a number"));
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stage = runtime.block_on(Stage::set());
    let config = Config { cases, max_shrink_time: 20_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(&Schedule::any(), |schedule| runtime.block_on(stage.play(&schedule)));
    runtime.block_on(stage.gateway.stop());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

struct Stage {
    fake: FakeBroker,
    gateway: TestGateway,
    plays: AtomicUsize,
}

impl Stage {
    /// One channel carries all messages, so that all are in flight together on it.
    async fn set() -> Self {
        let fake = FakeBroker::start().await;
        let settings = [
            ("AMQP_URL", &*fake.url()),
            ("RABBITMQ_PUBLISH_CONNECTIONS", "1"),
            ("RABBITMQ_POOL_SIZE", "1"),
            ("RABBITMQ_HEARTBEAT", "0"),
            ("RABBITMQ_RETRY_DELAY", "10ms"),
        ];
        let gateway = TestGateway::start(&settings).await;
        Self { fake, gateway, plays: AtomicUsize::new(0) }
    }

    async fn play(&self, schedule: &Schedule) -> Result<(), TestCaseError> {
        let play = self.plays.fetch_add(1, Ordering::Relaxed);
        // Makes the exchange good again, after a lost channel has made its state unknown.
        publish(&self.gateway, "x", &format!("warm-{play}")).await.assert_confirmed();
        let script = schedule.play();
        let count = schedule.fates.len();
        let opened = self.fake.channels_opened();
        let played = self.fake.arm(count, script.steps.clone(), schedule.cuts.clone());
        // A deadline passes only in a schedule that ends in silence.
        let timeout = if schedule.end == End::Silence { "2s" } else { "10s" };
        let target = format!("x?retry={}&timeout={timeout}", schedule.retry);
        let ids: Vec<_> = (0..count).map(|number| format!("{play}-{number}")).collect();
        let answers = join_all(ids.iter().map(|id| publish(&self.gateway, &target, id))).await;
        let arrived = within(SOON, "the script is played", played).await.expect("all have arrived");
        for answer in &answers {
            let number =
                arrived.iter().position(|arrival| arrival.id == answer.id).expect("the publish has arrived");
            self.check(script.verdict(number), number, answer)?;
        }
        match schedule.end {
            End::Answered => {}
            End::Silence => self.end_silence(play).await,
            // Callers that were answered before the end would publish again in the middle of it.
            _ => {
                let is_reopened = || async { self.fake.channels_opened() > opened };
                eventually(SOON, "the lane has another channel", is_reopened).await;
            }
        }
        Ok(())
    }

    /// Unanswered messages are still in flight, and the next close of the channel would affect them.
    async fn end_silence(&self, play: usize) {
        let played = self.fake.arm(1, vec![Step::CloseChannel(404, "CLOSED - by the script")], vec![80]);
        publish(&self.gateway, "x?retry=true", &format!("end-{play}")).await.assert_confirmed();
        within(SOON, "the script is played", played).await.expect("the publish has arrived");
    }

    fn check(&self, verdict: Verdict, number: usize, answer: &Answer) -> Result<(), TestCaseError> {
        let (status, outcome, attempts) = match verdict {
            Verdict::Confirmed => (200, "confirmed", 1),
            Verdict::ConfirmedAgain => (200, "confirmed", 2),
            Verdict::Rejected => (503, "rejected", 1),
            Verdict::Unroutable => (422, "unroutable", 1),
            Verdict::NotSent => (404, "not_sent", 1),
            Verdict::Unknown => (504, "unknown", 1),
        };
        let told = (answer.status.as_u16(), answer.outcome(), answer.body["attempts"].as_u64());
        prop_assert_eq!(
            told,
            (status, outcome, Some(attempts)),
            "publish {} to arrive: {:?}",
            number,
            answer
        );
        prop_assert_eq!(answer.body["message_id"].as_str(), Some(&*answer.id));
        prop_assert_eq!(answer.is_duplicate_possible(), verdict == Verdict::ConfirmedAgain);
        // The first time on the shared lane, the second time isolated.
        let by: &[&str] = if attempts == 2 { &["publish-0", "isolated-*"] } else { &["publish-0"] };
        prop_assert_eq!(self.fake.brought(&answer.id), by, "publish {} to arrive", number);
        Ok(())
    }
}
