//! The topologies of RabbitMQ's tutorials one to six, and one of headers: made, used and removed through HTTP alone.
//!
//! The second AMQP client only takes the messages, and is the server of tutorial six.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    contract::Answer,
    echo::{echo, serve},
    stage::Stage,
};

const SOON: Duration = Duration::from_secs(30);

/// Makes, uses and removes the objects of one tutorial.
struct Tutorial<'a>(&'a Stage);

impl Tutorial<'_> {
    async fn queue(&self, name: &str, body: Value) {
        self.declare(&format!("/queues/{name}"), &body, 201).await;
    }

    async fn exchange(&self, name: &str, kind: &str) {
        self.declare(&format!("/exchanges/{name}"), &json!({"type": kind, "durable": false}), 201).await;
    }

    async fn bind(&self, queue: &str, exchange: &str, body: Value) {
        self.declare(&format!("/queues/{queue}/bindings/{exchange}"), &body, 200).await;
    }

    async fn declare(&self, path: &str, body: &Value, status: u16) {
        let answer = self.0.declare(path, &body.to_string()).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }

    /// Publishes, and checks that exactly these queues got the message.
    async fn reaches(&self, target: &str, headers: &[(&str, &str)], queues: &[&str]) {
        let mut request = self.0.post(&format!("/publish/{target}")).header("content-type", "text/plain");
        for (name, value) in headers {
            request = request.header(format!("x-amqp-header-{name}"), *value);
        }
        let answer = Answer::to(request.body(target.to_owned())).await;
        assert_eq!(answer.status, if queues.is_empty() { 422 } else { 200 }, "{target}: {answer:?}");
        for queue in queues {
            let got = self.0.observer.get_one(queue, SOON).await;
            assert_eq!(got.data, target.as_bytes(), "{queue}");
        }
    }

    /// Deletes, and checks that nothing is left. A message in a queue would be one that it should not have got.
    async fn remove(&self, exchange: Option<&str>, queues: &[&str]) {
        if let Some(exchange) = exchange {
            let path = format!("/exchanges/{exchange}");
            assert_eq!(self.0.ask(Method::DELETE, &path).await.status, 204, "{exchange}");
            assert_eq!(self.0.ask(Method::GET, &path).await.status, 404, "{exchange}");
        }
        for queue in queues {
            let deleted = self.0.ask(Method::DELETE, &format!("/queues/{queue}?if_empty=true")).await;
            assert_eq!(deleted.status, 200, "{queue}: {deleted:?}");
            assert_eq!(self.0.observer.count(queue).await, None, "{queue}");
        }
    }
}

#[tokio::test]
async fn the_topologies_of_the_tutorials_are_made_used_and_removed_through_http_alone() {
    let stage = Stage::set("tutorials").await;
    let tutorial = Tutorial(&stage);
    one_hello_world(&tutorial).await;
    two_work_queues(&tutorial).await;
    three_publish_subscribe(&tutorial).await;
    four_routing(&tutorial).await;
    five_topics(&tutorial).await;
    six_rpc(&tutorial).await;
    headers(&tutorial).await;
}

async fn one_hello_world(tutorial: &Tutorial<'_>) {
    tutorial.queue("hello", json!({"durable": false})).await;
    tutorial.reaches("amq.default?routing_key=hello", &[], &["hello"]).await;
    tutorial.remove(None, &["hello"]).await;
}

async fn two_work_queues(tutorial: &Tutorial<'_>) {
    tutorial.queue("task_queue", json!({})).await;
    for _ in 0..2 {
        tutorial.reaches("amq.default?routing_key=task_queue", &[], &["task_queue"]).await;
    }
    tutorial.remove(None, &["task_queue"]).await;
}

async fn three_publish_subscribe(tutorial: &Tutorial<'_>) {
    tutorial.exchange("logs", "fanout").await;
    for queue in ["screen", "disk"] {
        tutorial.queue(queue, json!({})).await;
        tutorial.bind(queue, "logs", json!({})).await;
    }
    tutorial.reaches("logs", &[], &["screen", "disk"]).await;
    tutorial.remove(Some("logs"), &["screen", "disk"]).await;
}

async fn four_routing(tutorial: &Tutorial<'_>) {
    tutorial.exchange("direct_logs", "direct").await;
    for (queue, severities) in [("disk", &["error"][..]), ("screen", &["info", "warning", "error"])] {
        tutorial.queue(queue, json!({})).await;
        for severity in severities {
            tutorial.bind(queue, "direct_logs", json!({"routing_key": severity})).await;
        }
    }
    tutorial.reaches("direct_logs?routing_key=error", &[], &["disk", "screen"]).await;
    tutorial.reaches("direct_logs?routing_key=info", &[], &["screen"]).await;
    tutorial.reaches("direct_logs?routing_key=debug", &[], &[]).await;
    let path = "/queues/screen/bindings/direct_logs?routing_key=info";
    assert_eq!(tutorial.0.ask(Method::DELETE, path).await.status, 204);
    tutorial.reaches("direct_logs?routing_key=info", &[], &[]).await;
    tutorial.remove(Some("direct_logs"), &["disk", "screen"]).await;
}

async fn five_topics(tutorial: &Tutorial<'_>) {
    tutorial.exchange("topic_logs", "topic").await;
    for (queue, pattern) in [("kernel", "kern.*"), ("critical", "*.critical"), ("all", "#")] {
        tutorial.queue(queue, json!({})).await;
        tutorial.bind(queue, "topic_logs", json!({"routing_key": pattern})).await;
    }
    let all = &["kernel", "critical", "all"];
    tutorial.reaches("topic_logs?routing_key=kern.critical", &[], all).await;
    tutorial.reaches("topic_logs?routing_key=kern.info", &[], &["kernel", "all"]).await;
    tutorial.reaches("topic_logs?routing_key=a.b.c", &[], &["all"]).await;
    tutorial.remove(Some("topic_logs"), all).await;
}

async fn six_rpc(tutorial: &Tutorial<'_>) {
    let Tutorial(stage) = tutorial;
    tutorial.queue("rpc_queue", json!({})).await;
    serve(&stage.observer, "rpc_queue", echo).await;
    let request = stage.post("/rpc/rpc_queue").header("content-type", "text/plain").body("30");
    let answer = Answer::to(request).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"30"[..]));
    tutorial.remove(None, &["rpc_queue"]).await;
}

async fn headers(tutorial: &Tutorial<'_>) {
    tutorial.exchange("reports", "headers").await;
    let all = json!({"x-match": "all", "format": "pdf", "kind": "report"});
    for (queue, way) in [("both", "all"), ("either", "any")] {
        tutorial.queue(queue, json!({})).await;
        let mut arguments = all.clone();
        arguments["x-match"] = way.into();
        tutorial.bind(queue, "reports", json!({"arguments": arguments})).await;
    }
    tutorial.reaches("reports", &[("format", "pdf"), ("kind", "report")], &["both", "either"]).await;
    tutorial.reaches("reports", &[("format", "pdf")], &["either"]).await;
    tutorial.reaches("reports", &[("format", "zip")], &[]).await;
    let arguments = utf8_percent_encode(&all.to_string(), NON_ALPHANUMERIC).to_string();
    let path = format!("/queues/both/bindings/reports?arguments={arguments}");
    assert_eq!(tutorial.0.ask(Method::DELETE, &path).await.status, 204);
    tutorial.reaches("reports", &[("format", "pdf"), ("kind", "report")], &["either"]).await;
    tutorial.remove(Some("reports"), &["both", "either"]).await;
}
