//! When all channels are full, a publish waits for the first free permit of any of them.

use std::time::Duration;

use crate::support::{
    fake_broker::{Arrival, FakeBroker},
    gateway::TestGateway,
    load::publish,
    poll::{eventually, within},
};

const SOON: Duration = Duration::from_secs(10);

/// Two channels with this number of permits each, for bodies of 1,000 bytes.
async fn stage(places: usize) -> (FakeBroker, TestGateway) {
    let fake = FakeBroker::start().await;
    let settings = [
        ("AMQP_URL", &*fake.url()),
        ("RABBITMQ_PUBLISH_CONNECTIONS", "1"),
        ("RABBITMQ_POOL_SIZE", "2"),
        ("RABBITMQ_CHANNEL_WINDOW", &places.to_string()),
        ("RABBITMQ_CHANNEL_WINDOW_BYTES", &(places * 1000).to_string()),
        ("RABBITMQ_HEARTBEAT", "0"),
    ];
    let gateway = TestGateway::start(&settings).await;
    publish(&gateway, "x", "warm").await.assert_confirmed();
    let all_are_open = || async { gateway.observes("channels:open").await == 3 };
    eventually(SOON, "both channels are open, and the one of the first publish", all_are_open).await;
    (fake, gateway)
}

async fn somebody_waits(gateway: &TestGateway) {
    let is_waiting = || async { gateway.observes("publishes:waiting").await == 1 };
    eventually(SOON, "a publish waits for a permit", is_waiting).await;
}

/// This number of publishes without confirms, on both channels.
async fn held(fake: &FakeBroker, gateway: &TestGateway, count: usize) -> Vec<Arrival> {
    let held = fake.arm(count, vec![], vec![]);
    for id in 0..count {
        let request = gateway.post("/publish/x").header("x-amqp-message-id", format!("held-{id}")).body("x");
        tokio::spawn(request.send());
    }
    let held = within(SOON, "the publishes are written", held).await.expect("all have arrived");
    assert!(held.iter().any(|it| it.channel != held[0].channel));
    held
}

#[tokio::test]
async fn publish_does_not_wait_for_a_stuck_channel_while_another_one_has_a_free_permit() {
    for freed in [0, 1] {
        let (fake, gateway) = stage(1).await;
        let held = held(&fake, &gateway, 2).await;
        let free_one = async {
            somebody_waits(&gateway).await;
            held[freed].confirm();
        };
        let third = async { tokio::join!(publish(&gateway, "x", "third"), free_one) };
        within(SOON, "the third is answered", third).await.0.assert_confirmed();
        held[1 - freed].confirm();
        gateway.stop().await;
    }
}

#[tokio::test]
async fn small_publish_does_not_wait_behind_a_large_one_while_a_channel_has_a_free_permit() {
    let (fake, gateway) = stage(4).await;
    let held = held(&fake, &gateway, 3).await;
    let large = tokio::spawn(gateway.post("/publish/x").body(vec![b'x'; 4000]).send());
    somebody_waits(&gateway).await;
    within(SOON, "the small one is answered", publish(&gateway, "x", "small")).await.assert_confirmed();
    held.iter().for_each(Arrival::confirm);
    let large = within(SOON, "the large one is answered", large).await;
    assert_eq!(large.expect("it is not cancelled").expect("it is answered").status(), 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_publish_that_waits_for_a_permit_is_refused_at_once_when_rabbitmq_blocks_publishers() {
    let (fake, gateway) = stage(1).await;
    let held = held(&fake, &gateway, 2).await;
    let block = async {
        somebody_waits(&gateway).await;
        held[0].block();
    };
    // Its own deadline is later.
    let refused = async { tokio::join!(publish(&gateway, "x?timeout=60s", "third"), block) };
    within(SOON, "the third is answered", refused).await.0.assert_refused("broker-blocked");
    assert!(fake.brought("third").is_empty(), "the gateway wrote the third message");
    held.iter().for_each(Arrival::confirm);
    gateway.stop().await;
}

#[tokio::test]
async fn a_publish_that_stays_unanswered_does_not_block_a_lane_for_ever() {
    let (fake, gateway) = stage(4).await;
    let held = fake.arm(1, vec![], vec![]);
    let first = tokio::spawn(gateway.post("/publish/x?timeout=60s").body("x").send());
    let held = within(SOON, "the first is written", held).await.expect("it has arrived");
    let before = fake.channels_opened();
    let is_replaced = async || {
        publish(&gateway, "x", "another").await.assert_confirmed();
        fake.channels_opened() > before
    };
    eventually(SOON, "its lane has a fresh channel", is_replaced).await;
    // The lane keeps the old channel until the publish is answered.
    held[0].confirm();
    let first = within(SOON, "the first is answered", first).await;
    assert_eq!(first.expect("it is not cancelled").expect("it is answered").status(), 200);
    gateway.stop().await;
}
