//! Fair share: a principal that asks for much is refused or waits, and the others are served.

mod proof;

use std::time::Duration;

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::Method;
use serde_json::json;

use super::{ALL, SOON, by, part, with};
use crate::support::{
    broker::Broker,
    contract::Answer,
    gateway::TestGateway,
    link::{Mode, Way},
    observer::{Observer, message_id},
    poll::{eventually, within},
    publish_stream::PublishStream,
    raw::Raw,
    stage::{Stage, wired},
};

/// The keys of two principals with all rights, and their file.
struct Two {
    greedy: ApiKey,
    small: ApiKey,
    file: String,
}

impl Two {
    fn new() -> Self {
        let (greedy, small) = (ApiKey::generate(), ApiKey::generate());
        let file = part("greedy", &greedy, ALL) + &part("small", &small, ALL);
        Self { greedy, small, file }
    }

    /// A stage with a queue `q`.
    async fn on_stage(&self, name: &str, limit: (&str, &str)) -> Stage {
        let stage = Stage::set_with(name, &[("GATEWAY_PRINCIPALS", &self.file), limit]).await;
        stage.observer.declare_queue("q").await;
        stage
    }
}

/// Checks that the answer refuses a principal with its share, and names this setting.
fn assert_over_share(answer: &Answer, setting: &str) {
    assert_eq!(answer.verdict(), (429, "rate-limited".to_owned()));
    assert_eq!(answer.header("retry-after"), "1");
    assert!(answer.text("detail").contains(setting), "{}", answer.json());
}

fn call(gateway: &TestGateway, key: &ApiKey, timeout: &str) -> impl Future<Output = Answer> + use<> {
    let request = by(gateway, key, Method::POST, &format!("/rpc/q?timeout={timeout}"));
    Answer::to(request.header("content-type", "text/plain").body("x"))
}

async fn metric(gateway: &TestGateway, key: &ApiKey, name: &str) -> Option<f64> {
    let answer = by(gateway, key, Method::GET, "/metrics").send().await.expect("an answer");
    let text = answer.text().await.expect("a text");
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

async fn publishes(gateway: &TestGateway, key: &ApiKey) {
    let publish = by(gateway, key, Method::POST, "/publish/amq.default?routing_key=q").body("x");
    assert_eq!(Answer::to(publish).await.status, 200);
}

#[tokio::test]
async fn a_principal_whose_calls_wait_for_most_replies_gets_429_and_another_one_can_call() {
    let (two, limit) = (Two::new(), ("GATEWAY_MAX_PENDING_REPLIES", "16"));
    let stage = two.on_stage("fair_calls", limit).await;
    let mut calls: FuturesUnordered<_> = (0..20).map(|_| call(&stage.gateway, &two.greedy, "20s")).collect();
    for _ in 0..5 {
        let refused = within(SOON, "a refusal", calls.next()).await.expect("a call");
        assert_over_share(&refused, limit.0);
        assert_eq!(
            (refused.json()["outcome"].clone(), refused.json()["retryable"].clone()),
            (json!("not_sent"), json!(true))
        );
    }
    assert_eq!(call(&stage.gateway, &two.small, "50ms").await.verdict(), (504, "rpc-timeout".to_owned()));
    assert_eq!(calls.len(), 15, "the other calls wait");
}

#[tokio::test]
async fn the_only_principal_may_hold_a_whole_limit() {
    let (key, limit) = (ApiKey::generate(), ("GATEWAY_MAX_PENDING_REPLIES", "16"));
    let file = part("only", &key, ALL);
    let stage = Stage::set_with("fair_only", &[("GATEWAY_PRINCIPALS", &file), limit]).await;
    stage.observer.declare_queue("q").await;
    let mut calls: FuturesUnordered<_> = (0..17).map(|_| call(&stage.gateway, &key, "20s")).collect();
    let refused = within(SOON, "a refusal", calls.next()).await.expect("a call");
    assert_eq!(refused.verdict(), (503, "overloaded".to_owned()));
    eventually(SOON, "the other calls wait", async || {
        metric(&stage.gateway, &key, "gateway_rpc_pending_replies").await == Some(16.0)
    })
    .await;
}

#[tokio::test]
async fn a_principal_with_most_requests_in_flight_gets_429_and_another_one_publishes() {
    let (two, limit) = (Two::new(), ("GATEWAY_MAX_REQUESTS_IN_FLIGHT", "32"));
    let stage = two.on_stage("fair_requests", limit).await;
    let head = format!(
        "POST /publish/amq.default?routing_key=q HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 5\r\n\r\n",
        two.greedy.reveal()
    );
    // Each waits for the rest of its body.
    let mut open = Vec::new();
    for _ in 0..30 {
        let mut raw = Raw::connect(stage.gateway.address()).await;
        raw.send(&head).await;
        open.push(raw);
    }
    let refused = || Answer::to(by(&stage.gateway, &two.greedy, Method::GET, "/queues/q"));
    eventually(SOON, "all are in flight", async || refused().await.status == 429).await;
    assert_over_share(&refused().await, limit.0);
    publishes(&stage.gateway, &two.small).await;
    // It alone holds the resource again.
    open.truncate(20);
    eventually(SOON, "the others have ended", async || refused().await.status == 200).await;
    publishes(&stage.gateway, &two.greedy).await;
    for mut raw in open {
        raw.send("12345").await;
        assert_eq!(raw.response(SOON).await.status, 200);
    }
}

#[tokio::test]
async fn a_principal_with_most_waiting_pulls_gets_429_and_another_one_takes_a_message() {
    let (two, limit) = (Two::new(), ("GATEWAY_MAX_WAITING_PULLS", "16"));
    let stage = two.on_stage("fair_pulls", limit).await;
    let pull = |key: &ApiKey, queue: &str| {
        let request = by(&stage.gateway, key, Method::POST, &format!("/queues/{queue}/messages/pull"));
        Answer::to(with(request, &json!({"max": 1, "wait": "20s"})))
    };
    stage.observer.declare_queue("other").await;
    let mut pulls: FuturesUnordered<_> = (0..16).map(|_| pull(&two.greedy, "q")).collect();
    let refused = within(SOON, "a refusal", pulls.next()).await.expect("a pull");
    assert_over_share(&refused, limit.0);
    stage.observer.publish("", "other", b"x", lapin::BasicProperties::default()).await;
    let taken = pull(&two.small, "other").await;
    assert_eq!(taken.json()["messages"].as_array().map(Vec::len), Some(1), "{}", taken.json());
    assert_eq!(pulls.len(), 15);
}

#[tokio::test]
async fn a_principal_with_most_streams_gets_429_and_another_one_opens_a_stream() {
    let (two, limit) = (Two::new(), ("GATEWAY_MAX_PUBLISH_STREAMS", "16"));
    let stage = two.on_stage("fair_streams", limit).await;
    let open = async |key: &ApiKey| {
        let header = format!("authorization: Bearer {}\r\n", key.reveal());
        let mut stream =
            PublishStream::open_with(stage.gateway.address(), "/publish/amq.default/stream", &header).await;
        stream.line(&json!({"routing_key": "q", "body": "x"})).await;
        stream
    };
    let mut streams = Vec::new();
    for _ in 0..15 {
        let mut stream = open(&two.greedy).await;
        assert_eq!(stream.header().await.0, 200);
        streams.push(stream);
    }
    let (status, header) = open(&two.greedy).await.into_header().await;
    assert_eq!(status, 429, "{header}");
    let mut small = open(&two.small).await;
    assert_eq!(small.header().await.0, 200);
}

#[tokio::test]
async fn a_principal_that_holds_most_leases_gets_429_until_it_settles_some_and_another_one_gets_messages() {
    let (two, limit) = (Two::new(), ("GATEWAY_MAX_LEASES", "32"));
    let settings = [("GATEWAY_PRINCIPALS", two.file.as_str()), limit, ("GATEWAY_PULL_MAX", "32")];
    let stage = Stage::set_with("fair_leases", &settings).await;
    stage.observer.declare_queue("q").await;
    for _ in 0..64 {
        stage.observer.publish("", "q", b"x", lapin::BasicProperties::default()).await;
    }
    let pull = async |key: &ApiKey| {
        let request = by(&stage.gateway, key, Method::POST, "/queues/q/messages/pull");
        let answer = Answer::to(with(request, &json!({"max": 32, "wait": "20s"}))).await;
        let messages = answer.json()["messages"].as_array().cloned().unwrap_or_default();
        let ids = messages.iter().map(|message| message["lease_id"].clone());
        (answer, ids.collect::<Vec<_>>())
    };
    let mut held = Vec::new();
    let refused = loop {
        let (answer, mut ids) = pull(&two.greedy).await;
        if ids.is_empty() {
            break answer;
        }
        held.append(&mut ids);
    };
    assert_eq!(held.len(), 30);
    assert_over_share(&refused, limit.0);
    assert_eq!(pull(&two.small).await.1.len(), 1);
    // RabbitMQ has delivered no message in vain, which would spend its deliveries.
    let ack = by(&stage.gateway, &two.greedy, Method::POST, "/queues/q/messages/settle");
    assert_eq!(Answer::to(with(ack, &json!({"ack": held[..20]}))).await.status, 200);
    let (again, more) = pull(&two.greedy).await;
    assert_eq!(more.len(), 5, "half of the rest: {}", again.json());
    let came_again =
        again.json()["messages"].as_array().into_iter().flatten().any(|it| it["redelivered"] == true);
    assert!(!came_again, "{}", again.json());
}

#[tokio::test]
async fn many_callers_of_one_principal_wait_for_a_gateway_that_has_just_started_and_none_gets_429() {
    let two = Two::new();
    let vhost = Broker::shared().await.vhost("fair_start").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    // The other principal has requests in flight too, so half of the limit is a share.
    let settings = [
        ("GATEWAY_PRINCIPALS", two.file.as_str()),
        ("AMQP_URL", vhost.url.as_str()),
        ("GATEWAY_MAX_REQUESTS_IN_FLIGHT", "144"),
    ];
    let gateway = TestGateway::start_unready(&settings).await;
    let publishes = |key| (0..64).map(|_| publishes(&gateway, key)).collect::<Vec<_>>();
    join_all(publishes(&two.greedy).into_iter().chain(publishes(&two.small).into_iter().take(8))).await;
    assert_eq!(observer.drain("q").await.len(), 72);
}

#[tokio::test]
async fn a_publish_of_a_small_principal_does_not_wait_behind_those_of_a_greedy_one() {
    let two = Two::new();
    let settings = [
        ("GATEWAY_PRINCIPALS", two.file.as_str()),
        ("RABBITMQ_POOL_SIZE", "1"),
        ("RABBITMQ_PUBLISH_CONNECTIONS", "1"),
        ("RABBITMQ_CHANNEL_WINDOW", "4"),
        // The confirms are late by intention.
        ("RABBITMQ_SLOW_AFTER", "1m"),
    ];
    let (_vhost, observer, link, gateway) = wired("fair_window", &settings).await;
    let publish = |key: &ApiKey, id: String| {
        let request = by(&gateway, key, Method::POST, "/publish/amq.default?routing_key=q&timeout=30s");
        Answer::to(request.header("x-amqp-message-id", id).body("x"))
    };
    // From now on the exchange is known to take messages.
    assert_eq!(publish(&two.greedy, "first".to_owned()).await.status, 200);
    link.set_named("publish-*", Mode::Stall(Way::ToClient));
    let waiting =
        async || metric(&gateway, &two.small, "gateway_publishes_waiting").await.unwrap_or_default();
    let greedy: Vec<_> =
        (0..100).map(|n| tokio::spawn(publish(&two.greedy, format!("greedy-{n}")))).collect();
    eventually(SOON, "the window is full", async || waiting().await >= 96.0).await;
    let small: Vec<_> = (0..2).map(|n| tokio::spawn(publish(&two.small, format!("small-{n}")))).collect();
    eventually(SOON, "all wait", async || waiting().await >= 98.0).await;
    link.mend_named("publish-*");
    for answer in greedy.into_iter().chain(small) {
        assert_eq!(within(Duration::from_secs(30), "an answer", answer).await.expect("no panic").status, 200);
    }
    let order: Vec<_> = observer.drain("q").await.iter().map(message_id).collect();
    let last = order.iter().rposition(|id| id.starts_with("small")).expect("it is there");
    // 1 before, 4 in the window, 16 whose turns had begun, and 2 of its own.
    assert!((3..=25).contains(&last), "at {last} of {order:?}");
}

#[tokio::test]
async fn streams_that_wait_for_a_stuck_queue_do_not_stop_the_publishes_of_another_principal() {
    let two = Two::new();
    let settings = [
        ("GATEWAY_PRINCIPALS", two.file.as_str()),
        ("RABBITMQ_CHANNEL_WINDOW", "64"),
        // The gateway does not move the publishes to the stuck queue to a connection of their own.
        ("RABBITMQ_SLOW_AFTER", "1m"),
    ];
    let stage = Stage::set_with("fair_stuck", &settings).await;
    for queue in ["q", "stuck"] {
        stage.observer.declare_queue(queue).await;
    }
    publishes(&stage.gateway, &two.small).await;
    let stuck = stage.vhost.suspend_queue("stuck").await;
    let header = format!("authorization: Bearer {}\r\n", two.greedy.reveal());
    let line = json!({"routing_key": "stuck", "body": "x"});
    let mut streams = Vec::new();
    for _ in 0..30 {
        let path = "/publish/amq.default/stream";
        let mut stream = PublishStream::open_with(stage.gateway.address(), path, &header).await;
        stream.line(&line).await;
        streams.push(stream);
    }
    // All are on the first channel, since it is less than half full, and the further lines of each have to follow there.
    let at_least = async |name: &str, count: f64| {
        eventually(SOON, name, async || metric(&stage.gateway, &two.small, name).await >= Some(count)).await;
    };
    at_least("gateway_publishes_in_flight", 30.0).await;
    for stream in &mut streams {
        for _ in 0..10 {
            stream.line(&line).await;
        }
    }
    at_least("gateway_publishes_waiting", 25.0).await;
    for _ in 0..10 {
        within(Duration::from_secs(1), "a publish", publishes(&stage.gateway, &two.small)).await;
    }
    stuck.resume().await;
}

#[tokio::test]
async fn a_pull_of_many_bytes_gets_its_messages_although_another_principal_has_a_body_in_memory() {
    let two = Two::new();
    let settings = [
        ("GATEWAY_PRINCIPALS", two.file.as_str()),
        ("GATEWAY_MAX_BYTES_IN_FLIGHT", "4MiB"),
        ("GATEWAY_MAX_BODY_BYTES", "1MiB"),
    ];
    let stage = Stage::set_with("fair_bytes", &settings).await;
    stage.observer.declare_quorum_queue("q").await;
    for _ in 0..25 {
        stage.observer.publish("", "q", &vec![b'x'; 100_000], lapin::BasicProperties::default()).await;
    }
    let mut open = Raw::connect(stage.gateway.address()).await;
    let head = format!(
        "POST /publish/amq.default?routing_key=q HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 5\r\n\r\n1",
        two.small.reveal()
    );
    open.send(head).await;
    eventually(SOON, "the body is in memory", async || {
        metric(&stage.gateway, &two.greedy, "gateway_http_body_bytes_in_flight").await > Some(0.0)
    })
    .await;
    let mut count = 0;
    while count < 25 {
        let request = by(&stage.gateway, &two.greedy, Method::POST, "/queues/q/messages/pull");
        let answer = Answer::to(with(request, &json!({"max": 25, "wait": "10s"}))).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        let messages = answer.json()["messages"].as_array().cloned().unwrap_or_default();
        assert!(messages.iter().all(|message| message["redelivered"] == false));
        count += messages.len();
    }
}
