//! A container in place of a node, where there is docker but no RabbitMQ. Its data is the container's own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, ensure};

use crate::amqp::speaks_amqp;
use crate::env_file;
use crate::ports::free_port;
use crate::wait::{START_DEADLINE, wait_until};

/// scripts/install-rabbitmq pulls it.
const IMAGE: &str = "rabbitmq:4.1";
const ID_FILE: &str = "container";
const STOP_SECONDS: &str = "20";

/// The container whose id a folder holds.
pub struct Container {
    id: String,
}

impl Container {
    /// Whether docker and its daemon are there.
    #[must_use]
    pub fn is_possible() -> bool {
        docker(&["info"]).is_ok()
    }

    /// The container that was started in a folder before.
    #[must_use]
    pub fn of(folder: &Path) -> Option<Self> {
        let id = fs::read_to_string(id_file(folder)).ok()?;
        Some(Self { id: id.trim().to_owned() })
    }

    /// Starts the container of a folder, as it was when it was stopped, or a new one, and waits until it speaks AMQP.
    ///
    /// # Errors
    /// When docker fails, or RabbitMQ does not start in it.
    pub fn start(folder: &Path) -> anyhow::Result<()> {
        match Self::of(folder).filter(|container| docker(&["inspect", &container.id]).is_ok()) {
            Some(Self { id }) => drop(docker(&["start", &id])?),
            None => run(folder)?,
        }
        let port = env_file::read_amqp_port(folder).context("the folder of the container names no port")?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        ensure!(
            wait_until(START_DEADLINE, || speaks_amqp(address)),
            "RabbitMQ does not start in its container within {START_DEADLINE:?}; its log: docker logs $(cat {})",
            id_file(folder).display()
        );
        Ok(())
    }

    /// Stops it; the data stays.
    ///
    /// # Errors
    /// When docker fails.
    pub fn stop(&self) -> anyhow::Result<()> {
        docker(&["stop", "-t", STOP_SECONDS, &self.id]).map(drop)
    }

    /// A program inside it.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("docker");
        command.args(["exec", &self.id, program]);
        command
    }
}

fn run(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let (id_file, port) = (id_file(folder), free_port());
    // docker refuses to write over it.
    if id_file.exists() {
        fs::remove_file(&id_file)?;
    }
    env_file::write_url(folder, port)?;
    let (id_file, publish) = (id_file.to_string_lossy(), format!("127.0.0.1:{port}:5672"));
    docker(&["run", "-d", "--cidfile", &id_file, "--hostname", "private", "-p", &publish, IMAGE]).map(drop)
}

fn id_file(folder: &Path) -> PathBuf {
    folder.join(ID_FILE)
}

fn docker(arguments: &[&str]) -> anyhow::Result<Output> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "docker {}: {}", arguments.join(" "), error.trim());
    Ok(output)
}
