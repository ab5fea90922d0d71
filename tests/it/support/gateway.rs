//! `TestGateway`: the gateway inside the test's own process, on a free port, with an HTTP client.

use std::{net::SocketAddr, time::Duration};

use rabbitmq_gateway::{app::Gateway, config::Config};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::poll::eventually;

const READY_DEADLINE: Duration = Duration::from_secs(20);

/// A serving gateway.
pub struct TestGateway {
    gateway: Gateway,
    client: Client,
}

impl TestGateway {
    /// Starts with these settings and waits until the gateway is ready.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let gateway = Self::start_unready(settings).await;
        eventually(READY_DEADLINE, "the gateway is ready", || gateway.is_ready()).await;
        gateway
    }

    /// Starts without waiting for RabbitMQ.
    pub async fn start_unready(settings: &[(&str, &str)]) -> Self {
        let lookup = |name: &str| {
            let given = settings.iter().find(|(setting, _)| *setting == name);
            given
                .or(LISTEN.iter().find(|(setting, _)| *setting == name))
                .map(|(_, value)| (*value).to_owned())
        };
        let config = Config::from_lookup(lookup).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let gateway = Gateway::start(config, None).await.unwrap_or_else(|error| panic!("{error:#}"));
        let client = Client::builder().no_proxy().build().expect("a client without TLS");
        Self { gateway, client }
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address
    }

    /// The address for administration.
    pub fn admin_address(&self) -> SocketAddr {
        self.gateway.admin_address.expect("the setting is given")
    }

    /// The URL of a path that begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(self.url(path))
    }

    pub fn put(&self, path: &str) -> RequestBuilder {
        self.client.put(self.url(path))
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(self.url(path))
    }

    /// Publishes raw bytes; the names must need no escaping.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let path = format!("/publish/{exchange}?routing_key={routing_key}");
        let request = self.post(&path).header("content-type", "application/octet-stream").body(body);
        request.send().await.expect("the gateway answers")
    }

    pub async fn is_ready(&self) -> bool {
        let answer = self.get("/health/ready").send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// The answer of `/health/rabbitmq`.
    pub async fn health(&self) -> Value {
        let answer = self.get("/health/rabbitmq").send().await.expect("the gateway answers");
        answer.json().await.expect("health is JSON")
    }

    /// One observed value of `/health/rabbitmq`, such as `publishes:in_flight`.
    pub async fn observes(&self, check: &str) -> u64 {
        let health = self.health().await;
        let value = health["checks"][check][0]["observedValue"].as_u64();
        value.unwrap_or_else(|| panic!("a number of {check} in {health}"))
    }

    /// A metric, by its name and labels as `/metrics` writes them; `None` if there is no such line yet.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = self.get("/metrics").send().await.expect("the gateway answers");
        let text = answer.text().await.expect("a text");
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Stops the gateway in order, without a drain delay for load balancers.
    pub async fn stop(self) {
        self.gateway.stop(Duration::ZERO).await;
    }
}

/// The address to listen on when the test does not set one.
const LISTEN: [(&str, &str); 1] = [("GATEWAY_LISTEN", "127.0.0.1:0")];
