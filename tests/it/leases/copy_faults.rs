//! Copies that have no answer, or that a wait queue refuses.

use super::*;
use crate::support::{
    broker::Broker,
    contract::Answer,
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
        assert_eq!(act(&stage.gateway, "q", "release", &lease).await, "released");
        return;
    }
    panic!("the wait queue took all {} messages", names.len());
}
