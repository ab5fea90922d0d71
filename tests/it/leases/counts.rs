//! Metrics and health checks of leases.

use reqwest::Method;

use super::*;
use crate::support::gateway::TestGateway;

async fn counts(gateway: &TestGateway, metric: &str, value: f64) {
    let what = format!("{metric} is {value}");
    eventually(SOON, &what, || async { gateway.metric(metric).await == Some(value) }).await;
}

fn settles(outcome: &str) -> String {
    format!("gateway_settles_total{{outcome=\"{outcome}\"}}")
}

#[tokio::test]
async fn settles_are_counted_by_outcome_and_leases_while_they_are_held() {
    let stage = Stage::set_with("count_settles", &[("GATEWAY_LEASE_MAX", "5m")]).await;
    stage.observer.declare_queue("q").await;
    publish(&stage.observer, "q", ["a", "b", "c", "d"]).await;
    let messages = [(); 4].map(|()| pull_one(&stage.gateway, "q", "1m"));
    let mut leases = Vec::new();
    for message in messages {
        leases.push(lease_id(&message.await));
    }
    counts(&stage.gateway, "gateway_leases", 4.0).await;
    assert!(stage.gateway.metric("gateway_lease_bytes").await > Some(3.0));
    let request = json!({
        "ack": [leases[0]], "release": [leases[1]], "reject": [leases[2]],
        "extend": [{"lease_id": leases[3], "lease": "2m"}]
    });
    outcomes(&stage.gateway, "q", request).await;
    let request = json!({
        "release": [leases[0]], "reject": ["1.nobody.1.0000000000000007"],
        "extend": [{"lease_id": leases[3], "lease": "6m"}]
    });
    outcomes(&stage.gateway, "q", request).await;
    for outcome in ["acked", "released", "rejected", "extended", "conflict", "expired", "too_long"] {
        counts(&stage.gateway, &settles(outcome), 1.0).await;
    }
    counts(&stage.gateway, "gateway_leases", 1.0).await;
    counts(&stage.gateway, "gateway_leases_expired_total", 0.0).await;
    assert_eq!(act(&stage.gateway, "q", "ack", &leases[3]).await, "acked");
    counts(&stage.gateway, "gateway_lease_bytes", 0.0).await;
}

#[tokio::test]
async fn leases_that_expire_and_messages_that_no_connection_takes_are_counted() {
    let settings = [("GATEWAY_MAX_BODY_BYTES", "2KiB"), ("GATEWAY_MAX_BYTES_IN_FLIGHT", "2KiB")];
    let stage = Stage::set_with("count_expired", &settings).await;
    stage.observer.declare_queue("q").await;
    publish(&stage.observer, "q", ["a"]).await;
    pull_one(&stage.gateway, "q", "100ms").await;
    counts(&stage.gateway, "gateway_leases_expired_total", 1.0).await;
    assert_eq!(stage.gateway.metric("gateway_leases_returned_total").await, Some(0.0));
    stage.observer.declare_queue("large").await;
    stage.observer.publish("", "large", &[b'x'; 4096], BasicProperties::default()).await;
    let answer = stage.ask(Method::POST, "/queues/large/messages/next").await;
    assert_eq!(answer.verdict(), (503, "overloaded".to_owned()));
    counts(&stage.gateway, "gateway_leases_returned_total", 1.0).await;
    has(&stage.observer, "large", 1).await;
}

#[tokio::test]
async fn requests_of_other_replicas_are_counted_at_the_owner_and_settles_where_they_are_asked() {
    let stage = Stage::with_queue("count_control").await;
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url)]).await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let control = format!("amq.gen-{}", lease.split('.').nth(1).expect("an owner"));
    stage.observer.publish("", &control, b"{}", BasicProperties::default()).await;
    counts(&stage.gateway, "gateway_control_requests_total{result=\"refused\"}", 1.0).await;
    let malformed = BasicProperties::default().with_user_id("guest".into()).with_type("settle.v1".into());
    let to = |properties: BasicProperties| properties.with_reply_to("amq.gen-x".into());
    stage.observer.publish("", &control, b"{}", to(malformed)).await;
    counts(&stage.gateway, "gateway_control_requests_total{result=\"dropped\"}", 1.0).await;
    assert_eq!(act(&other, "q", "ack", &lease).await, "acked");
    counts(&stage.gateway, "gateway_control_requests_total{result=\"answered\"}", 1.0).await;
    assert_eq!(stage.gateway.metric(&settles("acked")).await, None);
    counts(&other, &settles("acked"), 1.0).await;
}

#[tokio::test]
async fn the_health_names_the_leases_near_their_limit_and_the_control_queue_after_the_first_pull() {
    let stage = Stage::set_with(
        "count_health",
        &[("GATEWAY_MAX_LEASES", "2"), ("GATEWAY_PULL_MAX", "1"), ("RABBITMQ_PREFETCH_COUNT", "1")],
    )
    .await;
    stage.observer.declare_queue("q").await;
    publish(&stage.observer, "q", ["a", "b"]).await;
    let check =
        async |name: &str| stage.ask(Method::GET, "/health/rabbitmq").await.json()["checks"][name][0].clone();
    let control = check("control-queue:open").await;
    assert_eq!((&control["status"], &control["observedValue"]), (&"pass".into(), &false.into()));
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    let control = check("control-queue:open").await;
    assert_eq!((&control["status"], &control["observedValue"]), (&"pass".into(), &true.into()));
    let held = check("leases:held").await;
    assert_eq!((&held["status"], &held["observedValue"]), (&"pass".into(), &1.into()), "{held}");
    pull_one(&stage.gateway, "q", "1m").await;
    let held = check("leases:held").await;
    assert_eq!((&held["status"], &held["observedValue"]), (&"warn".into(), &2.into()), "{held}");
    assert!(held["output"].as_str().is_some_and(|it| it.contains("GATEWAY_MAX_LEASES")), "{held}");
    assert!(stage.gateway.is_ready().await);
    assert_eq!(act(&stage.gateway, "q", "ack", &lease).await, "acked");
    assert_eq!(check("leases:held").await["status"], "pass");
}
