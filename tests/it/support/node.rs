//! One RabbitMQ process: its folder, ports, environment and life.
//!
//! Holds nothing of tokio's: a node may serve tests on many runtimes.

mod erlang;
mod setup;
mod watchdog;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub use self::setup::{Identity, free_port};
use self::{
    setup::{Setup, program},
    watchdog::Watchdog,
};
use super::poll::eventually;

/// Generous, because a machine that compiles at the same time needs four times the usual 3 s.
const START_DEADLINE: Duration = Duration::from_secs(90);

pub struct Node {
    setup: Setup,
    watchdog: Arc<Mutex<Watchdog>>,
}

impl Node {
    /// Starts a node and waits until it speaks AMQP.
    pub async fn launch() -> Self {
        Self::launch_with("", "").await
    }

    /// The same with more lines of `rabbitmq.conf`, and plugins as an Erlang list without its brackets.
    pub async fn launch_with(config: &str, plugins: &str) -> Self {
        Self::launch_as(Identity::alone(), config, plugins).await
    }

    /// The same as a node that others know.
    pub async fn launch_as(identity: Identity, config: &str, plugins: &str) -> Self {
        let setup = Setup::lay_out(identity, config, plugins);
        let watchdog = Arc::new(Mutex::new(Watchdog::spawn(&setup)));
        let node = Self { setup, watchdog };
        node.start().await;
        node
    }

    /// Starts the process again after [`Self::end`], with the same data and ports.
    pub async fn start(&self) {
        let process = self.command("start").await;
        eventually(START_DEADLINE, "RabbitMQ starts", || async {
            let alive = fs::read_link(format!("/proc/{process}/exe")).is_ok();
            assert!(alive, "RabbitMQ ended while it started:\n{}", self.setup.story());
            self.speaks_amqp().await
        })
        .await;
    }

    /// Sends a signal by its name without `SIG`.
    pub async fn signal(&self, name: &str) {
        self.command(&format!("signal {name}")).await;
    }

    /// Sends a signal that ends the process and waits until it has ended.
    pub async fn end(&self, signal: &str) {
        self.signal(signal).await;
        self.command("wait").await;
    }

    pub fn identity(&self) -> &Identity {
        &self.setup.identity
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.setup.amqp_port).into()
    }

    /// Whether a client that says hello is answered.
    pub async fn speaks_amqp(&self) -> bool {
        let hello = async {
            let mut stream = TcpStream::connect(self.address()).await?;
            stream.write_all(b"AMQP\0\0\x09\x01").await?;
            stream.read_u8().await
        };
        matches!(tokio::time::timeout(Duration::from_secs(2), hello).await, Ok(Ok(1)))
    }

    /// Evaluates Erlang inside the node. Panics on an Erlang error.
    pub async fn eval(&self, expression: &str) -> String {
        erlang::eval(&self.setup, expression).await
    }

    /// The same for a drop: holds the thread meanwhile, and tells an error in place of a panic.
    pub fn eval_blocking(&self, expression: &str) -> Result<String, String> {
        erlang::eval_blocking(&self.setup, expression)
    }

    /// Runs rabbitmqctl; answers its output, panics when it fails.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(program("rabbitmqctl"));
        command.arg("--quiet").args(arguments).stdin(Stdio::null());
        self.setup.set_environment(&mut command);
        let output = tokio::process::Command::from(command).output().await.expect("rabbitmqctl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    async fn command(&self, command: &str) -> String {
        let (watchdog, command) = (Arc::clone(&self.watchdog), command.to_owned());
        let obey = move || watchdog.lock().expect("no command panics").obey(&command);
        tokio::task::spawn_blocking(obey).await.expect("the watchdog answers")
    }
}
