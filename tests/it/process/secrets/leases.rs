//! Leased messages and the ids of their leases.

use lapin::BasicProperties;
use serde_json::{Value, json};

use super::*;
use crate::support::observer::Observer;

/// Sends JSON to a gateway, and returns the JSON of its answer.
async fn post(served: &Served, path: &str, body: Value) -> Value {
    let request = served.client.post(served.url(path)).header("content-type", "application/json");
    send(request.body(body.to_string())).await.json().await.expect("JSON")
}

/// Takes a message, and returns the id of its lease.
async fn lease(served: &Served, lease: &str) -> String {
    let pull = json!({"max": 1, "wait": "10s", "lease": lease});
    let answer = post(served, "/queues/q/messages/pull", pull).await;
    answer["messages"][0]["lease_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Settles messages in every way, at their owner and at another replica, rightly and wrongly. Returns the ids of all leases.
async fn settle_everything(owner: &Served, other: &Served) -> Vec<String> {
    let mut leases = vec![lease(owner, "100ms").await];
    for served in [owner, other] {
        for way in ["ack", "release", "reject", "retry", "dead_letter", "extend"] {
            let id = lease(owner, "1m").await;
            let item = match way {
                "retry" => json!({"lease_id": id, "delay": "1s", "reason": MARKER}),
                "dead_letter" => json!({"lease_id": id, "reason": MARKER}),
                "extend" => json!({"lease_id": id, "lease": "2m"}),
                _ => json!(id),
            };
            let (start, secret) = id.rsplit_once('.').expect("a secret");
            let guessed = format!("{start}.{}", secret.chars().rev().collect::<String>());
            for item in [json!(guessed), json!("marker7"), json!({"marker7": id})] {
                post(served, "/queues/q/messages/settle", json!({"ack": [item]})).await;
            }
            let body =
                json!({way: [item], "dead_letter_to": {"exchange": "amq.default", "routing_key": "q"}});
            for _ in 0..2 {
                post(served, "/queues/q/messages/settle", body.clone()).await;
            }
            let path = |action: &str| format!("/queues/q/leases/{id}/{action}");
            for (method, path) in [
                (Method::POST, path("release")),
                (Method::POST, path("marker7")),
                (Method::DELETE, format!("/queues/q/leases/{guessed}")),
                (Method::DELETE, format!("/queues/q/leases/{id}?marker7=1")),
                (Method::GET, format!("/queues/q/leases/{id}")),
            ] {
                send(served.client.request(method, served.url(&path))).await;
            }
            leases.push(id);
        }
        let next = send(served.client.post(served.url("/queues/q/messages/next?wait=10s"))).await;
        let location = next.headers()["location"].to_str().expect("a path").to_owned();
        leases.push(location.rsplit('/').next().expect("an id").to_owned());
        send(served.client.delete(served.url(&location))).await;
    }
    leases
}

/// One message is leased when the first gateway stops, and its owner is gone when the other one is asked.
#[tokio::test]
async fn no_leased_message_and_no_lease_id_is_printed() {
    let vhost = Broker::shared().await.vhost("leases-unsaid").await;
    let observer = Observer::connect(&vhost.url).await;
    observer.declare_queue("q").await;
    for _ in 0..30 {
        let properties = BasicProperties::default().with_message_id(MARKER.into()).with_type(MARKER.into());
        observer.publish("", "q", MARKER.as_bytes(), properties).await;
    }
    let settings = [("AMQP_URL", vhost.url.as_str()), ("GATEWAY_SHUTDOWN_TIMEOUT", "1s"), TRACE];
    let (mut owner, mut other) = (Served::start_ready(&settings).await, Served::start_ready(&settings).await);
    let mut leases = settle_everything(&owner, &other).await;
    let last = lease(&owner, "1m").await;
    owner.process.signal("INT").await;
    assert_eq!(owner.exit_code().await, 0);
    let gone = post(&other, "/queues/q/messages/settle", json!({"ack": [last]})).await;
    assert_eq!(gone["results"][0]["problem"]["type"], "/problems/lease-expired", "{gone}");
    leases.push(last);
    other.process.signal("INT").await;
    assert_eq!(other.exit_code().await, 0);
    for process in [&owner.process, &other.process] {
        assert!(process.output().contains("DEBUG"), "{}", process.output());
        assert_unsaid(MARKER, process);
        for id in &leases {
            assert_unsaid(id.rsplit('.').next().expect("a secret"), process);
        }
    }
}
