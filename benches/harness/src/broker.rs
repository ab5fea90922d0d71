//! A private RabbitMQ, and its queues.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, stream};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use private_broker::DetachedNode;
use tokio::process::Command;
use tokio::task::spawn_blocking;

use crate::amqp::{Publisher, answer, connect};
use crate::recorder::Answer;
use crate::spec::{ECHO, Queue, REJECTING, Traffic};
use crate::usage;

const DATA: &str = "target/bench";
/// The most unconfirmed messages while a queue is filled.
const UNCONFIRMED: usize = 1_000;

/// A running node; it is stopped when this is dropped.
pub struct Broker {
    node: DetachedNode,
    url: String,
    management: Option<String>,
    connection: Option<Connection>,
}

impl Broker {
    /// Starts a node with fresh data, and with plugins where they are named.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(name: &str, plugins: &'static str) -> anyhow::Result<Self> {
        let folder = Path::new(DATA).join(name);
        let start = move || {
            DetachedNode::stop(&folder)?;
            let _ = fs::remove_dir_all(&folder);
            DetachedNode::start(&folder, plugins)
        };
        let node = spawn_blocking(start).await??;
        let url = node.setup().url();
        let management = node.setup().ports().management.map(|port| format!("127.0.0.1:{port}"));
        let mut broker = Self { node, url, management, connection: None };
        broker.connection = Some(connect(&broker.url).await?);
        Ok(broker)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port of its management API.
    #[must_use]
    pub fn management(&self) -> Option<&str> {
        self.management.as_deref()
    }

    /// Its group of processes.
    #[must_use]
    pub fn leader(&self) -> i32 {
        self.node.pid()
    }

    /// Its processes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn processes(&self) -> anyhow::Result<Vec<i32>> {
        let processes = usage::group(self.leader())?;
        let folder = self.node.setup().folder();
        ensure!(!processes.is_empty(), "the broker is gone; its log is in {}", folder.display());
        Ok(processes)
    }

    /// The versions of RabbitMQ and Erlang.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn versions(&self) -> anyhow::Result<String> {
        let ask =
            r#"io:format("~s on Erlang/OTP ~s", [rabbit_misc:version(), erlang:system_info(otp_release)])."#;
        let mut command = Command::from(self.node.setup().command("rabbitmqctl")?);
        let output = command.args(["eval", ask]).output().await?;
        ensure!(output.status.success(), "the broker tells no version");
        Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end_matches("ok")
            .to_owned())
    }

    /// Deletes and declares every queue of the benchmark.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn declare(&self) -> anyhow::Result<()> {
        let channel = self.channel().await?;
        let texts = |pairs: &[(&str, &str)]| {
            let mut table = FieldTable::default();
            for (name, value) in pairs {
                table.insert((*name).into(), AMQPValue::LongString((*value).into()));
            }
            table
        };
        let mut rejecting = texts(&[("x-overflow", "reject-publish")]);
        rejecting.insert("x-max-length".into(), AMQPValue::LongInt(0));
        for (name, arguments) in [
            (Queue::Classic.name(), FieldTable::default()),
            (Queue::Quorum.name(), texts(&[("x-queue-type", "quorum")])),
            (REJECTING, rejecting),
            (ECHO, FieldTable::default()),
        ] {
            channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
            let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(name.into(), durable, arguments).await?;
        }
        Ok(channel.close(200, "done".into()).await?)
    }

    /// Empties a queue, and says how many messages it held.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn purge(&self, queue: Queue) -> anyhow::Result<u64> {
        let channel = self.channel().await?;
        let held = channel.queue_purge(queue.name().into(), QueuePurgeOptions::default()).await?;
        channel.close(200, "done".into()).await?;
        Ok(held.into())
    }

    /// Empties a queue and fills it with this number of messages, which are numbered from 0 on.
    ///
    /// # Errors
    /// When the broker does not confirm each message.
    pub async fn fill(&self, traffic: &Traffic, count: u64) -> anyhow::Result<()> {
        // A run that failed may have left messages.
        self.purge(traffic.queue).await?;
        let connection = self.connection.as_ref().context("not connected")?;
        let publisher = Publisher::alone(connection, traffic).await?;
        let publish = |number| {
            let publisher = publisher.clone();
            async move { publisher.send_numbered(number).await?.await }
        };
        let mut confirms = stream::iter(0..count).map(publish).buffered(UNCONFIRMED);
        while let Some(confirm) = confirms.next().await {
            let answer = answer(confirm);
            ensure!(answer == Answer::Confirmed, "filling {}: {answer:?}", traffic.queue.name());
        }
        drop(confirms);
        Ok(publisher.close().await?)
    }

    async fn channel(&self) -> anyhow::Result<Channel> {
        let connection = self.connection.as_ref().context("not connected")?;
        Ok(connection.create_channel().await?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A drop cannot report an error.
        let _ = DetachedNode::stop(self.node.setup().folder());
    }
}
