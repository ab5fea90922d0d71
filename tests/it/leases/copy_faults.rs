//! Copies that have no answer, or that a wait queue refuses.

use super::*;
use crate::support::{
    broker::Broker,
    contract::Answer,
    gateway::TestGateway,
    link::{Mode, Way},
    stage::wired,
};

/// Both requests wait for the same copy.
#[tokio::test]
async fn the_same_retry_while_its_copy_has_no_answer_sends_no_second_copy() {
    let (_vhost, observer, link, gateway) = wired("copy_again", &[]).await;
    observer.declare_queue("dead").await;
    publish(&observer, "q", ["a"]).await;
    // The first publish to a destination is isolated; this one makes it known.
    gateway.publish("amq.default", "dead", "known").await;
    observer.drain("dead").await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    let stalled = ["publish-*", "isolated-*"];
    for name in stalled {
        link.set_named(name, Mode::Stall(Way::ToClient));
    }
    let to = json!({"exchange": "amq.default", "routing_key": "dead"});
    let body = json!({"dead_letter": [{"lease_id": lease}], "dead_letter_to": to});
    for _ in 0..2 {
        let request = gateway.post("/queues/q/messages/settle?timeout=500ms");
        let request = request.header("content-type", "application/json").body(body.to_string());
        let problem = Answer::to(request).await.json()["results"][0]["problem"].clone();
        assert_eq!(problem["type"], "/problems/outcome-unknown", "{problem}");
    }
    for name in stalled {
        link.mend_named(name);
    }
    assert_eq!(outcomes(&gateway, "q", body).await, ["dead_lettered"]);
    gateway.stop().await;
    assert_eq!(observer.drain("dead").await.len(), 1);
    assert_eq!(observer.count("q").await, Some(0));
}

/// RabbitMQ answers parallel declarations of a quorum queue before it has started, and nacks what comes then.
#[tokio::test]
async fn the_first_retries_of_a_queue_are_all_retried_at_two_replicas_at_once() {
    let stage = Stage::with_queue("copy_first").await;
    let other = TestGateway::start(&[("AMQP_URL", &stage.vhost.url)]).await;
    let names: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    publish(&stage.observer, "q", names.iter().map(String::as_str)).await;
    let retry_half = async |gateway: &TestGateway| {
        let messages = pulled(gateway, "q", json!({"max": 50, "wait": "10s", "lease": "1m"})).await;
        let item = |message: &Value| json!({"lease_id": lease_id(message), "delay": "90s"});
        let items: Vec<_> = messages.iter().map(item).collect();
        outcomes(gateway, "q", json!({"retry": items})).await
    };
    let (mut all, others) = tokio::join!(retry_half(&stage.gateway), retry_half(&other));
    all.extend(others);
    assert!(all.len() >= 2 && all.iter().all(|outcome| outcome == "retried"), "{all:?}");
    let waiting = u32::try_from(all.len()).ok();
    let are_there = || async { stage.observer.count("q.retry.90s").await == waiting };
    eventually(SOON, "the copies wait", are_there).await;
}

/// An operator has limited the wait queue by a policy.
#[tokio::test]
async fn a_wait_queue_that_is_full_refuses_the_copy_and_the_lease_stays() {
    let stage = Stage::with_queue("copy_full").await;
    let policy = format!(
        "ok = rabbit_policy:set(<<\"{}\">>, <<\"full\">>, <<\"retry\">>, [{{<<\"max-length\">>, 1}}], 0, <<\"queues\">>, <<\"guest\">>)",
        stage.vhost.name
    );
    Broker::shared().await.eval(&policy).await;
    let names: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    publish(&stage.observer, "q", names.iter().map(String::as_str)).await;
    for _ in &names {
        let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
        let result =
            settle(&stage.gateway, "q", json!({"retry": [{"lease_id": lease, "delay": "90s"}]})).await;
        let result = result.json()["results"][0].clone();
        if result["outcome"] == "retried" {
            continue;
        }
        assert_eq!(result["problem"]["type"], "/problems/rejected", "{result}");
        let detail = result["problem"]["detail"].as_str().expect("a detail");
        assert!(
            detail.starts_with("the only queue that the copy or the reply goes to refused it"),
            "{detail}"
        );
        assert_eq!(act(&stage.gateway, "q", "release", &lease).await, "released");
        return;
    }
    panic!("the wait queue took all {} messages", names.len());
}

/// RabbitMQ has the copy and does not read the ack of the original: both stay, with one id.
#[tokio::test]
async fn a_copy_whose_original_rabbitmq_has_not_acked_is_unknown_and_the_original_comes_back() {
    let (_vhost, observer, link, gateway) = wired("copy_unacked", &[]).await;
    observer.declare_queue("dead").await;
    publish(&observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&gateway, "q", "1m").await);
    link.set_named("lease-0", Mode::BlackHole(Way::ToBroker));
    let to = json!({"exchange": "amq.default", "routing_key": "dead"});
    let body = json!({"dead_letter": [{"lease_id": lease}], "dead_letter_to": to});
    let request = gateway.post("/queues/q/messages/settle?timeout=2s");
    let request = request.header("content-type", "application/json").body(body.to_string());
    let problem = Answer::to(request).await.json()["results"][0]["problem"].clone();
    assert_eq!(problem["type"], "/problems/outcome-unknown", "{problem}");
    link.mend();
    link.cut();
    has(&observer, "q", 1).await;
    let (dead, original) = (observer.drain("dead").await, observer.drain("q").await);
    assert_eq!((dead.len(), message_id(&dead[0]), message_id(&original[0])), (1, "a".into(), "a".into()));
}
