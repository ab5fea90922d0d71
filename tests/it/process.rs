//! The real binary: its commands, signals, log and secrets.

mod blocked_log;
mod commands;
mod idle;
mod keys;
mod log;
mod outage_log;
mod secrets;
mod stopping;
mod topology_file;

use std::{net::SocketAddr, time::Duration};

use reqwest::{Client, RequestBuilder, Response};

use crate::support::{
    poll::{eventually, within},
    process::Process,
};

/// Long, because the machine may compile at the same time.
const SOON: Duration = Duration::from_secs(20);

/// No program listens at this address.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/");

/// A serving binary and a client for it.
struct Served {
    process: Process,
    address: SocketAddr,
    client: Client,
}

impl Served {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let process = Process::spawn(settings);
        let address = process.address().await;
        let client = Client::builder().no_proxy().build().expect("a client without TLS");
        Self { process, address, client }
    }

    async fn start_ready(settings: &[(&str, &str)]) -> Self {
        let served = Self::start(settings).await;
        eventually(SOON, "the gateway is ready", || async { served.status("/health/ready").await == 200 })
            .await;
        served
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn publish(&self, query: &str, body: &'static str) -> RequestBuilder {
        let url = self.url(&format!("/publish/amq.default?{query}"));
        self.client.post(url).header("content-type", "text/plain").body(body)
    }

    async fn get(&self, path: &str) -> Response {
        send(self.client.get(self.url(path))).await
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status().as_u16()
    }

    /// Waits until the log has a line with this text.
    async fn logs(&self, text: &str) {
        let what = format!("the log says {text:?}");
        eventually(SOON, &what, || async { self.process.stderr().contains(text) }).await;
    }

    /// Waits until the process ends and gives its exit code. Panics when a signal ended it, since that is a crash.
    async fn exit_code(&mut self) -> i32 {
        let status = self.process.wait(SOON).await;
        status.code().unwrap_or_else(|| panic!("{status} after:\n{}", self.process.output()))
    }
}

async fn send(request: RequestBuilder) -> Response {
    within(SOON, "an answer", request.send()).await.expect("the gateway answers")
}

/// Runs a command that ends by itself: its exit code and the process with its output.
async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, Process) {
    let mut process = Process::spawn_with(arguments, settings);
    let status = process.wait(SOON).await;
    (status.code(), process)
}
