//! Requests with a key whose publish is in flight.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;

use super::{SOON, is_answered_by_replay, is_refused, is_replayed, keyed, keyed_at};
use crate::support::{
    contract::Answer,
    gateway::TestGateway,
    link::{Link, Mode, Way},
    load::prove,
    observer::Observer,
    poll::eventually,
    raw::Raw,
    stage::{Stage, wired},
};

/// With these settings the gateway does not replace a connection on which the answers are held back.
pub(super) const PATIENT: [(&str, &str); 2] = [("RABBITMQ_HEARTBEAT", "60"), ("RABBITMQ_SLOW_AFTER", "30s")];

/// From now on RabbitMQ's answers are held back, until the link is mended. The exchange is known as good, and a shared lane is open.
pub(super) async fn hold_back(observer: &Observer, link: &Link, gateway: &TestGateway) {
    // The first message is isolated, and the second one is not.
    prove(gateway, "amq.default?routing_key=q").await;
    prove(gateway, "amq.default?routing_key=q").await;
    observer.drain("q").await;
    link.set(Mode::Stall(Way::ToClient));
}

pub(super) async fn has_one_message(observer: &Observer) {
    let has_one = || async { observer.count("q").await == Some(1) };
    eventually(SOON, "the message is in the queue", has_one).await;
}

#[tokio::test]
async fn a_retry_while_the_first_request_is_in_flight_is_409_and_another_message_is_422() {
    let (_vhost, observer, link, gateway) = wired("key-in-flight", &PATIENT).await;
    hold_back(&observer, &link, &gateway).await;
    let retries = async {
        has_one_message(&observer).await;
        let answer = is_refused(keyed_at(&gateway, "k"), 409, "idempotency-key-in-use").await;
        assert_eq!(answer.header("retry-after"), "1");
        let body = answer.json();
        assert_eq!((&body["message_id"], &body["retryable"]), (&json!("k"), &json!(true)));
        // The first request may have published the message.
        assert_eq!(body["outcome"], "unknown", "{body}");
        is_refused(keyed_at(&gateway, "k").body("other"), 422, "idempotency-key-reused").await;
        link.mend();
    };
    let (first, ()) = tokio::join!(Answer::to(keyed_at(&gateway, "k")), retries);
    assert_eq!((first.status, is_replayed(&first)), (200, false), "{}", first.json());
    assert_eq!(is_answered_by_replay(keyed_at(&gateway, "k")).await.json(), first.json());
    assert_eq!(observer.drain_ids("q").await, ["k"]);
    gateway.stop().await;
}

#[tokio::test]
async fn a_caller_who_left_finds_the_outcome_of_its_publish_by_its_key() {
    let (_vhost, observer, link, gateway) = wired("key-left", &PATIENT).await;
    hold_back(&observer, &link, &gateway).await;
    let mut caller = Raw::connect(gateway.address()).await;
    let head = "POST /publish/amq.default?routing_key=q&timeout=30s HTTP/1.1\r\nhost: localhost\r\n";
    let rest = "content-type: application/octet-stream\r\nidempotency-key: k\r\ncontent-length: 1\r\n\r\nx";
    caller.send(format!("{head}{rest}")).await;
    has_one_message(&observer).await;
    caller.reset();
    is_refused(keyed_at(&gateway, "k"), 409, "idempotency-key-in-use").await;
    link.mend();
    let answered = || async {
        let answer = Answer::to(keyed_at(&gateway, "k")).await;
        (answer.status == 200).then_some(answer)
    };
    let answer = eventually(SOON, "the publish of the caller who left ends", answered).await;
    assert!(is_replayed(&answer), "{}", answer.json());
    assert_eq!(observer.drain_ids("q").await, ["k"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_requests_with_one_key_at_a_time_publish_one_message() {
    let stage = Stage::with_queue("key-crowd").await;
    for round in 0..3 {
        let key = format!("k{round}");
        let answers = join_all((0..200).map(|_| Answer::to(keyed(&stage, &key)))).await;
        let mut counts = BTreeMap::<_, usize>::new();
        for answer in &answers {
            *counts.entry((answer.verdict(), is_replayed(answer))).or_default() += 1;
        }
        assert_eq!(counts.get(&((200, String::new()), false)), Some(&1), "{counts:?}");
        let known = |(status, problem): &(u16, String)| *status == 200 || problem == "idempotency-key-in-use";
        assert!(counts.keys().all(|(verdict, _)| known(verdict)), "{counts:?}");
        is_answered_by_replay(keyed(&stage, &key)).await;
        assert_eq!(stage.observer.drain_ids("q").await, [key]);
    }
}
