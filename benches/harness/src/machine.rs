//! The origin of the figures: the machine, and the versions of all programs and libraries that take part.

use std::fs;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::broker::Broker;
use crate::contestant::{FASTIFY, PYTHON};

const LOCK: &str = include_str!("../Cargo.lock");
const PYTHON_PACKAGES: &str = "
import importlib.metadata as m
print(', '.join(f'{name} {m.version(name)}' for name in ('fastapi', 'uvicorn', 'uvloop', 'aio-pika', 'aiormq')))";

/// The machine and the versions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Model and number of its cores.
    pub cpu: String,
    /// The kernel.
    pub kernel: String,
    /// Memory in GiB.
    pub memory: u64,
    /// The load of other programs: the load average before the first run.
    pub load_before: String,
    /// The commit of the gateway.
    pub commit: String,
    /// Name and version of each program and library; the name is empty when the version contains it.
    pub versions: Vec<(String, String)>,
}

impl Machine {
    /// Reads the machine and the versions. A program that the plan does not need may be missing; its version says so then.
    ///
    /// # Errors
    /// When /proc cannot be read or RabbitMQ does not answer.
    pub async fn look(broker: &Broker) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism()?;
        let model = fs::read_to_string("/proc/cpuinfo")?;
        let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let fastify =
            |package: &str| package_version(&format!("{FASTIFY}/node_modules/{package}/package.json"));
        let versions = [
            ("RabbitMQ", broker.versions().await?),
            ("lapin", locked("lapin").unwrap_or_default().to_owned()),
            ("", said("rustc", &["--version"]).await),
            ("", said(PYTHON, &["--version"]).await),
            ("", said(PYTHON, &["-c", PYTHON_PACKAGES]).await),
            ("Node.js", said("node", &["--version"]).await),
            ("fastify", fastify("fastify")),
            ("amqplib", fastify("amqplib")),
        ];
        Ok(Self {
            cpu: format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':'])),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            memory: memory()?,
            load_before: fs::read_to_string("/proc/loadavg")?.trim().to_owned(),
            commit: said("git", &["describe", "--always", "--dirty"]).await,
            versions: versions.map(|(name, version)| (name.to_owned(), version)).to_vec(),
        })
    }
}

fn memory() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kib.unwrap_or_default() >> 20)
}

async fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().await;
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| "absent".to_owned())
}

fn package_version(file: &str) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package["version"].as_str().unwrap_or("absent").to_owned()
}

fn locked(package: &str) -> Option<&str> {
    let (_, rest) = LOCK.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    rest.split('"').next()
}
