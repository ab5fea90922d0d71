//! SIGTERM and SIGINT while messages are leased.

use super::*;
use crate::support::{
    caller::Caller,
    contract::Answer,
    gateway::TestGateway,
    link::{Mode, Way},
    process::Process,
    stage::linked,
};

/// Settles by a new connection, as a caller does after `Connection: close`.
async fn settle_anew(address: std::net::SocketAddr, lease: &str) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.post(format!("http://{address}/queues/q/messages/settle"));
    let body = json!({"ack": [lease]}).to_string();
    let answer = Answer::to(request.header("content-type", "application/json").body(body)).await;
    (answer.status, answer.json())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_still_settles_its_leases_and_ends_after_the_last_one() {
    let stage = Stage::set_with("lease_stop", &[("GATEWAY_SHUTDOWN_TIMEOUT", "30s")]).await;
    let Stage { vhost: _vhost, gateway, observer } = stage;
    observer.declare_queue("q").await;
    publish(&observer, "q", ["a", "b"]).await;
    let first = lease_id(&pull_one(&gateway, "q", "10m").await);
    let second = lease_id(&pull_one(&gateway, "q", "10m").await);
    let address = gateway.address();
    let waiting = tokio::spawn({
        let request = gateway.post("/queues/q/messages/pull").header("content-type", "application/json");
        Answer::to(request.body(r#"{"wait": "60s"}"#))
    });
    let consumes = || async {
        let queue = gateway.get("/queues/q").send().await.expect("an answer").json::<Value>().await;
        queue.is_ok_and(|queue| queue["consumer_count"] == 1)
    };
    eventually(SOON, "the caller waits", consumes).await;
    let stopping = tokio::spawn(gateway.stop());
    assert_eq!(waiting.await.expect("an answer").json(), json!({"messages": []}));
    for lease in [&first, &second] {
        assert!(!stopping.is_finished());
        let (status, body) = settle_anew(address, lease).await;
        assert_eq!((status, &body["results"][0]["outcome"]), (200, &"acked".into()), "{body}");
    }
    tokio::time::timeout(Duration::from_secs(10), stopping)
        .await
        .expect("it ends at once")
        .expect("it stops");
    assert_eq!(observer.count("q").await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_shutdown_timeout_messages_that_are_leased_go_back() {
    let stage = Stage::set_with("lease_stop_late", &[("GATEWAY_SHUTDOWN_TIMEOUT", "1s")]).await;
    let Stage { vhost: _vhost, gateway, observer } = stage;
    observer.declare_queue("q").await;
    publish(&observer, "q", ["a"]).await;
    pull_one(&gateway, "q", "10m").await;
    stop(gateway).await;
    assert_eq!(observer.count("q").await, Some(1));
}

async fn stop(gateway: TestGateway) {
    tokio::time::timeout(SOON, gateway.stop()).await.expect("it stops");
}

/// RabbitMQ has the reply, and its confirm does not come.
#[tokio::test]
async fn a_call_whose_reply_is_written_when_sigint_comes_is_not_served_again() {
    let (_vhost, observer, link, url) = linked("lease_int_reply").await;
    observer.declare_queue("answers").await;
    let mut caller = Caller::at(&observer, "answers").await;
    caller.ask("call").await;
    let settings = [("AMQP_URL", url.as_str()), ("GATEWAY_SHUTDOWN_TIMEOUT", "2s")];
    let mut process = Process::spawn(&settings);
    let address = process.address().await;
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = |path: &str, body: Value| {
        let request =
            client.post(format!("http://{address}{path}")).header("content-type", "application/json");
        Answer::to(request.body(body.to_string()))
    };
    // The first publish to a destination is isolated; this one makes it known.
    post("/publish/amq.default?routing_key=answers", json!("known")).await;
    assert_eq!(caller.reply().await.data, b"\"known\"");
    let pulled = post("/queues/q/messages/pull", json!({"wait": "10s", "lease": "10m"})).await.json();
    let lease = lease_id(&pulled["messages"][0]);
    for name in ["publish-*", "isolated-*"] {
        link.set_named(name, Mode::BlackHole(Way::ToClient));
    }
    let reply = post("/queues/q/messages/settle", json!({"reply": [{"lease_id": lease, "body": 30}]}));
    let stop = async {
        assert_eq!(caller.reply().await.data, b"30");
        process.signal("INT").await;
    };
    let (reply, ()) = tokio::join!(reply, stop);
    let result = reply.json()["results"][0].clone();
    assert_eq!(
        (&result["outcome"], &result["reply_delivered"]),
        (&"replied".into(), &Value::Null),
        "{result}"
    );
    assert!(process.wait(SOON).await.success(), "{}", process.stderr());
    has(&observer, "q", 0).await;
}
