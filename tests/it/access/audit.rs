//! The audit log.

use std::time::Duration;

use rabbitmq_gateway::domain::access::ApiKey;
use serde_json::Value;

use super::{SOON, part};
use crate::support::{broker::Broker, poll::eventually, process::Process};

const AUDIT: &str = "rabbitmq_gateway::audit";

/// The lines of the audit log.
fn lines(process: &Process) -> Vec<Value> {
    let all = process.output();
    let lines = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == AUDIT).collect()
}

#[tokio::test]
async fn changes_and_refusals_have_a_line_with_the_principal_and_no_name_can_look_like_a_line() {
    let vhost = Broker::shared().await.vhost("access_audit").await;
    let key = ApiKey::generate();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("principals.toml");
    std::fs::write(&path, part("shop", &key, "configure = ['shop.*']\nread = ['shop.*']")).expect("written");
    let file = ("GATEWAY_PRINCIPALS", path.to_str().expect("a text"));
    let process = Process::spawn(&[("AMQP_URL", &vhost.url), file, ("GATEWAY_LOG_FORMAT", "json")]);
    let base = format!("http://{}", process.address().await);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
    eventually(SOON, "the gateway is ready", async || {
        let ready = client.get(format!("{base}/health/ready")).send().await;
        ready.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let ask = async |method: &str, path: &str| {
        let method = method.parse().expect("a method");
        let request = client.request(method, format!("{base}{path}")).bearer_auth(key.reveal());
        request.send().await.expect("an answer").status().as_u16()
    };
    for (method, path, status) in [
        ("PUT", "/queues/shop.a%22%5Cb", 201),
        ("GET", "/queues/shop.a%22%5Cb", 200),
        ("DELETE", "/queues/shop.a%22%5Cb/messages", 200),
        ("DELETE", "/queues/shop.a%22%5Cb", 200),
        ("PUT", "/topology?dry_run=true", 415),
        ("DELETE", "/queues/other", 403),
        ("DELETE", "/queues/another", 403),
    ] {
        assert_eq!(ask(method, path).await, status, "{method} {path}");
    }
    eventually(SOON, "the lines are written", async || lines(&process).len() >= 4).await;
    let told = lines(&process);
    let texts: Vec<_> = told.iter().map(Value::to_string).collect();
    assert_eq!(told.len(), 4, "{texts:#?}");
    assert!(texts.iter().all(|text| text.contains("shop") && !text.contains("GET")), "{texts:#?}");
    let of = |n: usize, words: &[&str]| {
        for word in words {
            assert!(texts[n].contains(word), "{word} in {}", texts[n]);
        }
    };
    let name = Value::from("/queues/shop.a\"\\b").to_string();
    of(0, &["changed", "PUT", &name, "\"done\""]);
    of(1, &["changed", "DELETE", "/messages"]);
    of(2, &["changed", "DELETE"]);
    of(3, &["refused", "forbidden", "configure", "other"]);
    // RabbitMQ does not answer, and in the second try the client does not wait.
    assert_eq!(ask("PUT", "/queues/shop.q").await, 201);
    let _stuck = vhost.suspend_queue("shop.q").await;
    assert_eq!(ask("DELETE", "/queues/shop.q/messages?timeout=300ms").await, 504);
    let purge = client.delete(format!("{base}/queues/shop.q/messages?timeout=20s")).bearer_auth(key.reveal());
    assert!(purge.timeout(Duration::from_millis(300)).send().await.is_err());
    let unknown = || lines(&process).iter().filter(|line| line.to_string().contains("\"unknown\"")).count();
    eventually(SOON, "both are told", async || unknown() == 2).await;
}
