//! Parts of a request that the gateway would not use are refused, because a caller means something by them.

use reqwest::{Method, RequestBuilder};

use super::*;
use crate::support::contract::Answer;

/// The actions by path, each with a text of the refusal of a body.
const ACTIONS: [(Method, &str, &str); 7] = [
    (Method::DELETE, "", "timeout"),
    (Method::POST, "/ack", "timeout"),
    (Method::POST, "/release", "timeout"),
    (Method::POST, "/reject", "timeout"),
    (Method::POST, "/extend", "lease and timeout are parameters of the query"),
    (Method::POST, "/retry", "delay, reason and timeout are parameters of the query"),
    (Method::POST, "/dead-letter", "exchange, routing_key, reason and timeout are parameters of the query"),
];

/// A stage whose queue `q` has one message, and the path of the lease of that message.
async fn leased(name: &str) -> (Stage, String) {
    let stage = Stage::with_queue(name).await;
    publish(&stage.observer, "q", ["a"]).await;
    let lease = lease_id(&pull_one(&stage.gateway, "q", "1m").await);
    (stage, format!("/queues/q/leases/{lease}"))
}

fn request(stage: &Stage, method: &Method, path: &str) -> RequestBuilder {
    stage.gateway.client().request(method.clone(), stage.gateway.url(path))
}

async fn expect_refused(request: RequestBuilder, field: &str, said: &str) {
    let answer = Answer::to(request).await;
    assert_eq!(answer.verdict(), (400, "malformed-request".to_owned()), "{field}: {answer:?}");
    assert_eq!(answer.text("field"), field, "{}", answer.json());
    assert!(answer.text("detail").contains(said), "{}", answer.json());
}

#[tokio::test]
async fn a_body_of_an_action_by_path_is_400_naming_the_parameters_and_the_lease_goes_on() {
    let (stage, lease) = leased("unused_body").await;
    for (method, action, said) in &ACTIONS {
        let asked = request(&stage, method, &format!("{lease}{action}"));
        expect_refused(asked.body(r#"{"delay": "1h", "lease": "2m"}"#), "body", said).await;
    }
    assert_eq!(stage.ask(Method::DELETE, &lease).await.status, 204);
    stage.gateway.stop().await;
    assert_eq!(stage.observer.count("q").await, Some(0));
}
