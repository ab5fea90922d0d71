//! The contestants, how each is started, and when it is ready.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::broker::Broker;
use crate::http::Connection;
use crate::keys::{self, PRINCIPALS};
use crate::process::{Running, command};
use crate::spec::{Dialect, Style, Target};

const GATEWAY: &str = "target/release/rabbitmq-gateway";
const FLOOR: &str = "target/release/examples/floor";
/// The Python environment, which `scripts/bench` makes.
pub const PYTHON: &str = "target/bench/venv/bin/python";
/// The folder of the Node.js service and its packages, which `scripts/bench` makes.
pub const FASTIFY: &str = "target/bench/fastify";
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(50);
const HEALTH: &[u8] = b"GET /health/ready HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";

/// One contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contestant {
    /// AMQP directly, with a task for each caller.
    DirectTasks,
    /// AMQP directly, with all callers in one task.
    DirectOneTask,
    /// The gateway, with default settings.
    Gateway,
    /// The gateway with API keys and two principals, so that it checks permissions and fair shares; the other settings are the defaults.
    GatewayWithKeys,
    /// Another binary of the gateway, with default settings, named by `--before`.
    Before,
    /// A bare hyper service over the gateway's broker code, without its HTTP layers.
    Floor,
    /// fastify and amqplib.
    Fastify,
    /// `FastAPI` and aio-pika, one worker.
    #[serde(rename = "fastapi_1")]
    FastApi1,
    /// `FastAPI` and aio-pika, two workers.
    #[serde(rename = "fastapi_2")]
    FastApi2,
    /// RabbitMQ's management API.
    Management,
}

impl Contestant {
    /// The name in `--list`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DirectTasks => "direct_tasks",
            Self::DirectOneTask => "direct_one_task",
            Self::Gateway => "gateway",
            Self::GatewayWithKeys => "gateway_with_keys",
            Self::Before => "before",
            Self::Floor => "floor",
            Self::Fastify => "fastify",
            Self::FastApi1 => "fastapi_1",
            Self::FastApi2 => "fastapi_2",
            Self::Management => "management",
        }
    }

    /// The name in tables.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::DirectTasks => "AMQP directly, a task a caller",
            Self::DirectOneTask => "AMQP directly, one task",
            Self::Gateway => "gateway",
            Self::GatewayWithKeys => "gateway, with API keys",
            Self::Before => "gateway before",
            Self::Floor => "floor (broker code, bare hyper)",
            Self::Fastify => "fastify + amqplib",
            Self::FastApi1 => "FastAPI + aio-pika, 1 worker",
            Self::FastApi2 => "FastAPI + aio-pika, 2 workers",
            Self::Management => "management API",
        }
    }

    /// Whether it is AMQP without a service in front.
    #[must_use]
    pub fn is_direct(self) -> bool {
        matches!(self, Self::DirectTasks | Self::DirectOneTask)
    }

    /// Whether it is another HTTP service that publishes to RabbitMQ, which the gateway has to outperform.
    #[must_use]
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Fastify | Self::FastApi1 | Self::FastApi2 | Self::Management)
    }

    /// Starts the contestant if it is a process of its own, and waits until it is ready. `before` is the binary of
    /// [`Contestant::Before`], `log` the name of the log file.
    ///
    /// # Errors
    /// When the contestant is not ready in time.
    pub async fn start(self, broker: &Broker, before: Option<&Path>, log: &str) -> anyhow::Result<Started> {
        let url = broker.url().to_owned();
        let amqp = |style| Started { target: Target::Amqp { url: url.clone(), style }, process: None };
        match self {
            Self::DirectTasks => return Ok(amqp(Style::Tasks)),
            Self::DirectOneTask => return Ok(amqp(Style::OneTask)),
            Self::Management => {
                let address = broker.management().context("RabbitMQ has no management API")?.to_owned();
                return Ok(Started {
                    target: Target::Http { address, dialect: Dialect::Management, key: None },
                    process: None,
                });
            }
            Self::Gateway
            | Self::GatewayWithKeys
            | Self::Before
            | Self::Floor
            | Self::Fastify
            | Self::FastApi1
            | Self::FastApi2 => {}
        }
        let key = if self == Self::GatewayWithKeys { Some(keys::make(GATEWAY).await?) } else { None };
        let port = free_port().await?;
        let address = format!("127.0.0.1:{port}");
        let mut process = Running::start(log, &mut self.command(&url, port, before)?)?;
        wait_until_ready(&mut process, &address)
            .await
            .with_context(|| format!("waiting for {}", self.title()))?;
        let target = Target::Http { address, dialect: Dialect::Gateway, key };
        Ok(Started { target, process: Some(process) })
    }

    fn command(self, url: &str, port: u16, before: Option<&Path>) -> anyhow::Result<Command> {
        let address = format!("127.0.0.1:{port}");
        let port = port.to_string();
        let environment = [("AMQP_URL", url), ("GATEWAY_LISTEN", &*address), ("PORT", &*port)];
        Ok(match self {
            Self::FastApi1 | Self::FastApi2 => {
                let no_cache = ("PYTHONDONTWRITEBYTECODE", "1");
                let mut python = command(PYTHON, &[environment[0], no_cache]);
                let workers = if self == Self::FastApi2 { "2" } else { "1" };
                python
                    .args(["-m", "uvicorn", "--app-dir", "benches/peers/fastapi", "app:app"])
                    .args(["--host", "127.0.0.1", "--port", &port, "--workers", workers])
                    .args(["--loop", "uvloop", "--http", "httptools", "--ws", "none"])
                    .args(["--no-access-log", "--log-level", "warning"]);
                python
            }
            Self::Fastify => {
                let mut node = command("node", &[environment[0], environment[2], ("NODE_ENV", "production")]);
                node.arg(format!("{FASTIFY}/server.js"));
                node
            }
            Self::GatewayWithKeys => {
                command(GATEWAY, &[environment[0], environment[1], ("GATEWAY_PRINCIPALS", PRINCIPALS)])
            }
            Self::Before => command(before.context("--before names no binary")?, &environment[..2]),
            Self::Floor => command(FLOOR, &environment[..2]),
            _ => command(GATEWAY, &environment[..2]),
        })
    }
}

/// A contestant that is ready.
pub struct Started {
    /// How to reach it.
    pub target: Target,
    /// Its processes, if it is neither the worker nor RabbitMQ.
    pub process: Option<Running>,
}

async fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

async fn wait_until_ready(process: &mut Running, address: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(address).await {
        if process.has_ended() {
            bail!("the contestant has ended; its log is in target/bench/logs");
        }
        if Instant::now() > deadline {
            bail!("the contestant is not ready within {PATIENCE:?}");
        }
        sleep(GLANCE).await;
    }
    Ok(())
}

async fn is_ready(address: &str) -> bool {
    let ask = async { Connection::open(address).await?.exchange(HEALTH).await };
    ask.await.is_ok_and(|response| response.status == 200)
}
