//! `/metrics` counts publishes, calls and requests, and callers cannot add labels.

use reqwest::Method;

use crate::support::{
    gateway::TestGateway,
    leases::{act, lease_id, pull_one},
    stage::Stage,
};

async fn metrics(stage: &Stage) -> String {
    let answer = stage.gateway.get("/metrics").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn publishes_are_counted_by_outcome_and_requests_by_route() {
    let stage = Stage::with_queue("metrics").await;
    for key in ["q", "q", "nowhere"] {
        stage.gateway.publish("amq.default", key, "x").await;
    }
    stage.gateway.publish("missing", "q", "x").await;
    let text = metrics(&stage).await;
    for line in [
        "gateway_publishes_total{outcome=\"confirmed\"} 2",
        "gateway_publishes_total{outcome=\"unroutable\"} 1",
        "gateway_publishes_total{outcome=\"not_sent\"} 1",
        "gateway_http_requests_total{method=\"POST\",route=\"/publish/{exchange}\",status=\"200\"} 2",
        "gateway_http_requests_total{method=\"POST\",route=\"/publish/{exchange}\",status=\"404\"} 1",
        "gateway_broker_connections{role=\"publish\"} 2",
        "gateway_broker_connections{role=\"reply\"} 1",
        "gateway_broker_blocked 0",
        "gateway_confirm_channels{state=\"wanted\"} 2",
        "gateway_publishes_in_flight 0",
        "gateway_http_requests_in_flight 0",
        "gateway_http_body_bytes_in_flight 0",
        "gateway_publish_confirm_seconds_count 4",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

/// The reply may come before or after the confirm of the request.
#[tokio::test]
async fn a_call_is_counted_as_a_call_and_never_as_a_publish() {
    let stage = Stage::with_queue("metrics-call").await;
    // The first request is isolated, the next one goes over a shared channel, which is open then.
    for _ in 0..2 {
        stage.gateway.post("/rpc/nobody-declared-this").body("x").send().await.unwrap();
    }
    stage.gateway.post("/rpc/q?timeout=50ms").body("x").send().await.unwrap();
    let text = metrics(&stage).await;
    for line in [
        "gateway_rpc_calls_total{result=\"queue_not_found\"} 2",
        "gateway_rpc_calls_total{result=\"timeout\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(!text.contains("gateway_publishes_total{"), "{text}");
}

#[tokio::test]
async fn names_paths_and_methods_of_callers_never_become_labels() {
    let stage = Stage::with_queue("metrics-labels").await;
    stage.gateway.get("/secret-path").send().await.unwrap();
    stage.gateway.publish("amq.default", "secret-key", "x").await;
    let method = Method::from_bytes(b"SECRET").unwrap();
    stage.gateway.client().request(method, stage.gateway.url("/queues/secret-queue")).send().await.unwrap();
    let text = metrics(&stage).await;
    assert!(!text.to_lowercase().contains("secret"), "{text}");
    assert!(text.contains("method=\"other\",route=\"/queues/{name}\""), "{text}");
    assert!(text.contains("route=\"none\",status=\"404\""), "{text}");
}

/// Takes a message of the queue `q`, and acks it at another gateway and once more at this one.
async fn settle_at_another_replica(stage: &Stage) {
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url)]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    for gateway in [&other, &stage.gateway] {
        assert_eq!(act(gateway, "q", "ack", &lease).await, "acked");
    }
    other.stop().await;
}

#[tokio::test]
async fn every_metric_on_the_dashboard_and_in_the_alerts_exists() {
    let stage = Stage::with_queue("metrics-deploy").await;
    stage.gateway.publish("amq.default", "q", "x").await;
    let batch = stage.post("/publish/amq.default/batch").header("content-type", "application/json");
    batch.body(r#"[{"routing_key":"q","body":1}]"#).send().await.unwrap();
    settle_at_another_replica(&stage).await;
    stage.gateway.post("/rpc/q?timeout=50ms").body("x").send().await.unwrap();
    let text = metrics(&stage).await;
    for file in ["deploy/grafana-dashboard.json", "deploy/prometheus-alerts.yml"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let content = std::fs::read_to_string(path).unwrap();
        let names = content.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in names.filter(|name| name.starts_with("gateway_") || name.starts_with("process_")) {
            let is_its_sample =
                |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            assert!(text.lines().any(is_its_sample), "{file} names {name}");
        }
    }
}

/// The labels of a `sum by` clause, each with the metric that the clause sums.
fn summed(content: &str) -> Vec<(String, String)> {
    let clauses = content.split("sum by (").skip(1);
    let pairs = clauses.flat_map(|clause| {
        let (labels, rest) = clause.split_once(')').expect("a clause ends");
        let words = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metric =
            words.into_iter().find(|word| word.starts_with("gateway_")).expect("a metric").to_owned();
        labels.split(", ").map(move |label| (label.to_owned(), metric.clone())).collect::<Vec<_>>()
    });
    pairs.collect()
}

#[tokio::test]
async fn every_label_that_the_dashboard_and_the_alerts_sum_by_exists() {
    let stage = Stage::with_queue("metrics-labels-deploy").await;
    stage.gateway.publish("amq.default", "q", "x").await;
    settle_at_another_replica(&stage).await;
    stage.gateway.post("/rpc/q?timeout=50ms").body("x").send().await.unwrap();
    let batch = stage.post("/publish/amq.default/batch").header("content-type", "application/json");
    batch.body(r#"[{"routing_key":"q","body":1}]"#).send().await.unwrap();
    let text = metrics(&stage).await;
    let mut count = 0;
    for content in [
        include_str!("../../deploy/grafana-dashboard.json"),
        include_str!("../../deploy/prometheus-alerts.yml"),
    ] {
        // Prometheus adds the label `instance`.
        for (label, metric) in summed(content).into_iter().filter(|(label, _)| label != "instance") {
            let has_it = |line: &str| line.starts_with(&metric) && line.contains(&format!("{label}=\""));
            assert!(text.lines().any(has_it), "{metric} has no label {label}");
            count += 1;
        }
    }
    assert!(count > 10, "{count} labels are found");
}
