//! Two callers may use one message id at the same time, and each still gets its own answer.

use std::time::Duration;

use crate::support::{
    fake_broker::{Arrival, CHANNELS, FakeBroker, Step, any_isolated},
    gateway::TestGateway,
    load::{Answer, publish},
    poll::within,
};

const SOON: Duration = Duration::from_secs(10);

async fn gateway(fake: &FakeBroker, lanes: &str) -> TestGateway {
    let settings = [
        ("AMQP_URL", &*fake.url()),
        ("RABBITMQ_PUBLISH_CONNECTIONS", "1"),
        ("RABBITMQ_POOL_SIZE", lanes),
        ("RABBITMQ_ISOLATED_CONNECTIONS", "1"),
        ("RABBITMQ_HEARTBEAT", "0"),
    ];
    TestGateway::start(&settings).await
}

/// Two callers with one id. The server returns the first message that arrives and then acks the second.
async fn two_at_once(fake: &FakeBroker, gateway: &TestGateway) -> Vec<Arrival> {
    let ack = |of| Step::Ack { of, multiple: false };
    let played = fake.arm(2, vec![Step::Return(0), ack(1), ack(0)], vec![]);
    let one = publish(gateway, "x?routing_key=one", "same");
    let other = publish(gateway, "x?routing_key=other", "same");
    let (one, other) = within(SOON, "both are answered", async { tokio::join!(one, other) }).await;
    let arrived = within(SOON, "the script is played", played).await.expect("both have arrived");
    let of = |key: &str| if key == "one" { &one } else { &other };
    let told = |answer: &Answer| (answer.status.as_u16(), answer.outcome().to_owned());
    assert_eq!(told(of(arrived[0].routing_key())), (422, "unroutable".into()), "{one:?} {other:?}");
    assert_eq!(told(of(arrived[1].routing_key())), (200, "confirmed".into()), "{one:?} {other:?}");
    arrived
}

/// The connection and channel of each publish, sorted.
fn places(arrived: &[Arrival]) -> Vec<(&str, u16)> {
    let mut places: Vec<_> = arrived.iter().map(|it| (any_isolated(&it.connection), it.channel)).collect();
    places.sort_unstable();
    places
}

#[tokio::test]
async fn two_callers_with_one_message_id_on_a_single_lane_each_get_their_own_answer() {
    let fake = FakeBroker::start().await;
    let gateway = gateway(&fake, "1").await;
    publish(&gateway, "x", "warm").await.assert_confirmed();
    for _ in 0..5 {
        let arrived = two_at_once(&fake, &gateway).await;
        let places = places(&arrived);
        // The second one goes over an isolated channel, where no other message is in flight.
        assert!(matches!(places[..], [("isolated-*", _), ("publish-0", _)]), "{places:?}");
    }
    gateway.stop().await;
}

/// The first publishes to an exchange are isolated, on channels of one connection.
#[tokio::test]
async fn two_callers_with_one_message_id_on_two_channels_of_a_connection_each_get_their_own_answer() {
    let fake = FakeBroker::start().await;
    let gateway = gateway(&fake, "1").await;
    let arrived = two_at_once(&fake, &gateway).await;
    let places = places(&arrived);
    assert!(matches!(places[..], [("isolated-*", a), ("isolated-*", b)] if a != b), "{places:?}");
    gateway.stop().await;
}

/// Each time the server returns the message and closes its channel before the ack. The numbers of channels are used again.
#[tokio::test]
async fn publishes_with_the_id_of_a_lost_one_work_after_more_lost_channels_than_a_connection_has() {
    let fake = FakeBroker::start().await;
    let gateway = gateway(&fake, "1").await;
    for round in 0..2 * usize::from(CHANNELS) {
        publish(&gateway, "x", &format!("warm-{round}")).await.assert_confirmed();
        let steps = vec![Step::Return(0), Step::CloseChannel(406, "CLOSED - by the script")];
        let played = fake.arm(1, steps, vec![]);
        let returned = publish(&gateway, "x?retry=false", "same").await;
        assert_eq!((returned.status.as_u16(), returned.outcome()), (422, "unroutable"), "{returned:?}");
        within(SOON, "the script is played", played).await.expect("the publish has arrived");
        publish(&gateway, "x", &format!("warm-again-{round}")).await.assert_confirmed();
        publish(&gateway, "x", "same").await.assert_confirmed();
        assert_eq!(fake.brought("same").len(), 2 * (round + 1));
        assert!(fake.brought("same").iter().all(|by| by == "publish-0"));
    }
    gateway.stop().await;
}
