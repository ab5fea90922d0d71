//! The audit log.

use std::time::Duration;

use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::{SOON, part};
use crate::support::{
    broker::{Broker, Vhost},
    poll::eventually,
    process::Process,
};

const AUDIT: &str = "rabbitmq_gateway::audit";

/// A gateway with `shop`, which may use its own names, and `old`, whose key has expired.
struct AuditedGateway {
    vhost: Vhost<'static>,
    process: Process,
    base: String,
    client: reqwest::Client,
    shop: ApiKey,
    old: ApiKey,
    _folder: tempfile::TempDir,
}

impl AuditedGateway {
    async fn start(name: &str) -> Self {
        let vhost = Broker::shared().await.vhost(name).await;
        let (shop, old) = (ApiKey::generate(), ApiKey::generate());
        let rights =
            "configure = ['shop.*']\nread = ['shop.*', 'amq.topic']\nwrite = ['shop.*', 'amq.topic/eu']";
        let until = format!("[principals.old]\nkeys = [{{ hash = '{}', until = 2020-01-01 }}]", old.digest());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("principals.toml");
        std::fs::write(&path, part("shop", &shop, rights) + &until).expect("written");
        let file = ("GATEWAY_PRINCIPALS", path.to_str().expect("a text"));
        let process = Process::spawn(&[("AMQP_URL", &vhost.url), file, ("GATEWAY_LOG_FORMAT", "json")]);
        let base = format!("http://{}", process.address().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        eventually(SOON, "the gateway is ready", async || {
            let ready = client.get(format!("{base}/health/ready")).send().await;
            ready.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        Self { vhost, process, base, client, shop, old, _folder: folder }
    }

    fn request(&self, method: &str, path: &str, key: &ApiKey) -> RequestBuilder {
        let method = method.parse().expect("a method");
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(key.reveal())
    }

    /// The status of a request of `shop`.
    async fn ask(&self, method: &str, path: &str) -> u16 {
        let answer = self.request(method, path, &self.shop).send().await;
        answer.expect("an answer").status().as_u16()
    }

    /// The lines of the audit log.
    fn lines(&self) -> Vec<Value> {
        let all = self.process.output();
        let lines = all.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == AUDIT).collect()
    }
}

#[tokio::test]
async fn changes_and_refusals_have_a_line_with_the_principal_and_no_name_can_look_like_a_line() {
    let audited = AuditedGateway::start("access_audit").await;
    for (method, path, status) in [
        ("PUT", "/queues/shop.a%22%5Cb", 201),
        ("GET", "/queues/shop.a%22%5Cb", 200),
        ("DELETE", "/queues/shop.a%22%5Cb/messages", 200),
        ("DELETE", "/queues/shop.a%22%5Cb", 200),
        ("PUT", "/topology?dry_run=true", 415),
        ("DELETE", "/queues/other", 403),
        ("DELETE", "/queues/another", 403),
    ] {
        assert_eq!(audited.ask(method, path).await, status, "{method} {path}");
    }
    let expired = audited.request("GET", "/whoami", &audited.old).send().await;
    let expired = expired.expect("an answer").text().await.expect("a text");
    assert!(expired.contains("has expired"), "{expired}");
    eventually(SOON, "the lines are written", async || audited.lines().len() >= 5).await;
    let mut told = audited.lines();
    let unauthorized = told.pop().unwrap_or_default().to_string();
    assert!(unauthorized.contains("unauthorized") && unauthorized.contains("\"old\""), "{unauthorized}");
    let texts: Vec<_> = told.iter().map(Value::to_string).collect();
    assert_eq!(told.len(), 4, "{texts:#?}");
    assert!(texts.iter().all(|text| text.contains("shop") && !text.contains("GET")), "{texts:#?}");
    let of = |n: usize, words: &[&str]| {
        for word in words {
            assert!(texts[n].contains(word), "{word} in {}", texts[n]);
        }
    };
    let path = "/queues/shop.a%22%5Cb";
    of(0, &["changed", "PUT", path, "\"done\""]);
    of(1, &["changed", "DELETE", "/messages"]);
    of(2, &["changed", "DELETE"]);
    of(3, &["refused", "forbidden", "configure", "other"]);
    // RabbitMQ does not answer, and in the second try the client does not wait.
    assert_eq!(audited.ask("PUT", "/queues/shop.q").await, 201);
    let _stuck = audited.vhost.suspend_queue("shop.q").await;
    assert_eq!(audited.ask("DELETE", "/queues/shop.q/messages?timeout=300ms").await, 504);
    let purge = audited.request("DELETE", "/queues/shop.q/messages?timeout=20s", &audited.shop);
    assert!(purge.timeout(Duration::from_millis(300)).send().await.is_err());
    let unknown = || audited.lines().iter().filter(|line| line.to_string().contains("\"unknown\"")).count();
    eventually(SOON, "both are told", async || unknown() == 2).await;
}

#[tokio::test]
async fn the_line_of_a_binding_names_its_routing_key_and_a_refused_item_has_a_line_too() {
    let audited = AuditedGateway::start("access_audit_items").await;
    assert_eq!(audited.ask("PUT", "/queues/shop.q").await, 201);
    let is_about = |line: &Value, words: &[&str]| words.iter().all(|word| line.to_string().contains(word));
    let has_line = async |what: &str, words: &[&str]| {
        eventually(SOON, what, async || audited.lines().iter().any(|line| is_about(line, words))).await;
    };
    let bind = audited.request("PUT", "/queues/shop.q/bindings/amq.topic", &audited.shop);
    let bind = bind.header("content-type", "application/json").body(r#"{"routing_key": "a.\"b"}"#);
    assert_eq!(bind.send().await.expect("an answer").status(), 200);
    has_line("the binding is told", &["changed", "PUT", r#""routing_key":"a.\"b""#]).await;
    assert_eq!(audited.ask("DELETE", "/queues/shop.q/bindings/amq.topic?routing_key=c").await, 204);
    has_line("the end of the binding is told", &["changed", "DELETE", r#""routing_key":"c""#]).await;
    // A line stands for a second, so the second request may need a further try.
    for (path, kind, body) in [
        (
            "batch",
            "application/json",
            r#"[{"routing_key": "us", "body": 1}, {"routing_key": "uk", "body": 1}]"#,
        ),
        ("stream", "application/x-ndjson", "{\"routing_key\": \"us\", \"body\": 1}\n"),
    ] {
        let publish = async || {
            let publish = audited.request("POST", &format!("/publish/amq.topic/{path}"), &audited.shop);
            let publish = publish.header("content-type", kind).body(body);
            let text = publish.send().await.expect("an answer").text().await.expect("a text");
            assert!(text.contains("/problems/forbidden"), "{text}");
            let words = ["refused", "forbidden", "\"shop\"", &format!("/{path}\""), "\\\"us\\\""];
            audited.lines().iter().any(|line| is_about(line, &words))
        };
        eventually(SOON, "the refused item is told", publish).await;
    }
}
