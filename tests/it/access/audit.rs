//! The audit log.

use std::{fs, path::PathBuf, time::Duration};

use lapin::BasicProperties;
use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{SOON, part, replace_file};
use crate::support::{
    broker::{Broker, Vhost},
    observer::Observer,
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
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl AuditedGateway {
    async fn start(name: &str) -> Self {
        Self::start_with(name, "json").await
    }

    /// The same with this format of the log.
    async fn start_with(name: &str, format: &str) -> Self {
        let vhost = Broker::shared().await.vhost(name).await;
        let (shop, old) = (ApiKey::generate(), ApiKey::generate());
        let rights =
            "configure = ['shop.*']\nread = ['shop.*', 'amq.topic']\nwrite = ['shop.*', 'amq.topic/eu']";
        let until = format!("[principals.old]\nkeys = [{{ hash = '{}', until = 2020-01-01 }}]", old.digest());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("principals.toml");
        fs::write(&path, part("shop", &shop, rights) + &until).expect("written");
        let file = ("GATEWAY_PRINCIPALS", path.to_str().expect("a text"));
        let process = Process::spawn(&[("AMQP_URL", &vhost.url), file, ("GATEWAY_LOG_FORMAT", format)]);
        let base = format!("http://{}", process.address().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        eventually(SOON, "the gateway is ready", async || {
            let ready = client.get(format!("{base}/health/ready")).send().await;
            ready.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        Self { vhost, process, base, client, shop, old, path, _folder: folder }
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
    assert!(unauthorized.contains("unauthorized"), "{unauthorized}");
    assert!(unauthorized.contains("\"principal\":\"old\""), "{unauthorized}");
    let texts: Vec<_> = told.iter().map(Value::to_string).collect();
    assert_eq!(told.len(), 4, "{texts:#?}");
    assert!(texts.iter().all(|text| text.contains("\"principal\":\"shop\"")), "{texts:#?}");
    assert!(texts.iter().all(|text| text.contains("\"id\":\"") && !text.contains("GET")), "{texts:#?}");
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

#[tokio::test]
async fn a_routing_key_can_begin_no_line_and_no_field_in_the_log_for_people() {
    let audited = AuditedGateway::start_with("access_audit_text", "text").await;
    assert_eq!(audited.ask("PUT", "/queues/shop.q").await, 201);
    let bind = async |routing_key: &str| {
        let bind = audited.request("PUT", "/queues/shop.q/bindings/amq.topic", &audited.shop);
        let body = json!({"routing_key": routing_key}).to_string();
        let bind = bind.header("content-type", "application/json").body(body);
        bind.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(bind("a\n2026-01-01T00:00:00Z INFO rabbitmq_gateway::audit: changed").await, 400);
    assert_eq!(bind(r#"k" outcome="forged"#).await, 200);
    let escaped = r#"routing_key="k\" outcome=\"forged""#;
    eventually(SOON, "the binding is told", async || audited.process.output().contains(escaped)).await;
    let output = audited.process.output();
    assert!(!output.contains("2026-01-01T00:00:00Z") && !output.contains(r#"outcome="forged""#), "{output}");
}

#[tokio::test]
async fn a_new_file_of_principals_has_a_line_with_the_principals_that_differ() {
    let audited = AuditedGateway::start("access_audit_reload").await;
    let has_line = async |words: &[&str]| {
        let is_told = || {
            let mut lines = audited.lines().into_iter().map(|line| line.to_string());
            lines.any(|line| words.iter().all(|word| line.contains(word)))
        };
        eventually(SOON, "the reload is told", async || is_told()).await;
    };
    let file = part("shop", &audited.shop, "read = ['x']") + &part("new", &ApiKey::generate(), "");
    replace_file(&audited.path, &file);
    let names = [r#""added":"\"new\"""#, r#""removed":"\"old\"""#, r#""changed":"\"shop\"""#];
    has_line(&[&["reloaded", r#""outcome":"done""#], &names[..]].concat()).await;
    replace_file(&audited.path, "[principals.shop]\nkeys = 1");
    has_line(&["reloaded", r#""outcome":"failed""#]).await;
}

#[tokio::test]
async fn an_item_that_rabbitmq_refuses_has_a_line_like_a_request() {
    let audited = AuditedGateway::start("access_audit_items_rabbitmq").await;
    assert_eq!(audited.ask("PUT", "/queues/shop.q").await, 201);
    audited.vhost.permit("guest", ".*", "^(shop\\.q|amq\\.default)$", ".*").await;
    let refused = async |path: &str, body: &str| {
        let request = audited.request("POST", path, &audited.shop).header("content-type", "application/json");
        let text = request.body(body.to_owned()).send().await.expect("an answer").text().await;
        let text = text.expect("a text");
        assert!(text.contains("/problems/forbidden"), "{text}");
        let mut lines = audited.lines().into_iter().map(|line| line.to_string());
        lines.any(|line| {
            line.contains("refused") && line.contains(path.rsplit('/').next().unwrap_or_default())
        })
    };
    // A line stands for a second, so the second request may need a further try.
    let batch = async || refused("/publish/shop.x/batch", r#"[{"routing_key": "k", "body": 1}]"#).await;
    eventually(SOON, "the refused message is told", batch).await;
    let observer = Observer::connect(&audited.vhost.url).await;
    let settle = async || {
        observer.publish("", "shop.q", b"x", BasicProperties::default()).await;
        let pull = audited.request("POST", "/queues/shop.q/messages/pull", &audited.shop);
        let pull = pull.header("content-type", "application/json").body(r#"{"max": 1, "wait": "20s"}"#);
        let pulled: Value = pull.send().await.expect("an answer").json().await.expect("JSON");
        let lease = pulled["messages"][0]["lease_id"].as_str().expect("a lease").to_owned();
        let item = json!({"dead_letter": [{"lease_id": lease}], "dead_letter_to": {"exchange": "shop.x"}});
        refused("/queues/shop.q/messages/settle", &item.to_string()).await
    };
    eventually(SOON, "the refused copy is told", settle).await;
}
