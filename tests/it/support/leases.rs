//! Pulls and settles by HTTP.

use serde_json::{Value, json};

use super::{contract::Answer, gateway::TestGateway};

/// Pulls from a queue with this body.
pub async fn pull(gateway: &TestGateway, queue: &str, body: Value) -> Answer {
    let request = gateway.post(&format!("/queues/{queue}/messages/pull"));
    Answer::to(request.header("content-type", "application/json").body(body.to_string())).await
}

/// The messages of a pull that succeeds.
pub async fn pulled(gateway: &TestGateway, queue: &str, body: Value) -> Vec<Value> {
    let answer = pull(gateway, queue, body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["messages"].as_array().expect("messages").clone()
}

/// The one message that comes at once or within ten seconds.
pub async fn pull_one(gateway: &TestGateway, queue: &str, lease: &str) -> Value {
    let mut messages = pulled(gateway, queue, json!({"max": 1, "wait": "10s", "lease": lease})).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

/// Whether the queue has no ready message, by a pull that does not wait.
pub async fn is_empty(gateway: &TestGateway, queue: &str) -> bool {
    pulled(gateway, queue, json!({"wait": 0})).await.is_empty()
}

pub fn lease_id(message: &Value) -> String {
    message["lease_id"].as_str().expect("a lease id").to_owned()
}

pub async fn settle(gateway: &TestGateway, queue: &str, actions: Value) -> Answer {
    let request = gateway.post(&format!("/queues/{queue}/messages/settle"));
    Answer::to(request.header("content-type", "application/json").body(actions.to_string())).await
}

/// The outcome of each action, or the name of its problem.
pub async fn outcomes(gateway: &TestGateway, queue: &str, actions: Value) -> Vec<String> {
    let answer = settle(gateway, queue, actions).await;
    assert!([200, 207].contains(&answer.status), "{}", answer.json());
    let body = answer.json();
    let results = body["results"].as_array().expect("results");
    assert_eq!(answer.status == 200, results.iter().all(|it| it["outcome"].is_string()), "{body}");
    let outcome = |result: &Value| {
        let name = result["outcome"].as_str().or(result["problem"]["type"].as_str());
        name.unwrap_or_else(|| panic!("{result}")).replace("/problems/", "")
    };
    results.iter().map(outcome).collect()
}

/// The outcome of the action with one lease.
pub async fn act(gateway: &TestGateway, queue: &str, action: &str, lease: &str) -> String {
    let mut outcomes = outcomes(gateway, queue, json!({action: [lease]})).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}
