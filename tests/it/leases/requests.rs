//! Pulls and settles that the gateway refuses without asking RabbitMQ.

use serde_json::{Value, json};

use crate::support::{contract::Answer, gateway::TestGateway, stage::Stage};

const JSON: &str = "application/json";

/// A gateway with these settings, and its answer to a request with this body.
struct Door(TestGateway);

impl Door {
    /// No program listens at its address of RabbitMQ.
    async fn with(settings: &[(&str, &str)]) -> Self {
        let nowhere = [("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/")];
        Self(TestGateway::start_unready(&[&nowhere, settings].concat()).await)
    }

    async fn post(&self, path: &str, media_type: &str, body: impl Into<String>) -> Answer {
        Answer::to(self.0.post(path).header("content-type", media_type).body(body.into())).await
    }

    /// The kind of the problem, its field and its description.
    async fn refuses(&self, path: &str, body: impl Into<String>) -> (String, Value, String) {
        let answer = self.post(path, JSON, body).await;
        let (_, kind) = answer.verdict();
        (kind, answer.json()["field"].clone(), answer.text("detail"))
    }
}

fn id(serial: usize) -> String {
    format!("1.owner.{serial:x}.0000000000000007")
}

#[tokio::test]
async fn a_pull_beyond_a_limit_is_400_and_names_the_field_and_the_setting() {
    let settings = [("GATEWAY_PULL_MAX", "20"), ("GATEWAY_PULL_WAIT_MAX", "5s"), ("GATEWAY_LEASE_MAX", "2m")];
    let door = Door::with(&settings).await;
    for (body, field, setting) in [
        (r#"{"max":21}"#, "max", "GATEWAY_PULL_MAX"),
        (r#"{"max":0}"#, "max", "GATEWAY_PULL_MAX"),
        (r#"{"wait":"5001ms"}"#, "wait", "GATEWAY_PULL_WAIT_MAX"),
        (r#"{"lease":121}"#, "lease", "GATEWAY_LEASE_MAX"),
        (r#"{"lease":"0s"}"#, "lease", "GATEWAY_LEASE_MAX"),
    ] {
        let (kind, named, detail) = door.refuses("/queues/q/messages/pull", body).await;
        assert_eq!((kind.as_str(), &named), ("malformed-request", &field.into()), "{body}: {detail}");
        assert!(detail.contains(setting), "{body}: {detail}");
    }
    door.0.stop().await;
}

#[tokio::test]
async fn an_unknown_member_and_a_query_of_a_pull_are_400() {
    let door = Door::with(&[]).await;
    for (path, body, field) in [
        ("/queues/q/messages/pull", r#"{"count":1}"#, "count"),
        ("/queues/q/messages/pull", r#"{"wait":false}"#, "wait"),
        ("/queues/q/messages/pull", "[]", "body"),
        ("/queues/q/messages/pull?wait=1s", "{}", "wait"),
    ] {
        let (kind, named, detail) = door.refuses(path, body).await;
        assert_eq!((kind.as_str(), named), ("malformed-request", field.into()), "{body}: {detail}");
    }
    door.0.stop().await;
}

#[tokio::test]
async fn queues_of_rabbitmq_and_of_the_gateway_are_403_for_pull_and_settle() {
    let door = Door::with(&[]).await;
    for queue in ["amq.gen-JzTY20BRgKO-HjmUJj0wLg", "amq.rabbitmq.reply-to", "amq.rabbitmq.trace"] {
        for (operation, body) in [("pull", json!({})), ("settle", json!({"ack": [id(1)]}))] {
            let path = format!("/queues/{queue}/messages/{operation}");
            let answer = door.post(&path, JSON, body.to_string()).await;
            assert_eq!(answer.verdict(), (403, "reserved-name".to_owned()), "{path}");
        }
    }
    door.0.stop().await;
}

#[tokio::test]
async fn a_body_that_is_no_json_is_415_for_pull_and_settle() {
    let door = Door::with(&[]).await;
    for operation in ["pull", "settle"] {
        let path = format!("/queues/q/messages/{operation}");
        let answer = door.post(&path, "text/plain", "{}").await;
        assert_eq!(answer.verdict(), (415, "unsupported-media-type".to_owned()), "{operation}");
    }
    door.0.stop().await;
}

#[tokio::test]
async fn a_settle_with_a_wrong_item_is_400_and_names_its_place() {
    let door = Door::with(&[]).await;
    for (body, field) in [
        (json!({}), "body"),
        (json!({"ack": []}), "body"),
        (json!({"ack": [id(1), "x"]}), "ack[1]"),
        (json!({"ack": [{"lease_id": id(1)}]}), "ack[0]"),
        (json!({"ack": [id(1)], "release": [id(1)]}), "release[0]"),
        (json!({"extend": [{"lease_id": id(1)}]}), "extend[0].lease"),
        (json!({"extend": [{"lease_id": id(1), "lease": 0}]}), "extend[0].lease"),
        (json!({"retry": [id(1)]}), "retry[0]"),
        (json!({"retry": [{"lease_id": id(1), "delay": "soon"}]}), "retry[0].delay"),
        (json!({"retry": [{"lease_id": id(1), "delay": "25h"}]}), "retry[0].delay"),
        (json!({"dead_letter": [{"lease_id": id(1), "why": "x"}]}), "dead_letter[0].why"),
        (
            json!({"dead_letter": [{"lease_id": id(1)}], "dead_letter_to": {"exchange": ""}}),
            "dead_letter_to.exchange",
        ),
        (json!({"later": [id(1)]}), "later"),
    ] {
        let (kind, named, detail) = door.refuses("/queues/q/messages/settle", body.to_string()).await;
        assert_eq!((kind.as_str(), named), ("malformed-request", field.into()), "{body}: {detail}");
    }
    door.0.stop().await;
}

#[tokio::test]
async fn a_settle_of_more_than_1000_leases_is_413_and_settles_none() {
    let door = Door::with(&[]).await;
    let ids: Vec<_> = (1..=1_001).map(id).collect();
    let answer = door.post("/queues/q/messages/settle", JSON, json!({"ack": ids}).to_string()).await;
    assert_eq!(answer.verdict(), (413, "payload-too-large".to_owned()));
    assert_eq!(answer.json()["limit"], 1_000);
    door.0.stop().await;
}

#[tokio::test]
async fn a_timeout_of_a_settle_beyond_60_s_is_400() {
    let door = Door::with(&[("GATEWAY_SETTLE_TIMEOUT", "60s")]).await;
    let body = json!({"ack": [id(1)]}).to_string();
    let (kind, field, detail) = door.refuses("/queues/q/messages/settle?timeout=61s", body).await;
    assert_eq!((kind.as_str(), field), ("malformed-request", "timeout".into()), "{detail}");
    door.0.stop().await;
}

#[tokio::test]
async fn the_metrics_count_waiting_pulls() {
    let stage = Stage::set("leases_metric").await;
    assert_eq!(stage.gateway.metric("gateway_waiting_pulls").await, Some(0.0));
}
