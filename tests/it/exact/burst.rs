//! Many publishes get their permits on a channel at the same moment, on several threads.

use futures_util::future::join_all;

use crate::support::{
    fake_broker::{FakeBroker, Step},
    gateway::TestGateway,
    load::publish,
};

const WINDOW: usize = 256;
const ROUNDS: usize = 8;

/// The server refuses every second publish, in order of arrival.
fn alternately() -> Vec<Step> {
    let answer = |of: usize| match of % 2 {
        0 => Step::Ack { of, multiple: false },
        _ => Step::Nack { of, multiple: false },
    };
    (0..WINDOW).map(answer).collect()
}

/// Half of the callers wait until the server answers all others at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_get_their_permits_at_the_same_moment_each_get_their_own_answer() {
    let fake = FakeBroker::start().await;
    let window = WINDOW.to_string();
    let settings = [
        ("AMQP_URL", &*fake.url()),
        ("RABBITMQ_PUBLISH_CONNECTIONS", "1"),
        ("RABBITMQ_POOL_SIZE", "1"),
        ("RABBITMQ_CHANNEL_WINDOW", &window),
        ("RABBITMQ_HEARTBEAT", "0"),
    ];
    let gateway = TestGateway::start(&settings).await;
    publish(&gateway, "x", "warm").await.assert_confirmed();
    let mut wrong = Vec::new();
    for round in 0..ROUNDS {
        let played = [0, 1].map(|_| fake.arm(WINDOW, alternately(), vec![]));
        let ids: Vec<_> = (0..2 * WINDOW).map(|number| format!("{round}-{number}")).collect();
        let answers = join_all(ids.iter().map(|id| publish(&gateway, "x", id))).await;
        for played in played {
            let arrived = played.await.expect("all have arrived");
            let number = |id: &str| arrived.iter().position(|arrival| arrival.id == id);
            wrong.extend(
                answers
                    .iter()
                    .filter(|answer| {
                        let right = number(&answer.id).map(|number| ["confirmed", "rejected"][number % 2]);
                        right.is_some_and(|right| answer.outcome() != right)
                    })
                    .cloned(),
            );
        }
    }
    assert!(wrong.is_empty(), "{} are wrong, the first {:?}", wrong.len(), wrong[0]);
    gateway.stop().await;
}
