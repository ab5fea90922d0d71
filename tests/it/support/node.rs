//! One private RabbitMQ node, for tests on many runtimes: holds nothing of tokio's.
//!
//! Its files, ports and process belong to the crate `private-broker`, whose calls block and run on threads of their own here.

mod erlang;

use std::{fs, net::SocketAddr, process::Stdio, sync::Arc};

use private_broker::{HeldNode, Ports, START_DEADLINE, Setup, speaks_amqp};
pub use private_broker::{Identity, free_port};
use tokio::{process::Command, task::spawn_blocking};

use super::poll::eventually;

pub struct Node {
    held: Arc<HeldNode>,
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
        let folder = tempfile::Builder::new().prefix("rabbitmq-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("the target folder is writable").keep();
        let setup = Setup::lay_out(&folder, identity, Ports::free(plugins), config, plugins);
        let held =
            HeldNode::new(setup.expect("the folder is writable")).unwrap_or_else(|error| panic!("{error}"));
        let node = Self { held: Arc::new(held) };
        node.start().await;
        node
    }

    /// Starts the process again after [`Self::end`], with the same data and ports.
    pub async fn start(&self) {
        let process = self.blocking(HeldNode::start).await.expect("the watchdog answers");
        eventually(START_DEADLINE, "RabbitMQ starts", || async {
            let alive = fs::read_link(format!("/proc/{process}/exe")).is_ok();
            assert!(alive, "RabbitMQ ended while it started:\n{}", self.held.setup().story());
            self.speaks_amqp().await
        })
        .await;
    }

    /// Sends a signal by its name without `SIG`.
    pub async fn signal(&self, name: &str) {
        let name = name.to_owned();
        self.blocking(move |node| node.signal(&name)).await.expect("the watchdog answers");
    }

    /// Sends a signal that ends the process and waits until it has ended.
    pub async fn end(&self, signal: &str) {
        self.signal(signal).await;
        self.blocking(HeldNode::wait).await.expect("the watchdog answers");
    }

    pub fn identity(&self) -> &Identity {
        self.held.setup().identity()
    }

    pub fn address(&self) -> SocketAddr {
        self.held.setup().address()
    }

    /// Whether a client that says hello is answered.
    pub async fn speaks_amqp(&self) -> bool {
        self.blocking(|node| speaks_amqp(node.setup().address())).await
    }

    /// Evaluates Erlang inside the node. Panics on an Erlang error.
    pub async fn eval(&self, expression: &str) -> String {
        erlang::eval(self.held.setup(), expression).await
    }

    /// The same for a drop: holds the thread meanwhile, and tells an error in place of a panic.
    pub fn eval_blocking(&self, expression: &str) -> Result<String, String> {
        erlang::eval_blocking(self.held.setup(), expression)
    }

    /// Runs rabbitmqctl; answers its output, panics when it fails.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = self.held.setup().command("rabbitmqctl").expect("RabbitMQ is installed");
        command.arg("--quiet").args(arguments).stdin(Stdio::null());
        let output = Command::from(command).output().await.expect("rabbitmqctl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    async fn blocking<T: Send + 'static>(&self, call: impl FnOnce(&HeldNode) -> T + Send + 'static) -> T {
        let held = Arc::clone(&self.held);
        spawn_blocking(move || call(&held)).await.expect("no call panics")
    }
}
