//! Thousands of callers wait at hundreds of queues of one replica, each with a connection of its own.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lapin::BasicProperties;
use reqwest::Client;
use serde_json::{Value, json};

use super::number;
use crate::support::{broker::Broker, observer::Observer, poll::eventually, process::Process, raw::Raw};

const SOON: Duration = Duration::from_secs(50);

fn queue(number: usize) -> String {
    format!("crowd-{number}")
}

async fn opened(address: std::net::SocketAddr, queue: &str) -> Raw {
    let mut raw = Raw::connect(address).await;
    let body = r#"{"max": 1, "wait": "60s", "lease": "5m"}"#;
    raw.send(format!(
        "POST /queues/{queue}/messages/pull HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await;
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_callers_at_many_queues_gets_one_message() {
    let (callers, queues) = (number("GATEWAY_TEST_CALLERS", 300), number("GATEWAY_TEST_QUEUES", 20));
    let vhost = Broker::shared().await.vhost("crowd").await;
    let observer = Observer::connect(&vhost.url).await;
    for number in 0..queues {
        observer.declare_queue(&queue(number)).await;
    }
    let process = Process::spawn(&[("AMQP_URL", &vhost.url), ("GATEWAY_SHUTDOWN_TIMEOUT", "1s")]);
    let address = process.address().await;
    let client = Client::builder().no_proxy().build().expect("a client without TLS");
    let before = process.resident_kib();

    let begun = Instant::now();
    let mut waiting = Vec::with_capacity(callers);
    for number in 0..callers {
        waiting.push(opened(address, &queue(number % queues)).await);
    }
    let all_wait = || async {
        let metrics = client.get(format!("http://{address}/metrics")).send().await.expect("an answer");
        let metrics = metrics.text().await.expect("a text");
        metrics.contains(&format!("\ngateway_waiting_pulls {callers}\n"))
    };
    eventually(SOON, "all callers wait", all_wait).await;
    let (connected, resident) = (begun.elapsed(), process.resident_kib());

    let begun = Instant::now();
    for number in 0..queues {
        let ids = (number..callers).step_by(queues).map(|n| n.to_string());
        let message =
            |id: String| (Vec::new(), BasicProperties::default().with_message_id(id.as_str().into()));
        observer.publish_all("", &queue(number), ids.map(message)).await;
    }
    let (mut ids, mut leases) = (BTreeSet::new(), vec![Vec::new(); queues]);
    for (number, mut raw) in waiting.into_iter().enumerate() {
        let answer = raw.response(SOON).await;
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let messages = body["messages"].as_array().unwrap_or_else(|| panic!("{} {body}", answer.status));
        assert_eq!(messages.len(), 1, "{body}");
        ids.insert(messages[0]["properties"]["message_id"].to_string());
        leases[number % queues].push(messages[0]["lease_id"].clone());
    }
    let served = begun.elapsed();
    assert_eq!(ids.len(), callers);
    for (number, leases) in leases.iter().enumerate() {
        let request = client.post(format!("http://{address}/queues/{}/messages/settle", queue(number)));
        let request = request.header("content-type", "application/json");
        let answer = request.body(json!({"ack": leases}).to_string()).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    println!(
        "figure: {callers} callers at {queues} queues waited after {connected:.1?} with {} KiB each, and had their messages \
         {served:.1?} after the first publish",
        resident.saturating_sub(before) / callers
    );
    drop(process);
    for number in 0..queues {
        assert_eq!(observer.count(&queue(number)).await, Some(0), "{number}");
    }
}
