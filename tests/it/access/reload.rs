//! The file of principals changes while the gateway runs.

use std::fs;

use lapin::{options::QueueDeclareOptions, types::FieldTable};
use rabbitmq_gateway::domain::access::ApiKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{SOON, part, replace_file, with};
use crate::support::{
    broker::Broker,
    observer::Observer,
    poll::{eventually, within},
    process::Process,
    publish_stream::PublishStream,
};

/// A gateway with a file of principals.
struct Reloading {
    process: Process,
    base: String,
    path: std::path::PathBuf,
    client: reqwest::Client,
    observer: Observer,
    _folder: TempDir,
}

impl Reloading {
    async fn start(name: &str, file: &str) -> Self {
        let vhost = Broker::shared().await.vhost(name).await;
        let observer = Observer::connect(&vhost.url).await;
        observer.declare_queue("q").await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("principals.toml");
        fs::write(&path, file).expect("the file is written");
        let settings =
            [("AMQP_URL", vhost.url.as_str()), ("GATEWAY_PRINCIPALS", path.to_str().expect("a text"))];
        let process = Process::spawn(&settings);
        let base = format!("http://{}", process.address().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client without TLS");
        let started = Self { process, base, path, client, observer, _folder: folder };
        eventually(SOON, "the gateway is ready", async || {
            let ready = started.client.get(format!("{}/health/ready", started.base)).send().await;
            ready.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        started
    }

    fn write(&self, file: &str) {
        replace_file(&self.path, file);
    }

    async fn status(&self, key: &ApiKey, path: &str) -> u16 {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(key.reveal());
        request.send().await.expect("an answer").status().as_u16()
    }

    /// Whether the queue has a consumer.
    async fn has_a_consumer(&self) -> bool {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared =
            self.observer.channel().await.queue_declare("q".into(), options, FieldTable::default()).await;
        declared.expect("the queue exists").consumer_count() > 0
    }

    async fn becomes(&self, key: &ApiKey, path: &str, status: u16) {
        eventually(SOON, "the file is in force", async || self.status(key, path).await == status).await;
    }
}

#[tokio::test]
async fn a_changed_file_is_in_force_soon_and_a_wrong_one_changes_nothing() {
    let (old, new) = (ApiKey::generate(), ApiKey::generate());
    let gateway = Reloading::start("access_reload", &part("shop", &old, "read = ['q']")).await;
    assert_eq!((gateway.status(&old, "/queues/q").await, gateway.status(&new, "/whoami").await), (200, 401));
    gateway.write(&part("shop", &new, "read = ['other']"));
    gateway.becomes(&new, "/whoami", 200).await;
    assert_eq!((gateway.status(&old, "/whoami").await, gateway.status(&new, "/queues/q").await), (401, 403));
    gateway.write("[principals.shop]\nkeys = ['rgw_secret']\n");
    eventually(SOON, "the gateway tells the mistake", async || {
        gateway.process.output().contains("the principals before it stay")
    })
    .await;
    assert!(!gateway.process.output().contains("rgw_secret"), "{}", gateway.process.output());
    assert_eq!(gateway.status(&new, "/whoami").await, 200);
    // An empty file admits nobody.
    gateway.write("");
    gateway.becomes(&new, "/whoami", 401).await;
}

#[tokio::test]
async fn a_waiting_pull_and_an_open_stream_end_when_their_key_is_removed() {
    let key = ApiKey::generate();
    let gateway =
        Reloading::start("access_revoke", &part("shop", &key, "read = ['q']\nwrite = ['amq.default/q']"))
            .await;
    let authorization = format!("authorization: Bearer {}\r\n", key.reveal());
    let address = gateway.process.address().await;
    let mut stream = PublishStream::open_with(address, "/publish/amq.default/stream", &authorization).await;
    stream.line(&json!({"routing_key": "q", "body_text": "first"})).await;
    let first = within(SOON, "a result", stream.next()).await.expect("a line");
    assert_eq!(first["outcome"], "confirmed", "{first}");
    eventually(SOON, "the message is there", async || gateway.observer.count("q").await == Some(1)).await;
    gateway.observer.drain("q").await;
    let pull =
        gateway.client.post(format!("{}/queues/q/messages/pull", gateway.base)).bearer_auth(key.reveal());
    let pull = tokio::spawn(with(pull, &json!({"wait": "1m"})).send());
    eventually(SOON, "the pull waits", async || gateway.has_a_consumer().await).await;
    gateway.write("");
    let answer = within(SOON, "an answer", pull).await.expect("no panic").expect("an answer");
    assert_eq!(answer.status(), 401);
    let (_, summary) = within(SOON, "the summary", stream.rest()).await;
    assert_eq!(summary["end"], "unauthorized", "{summary}");
    assert_eq!((&summary["read"], &summary["counts"]["confirmed"]), (&1.into(), &1.into()), "{summary}");
    let told = |text: &Value| text.as_str().is_some_and(|text| text.contains("Authorization"));
    assert!(told(&summary["detail"]), "{summary}");
    // No message is taken for the caller who was refused.
    gateway.observer.publish("", "q", b"second", lapin::BasicProperties::default()).await;
    eventually(SOON, "the message stays", async || gateway.observer.count("q").await == Some(1)).await;
}

#[tokio::test]
async fn a_receipt_is_not_replayed_to_a_principal_that_may_not_publish_any_more() {
    let key = ApiKey::generate();
    let (writer, reader) =
        (part("shop", &key, "write = ['amq.default/q']"), part("shop", &key, "read = ['q']"));
    let gateway = Reloading::start("access_replay", &writer).await;
    let publish = async || {
        let url = format!("{}/publish/amq.default?routing_key=q", gateway.base);
        let request =
            gateway.client.post(url).bearer_auth(key.reveal()).header("idempotency-key", "k").body("x");
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.headers().contains_key("idempotency-replayed"))
    };
    assert_eq!((publish().await, publish().await), ((200, false), (200, true)));
    gateway.write(&reader);
    eventually(SOON, "the right is gone", async || publish().await == (403, false)).await;
    gateway.write(&writer);
    eventually(SOON, "the right is back", async || publish().await == (200, true)).await;
    assert_eq!(gateway.observer.drain("q").await.len(), 1);
}
