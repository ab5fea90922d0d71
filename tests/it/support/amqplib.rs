//! Servers in JavaScript that use amqplib; `scripts/test` installs it into `target/amqplib`.

use std::process::Stdio;

use tokio::process::{Child, Command};

const SERVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/amqplib");
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/amqplib/node_modules");

/// Starts a program of `tests/amqplib` with the URL of RabbitMQ in `AMQP_URL`. The process is killed when the value is dropped.
pub fn start(program: &str, url: &str) -> Child {
    let found = std::fs::exists(format!("{INSTALLED}/amqplib")).unwrap_or_default();
    assert!(found, "amqplib is not in {INSTALLED}: scripts/test installs it");
    let mut command = Command::new("node");
    command.arg(format!("{SERVERS}/{program}")).env("NODE_PATH", INSTALLED).env("AMQP_URL", url);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
    child.unwrap_or_else(|error| panic!("node does not run: {error}"))
}
