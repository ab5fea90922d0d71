//! A private RabbitMQ by `scripts/broker`, and its queues.

use std::path::{Path, PathBuf};
use std::{fs, process};

use anyhow::{Context, bail, ensure};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tokio::process::Command;

use crate::amqp::connect;
use crate::spec::{ECHO, Queue, REJECTING};
use crate::usage;

const SCRIPT: &str = "scripts/broker";
const DATA: &str = "target/bench";

/// A running node; it is stopped when this is dropped.
pub struct Broker {
    folder: PathBuf,
    url: String,
    management: Option<String>,
    leader: i32,
    connection: Option<Connection>,
}

impl Broker {
    /// Starts a node with fresh data, and with plugins where they are named.
    ///
    /// # Errors
    /// When it does not start, or is a container, whose processes cannot be watched.
    pub async fn start(name: &str, plugins: &str) -> anyhow::Result<Self> {
        let folder = Path::new(DATA).join(name);
        script(&["stop"], &folder, "").await?;
        let _ = fs::remove_dir_all(&folder);
        script(&["start"], &folder, plugins).await?;
        let env = fs::read_to_string(folder.join("env"))?;
        let value = |name: &str| env.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let url = value("AMQP_URL").context("scripts/broker tells no AMQP_URL")?.to_owned();
        let management = value("MANAGEMENT_PORT").map(|port| format!("127.0.0.1:{port}"));
        let pid = fs::read_to_string(folder.join("pid"));
        let leader =
            pid.context("the broker's process is not on this machine: install RabbitMQ")?.trim().parse()?;
        let mut broker = Self { folder, url, management, leader, connection: None };
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
        self.leader
    }

    /// Its processes.
    ///
    /// # Errors
    /// When it is gone.
    pub fn processes(&self) -> anyhow::Result<Vec<i32>> {
        let processes = usage::group(self.leader)?;
        ensure!(!processes.is_empty(), "the broker is gone; its log is in {}", self.folder.display());
        Ok(processes)
    }

    /// The versions of RabbitMQ and Erlang.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn versions(&self) -> anyhow::Result<String> {
        let ask =
            r#"io:format("~s on Erlang/OTP ~s", [rabbit_misc:version(), erlang:system_info(otp_release)])."#;
        let output = Command::new(SCRIPT).arg("ctl").arg(&self.folder).args(["eval", ask]).output().await?;
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

    async fn channel(&self) -> anyhow::Result<Channel> {
        let connection = self.connection.as_ref().context("not connected")?;
        Ok(connection.create_channel().await?)
    }
}

async fn script(arguments: &[&str], folder: &Path, plugins: &str) -> anyhow::Result<()> {
    let mut command = Command::new(SCRIPT);
    let status = command.args(arguments).arg(folder).env("BROKER_PLUGINS", plugins).status().await?;
    if !status.success() {
        bail!("scripts/broker {} failed", arguments.join(" "));
    }
    Ok(())
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = process::Command::new(SCRIPT).arg("stop").arg(&self.folder).status();
    }
}
