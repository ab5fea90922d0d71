//! Health: the answers for probes and for people, and the load of the checks on RabbitMQ.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    broker::Broker, contract::Answer, gateway::TestGateway, poll::eventually, stage::Stage,
};

const SOON: Duration = Duration::from_secs(10);
const HEALTH_JSON: &str = "application/health+json";

/// The check with this name; there is exactly one.
fn check(answer: &Answer, name: &str) -> Value {
    let checks = answer.json()["checks"][name].clone();
    assert_eq!(checks.as_array().map(Vec::len), Some(1), "{name} in {}", answer.json());
    checks[0].clone()
}

/// The first answer with status `pass`. A gateway is ready before its last connection is open.
async fn passing(stage: &Stage, path: &str) -> Answer {
    eventually(SOON, "the health check passes", || async {
        let answer = stage.ask(Method::GET, path).await;
        (answer.text("status") == "pass").then_some(answer)
    })
    .await
}

#[tokio::test]
async fn live_and_ready_pass_in_the_health_media_type() {
    let stage = Stage::set("live").await;
    for path in ["/health/live", "/health/ready"] {
        let answer = stage.ask(Method::GET, path).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "pass"})));
        assert_eq!(answer.header("content-type"), HEALTH_JSON);
    }
}

#[tokio::test]
async fn without_rabbitmq_the_gateway_is_live_but_not_ready_and_its_health_fails() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}", nobody.local_addr().unwrap());
    drop(nobody);
    let gateway = TestGateway::start_unready(&[("AMQP_URL", &url)]).await;
    for (path, status, word) in [("live", 200, "pass"), ("ready", 503, "fail"), ("rabbitmq", 503, "fail")] {
        let answer = Answer::to(gateway.get(&format!("/health/{path}"))).await;
        assert_eq!((answer.status, answer.text("status").as_str()), (status, word), "{path}");
        assert_eq!(answer.header("content-type"), HEALTH_JSON);
        assert!(!answer.json().to_string().contains("guest"), "no secret and no user");
    }
}

#[tokio::test]
async fn health_of_rabbitmq_shows_connections_blocking_pool_and_round_trip() {
    let stage = Stage::set("shape").await;
    let answer = passing(&stage, "/health/rabbitmq").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), HEALTH_JSON);
    let checks = answer.json();
    for (name, checks) in checks["checks"].as_object().expect("checks by component") {
        for check in checks.as_array().expect("a list") {
            assert_eq!(check["status"], "pass", "{name}: {check}");
            assert!(!check["observedUnit"].as_str().unwrap_or_default().is_empty(), "{name}: {check}");
        }
    }
    assert_eq!(check(&answer, "publishing:blocked")["observedValue"], false);
    for (role, count) in [("publish", 2), ("isolated", 2), ("topology", 1), ("reply", 1), ("probe", 1)] {
        assert_eq!(check(&answer, &format!("{role}:connections"))["observedValue"], count, "{role}");
    }
    assert_eq!(check(&answer, "reply:queue")["observedValue"], true);
    assert!(check(&answer, "broker:round_trip")["observedValue"].as_f64() > Some(0.0));
    assert!(check(&answer, "publishes:in_flight")["observedValue"].is_u64());
}

#[tokio::test]
async fn queues_in_the_query_are_counted_and_a_missing_queue_fails() {
    let stage = Stage::with_queue("named").await;
    stage.gateway.publish("amq.default", "q", "x").await;
    stage.observer.declare_queue("a/b").await;
    let _consumer = stage.observer.consume("a/b").await;
    let answer = passing(&stage, "/health/rabbitmq?queue=q&queue=a%2Fb&queue=q").await;
    assert_eq!(answer.status, 200);
    for (name, value) in [("queue q:messages", 1), ("queue q:consumers", 0), ("queue a/b:consumers", 1)] {
        assert_eq!(check(&answer, name)["observedValue"], value, "{name}");
    }
    let answer = stage.ask(Method::GET, "/health/rabbitmq?queue=q&queue=none").await;
    assert_eq!((answer.status, answer.text("status").as_str()), (503, "fail"));
    let missing = check(&answer, "queue none:messages");
    assert_eq!((&missing["status"], &missing["output"]), (&json!("fail"), &json!("no such queue")));
    assert_eq!(check(&answer, "queue q:messages")["status"], "pass");
    assert_eq!(stage.observer.count("none").await, None, "a probe never writes");
}

#[tokio::test]
async fn configured_queues_are_always_checked_and_count_towards_the_limit() {
    let stage = Stage::set_with("configured", &[("GATEWAY_HEALTH_QUEUES", "q1,q2")]).await;
    stage.observer.declare_queue("q1").await;
    let answer = stage.ask(Method::GET, "/health/rabbitmq").await;
    assert_eq!(answer.status, 503);
    assert_eq!(check(&answer, "queue q1:messages")["observedValue"], 0);
    assert_eq!(check(&answer, "queue q2:messages")["status"], "fail");
    let asked = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("queue=other{n}")).collect();
        format!("/health/rabbitmq?{}", names.join("&"))
    };
    assert_eq!(stage.ask(Method::GET, &asked(18)).await.status, 503);
    let answer = stage.ask(Method::GET, &asked(19)).await;
    assert_eq!((answer.status, answer.text("field")), (400, "queue".to_owned()));
    assert_eq!(answer.json()["limit"], 20);
}

#[tokio::test]
async fn wrong_parameters_of_health_checks_are_400_and_the_problem_names_them() {
    let stage = Stage::set("questions").await;
    for (query, field) in
        [("queue=", "queue"), ("queue=a%0Ab", "queue"), ("queues=a", "queues"), ("verbose=1", "verbose")]
    {
        let answer = stage.ask(Method::GET, &format!("/health/rabbitmq?{query}")).await;
        assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()), "{query}");
        assert_eq!(answer.text("field"), field);
    }
}

#[tokio::test]
async fn many_probes_at_once_cause_one_check_of_rabbitmq_a_second() {
    let vhost = Broker::shared().await.vhost("burst").await;
    let (address, opened) = counting_wire(Broker::shared().await.address()).await;
    let gateway = TestGateway::start(&[("AMQP_URL", &vhost.url_by(address))]).await;
    // A gateway is ready before its second publish channel and the channel of the reply queue are open.
    let all_are_open = || async { opened.load(Ordering::SeqCst) == 3 };
    eventually(SOON, "two channels to publish on and one for replies", all_are_open).await;
    let start = Instant::now();
    let probes = (0..200).map(|_| Answer::to(gateway.get("/health/rabbitmq?queue=none")));
    let answers = join_all(probes).await;
    let looks = usize::try_from(start.elapsed().as_secs()).unwrap() + 1;
    assert!(answers.iter().all(|answer| answer.status == 503));
    let opened = opened.load(Ordering::SeqCst) - 3;
    // One channel for the round trip and one for the queue.
    assert!((1..=2 * looks).contains(&opened), "{opened} channels for {looks} checks");
}

/// A proxy to RabbitMQ that counts the channels that the gateway opens through it.
async fn counting_wire(broker: std::net::SocketAddr) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let broker = TcpStream::connect(broker).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_broker, mut to_broker) = broker.into_split();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move { count_frames(&mut from_client, &mut to_broker, &counter).await });
            tokio::spawn(async move { tokio::io::copy(&mut from_broker, &mut to_client).await });
        }
    });
    (address, opened)
}

/// Forwards the protocol header and then frames. A method frame 20.10 is `channel.open`.
async fn count_frames(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    opened: &AtomicUsize,
) -> std::io::Result<()> {
    let mut hello = [0; 8];
    from.read_exact(&mut hello).await?;
    to.write_all(&hello).await?;
    loop {
        let mut frame = vec![0; 7];
        from.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes([frame[3], frame[4], frame[5], frame[6]]);
        frame.resize(7 + usize::try_from(length).expect("a frame fits memory") + 1, 0);
        from.read_exact(&mut frame[7..]).await?;
        if frame[0] == 1 && frame[7..].starts_with(&[0, 20, 0, 10]) {
            opened.fetch_add(1, Ordering::SeqCst);
        }
        to.write_all(&frame).await?;
    }
}
