//! A node that ends with the process that holds it, even when that process panics or is killed.
//!
//! A shell between the two (`watchdog.sh`) owns the node. Every method blocks until the shell has answered.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};

use crate::program::program;
use crate::setup::Setup;

/// Owns the node's folder too: when it is dropped, it kills the node and removes the folder.
pub struct HeldNode {
    setup: Setup,
    watchdog: Mutex<Watchdog>,
}

impl HeldNode {
    /// Starts the watchdog; [`Self::start`] starts the node.
    ///
    /// # Errors
    /// When RabbitMQ is not installed.
    pub fn new(setup: Setup) -> anyhow::Result<Self> {
        let watchdog = Mutex::new(Watchdog::spawn(&setup)?);
        Ok(Self { setup, watchdog })
    }

    /// Its files and ports.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Starts the process, for the first time or after it has ended; answers its number.
    ///
    /// # Errors
    /// When the watchdog is gone.
    pub fn start(&self) -> anyhow::Result<u32> {
        Ok(self.obey("start")?.parse()?)
    }

    /// Sends a signal by its name without `SIG`.
    ///
    /// # Errors
    /// When the watchdog is gone.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        self.obey(&format!("signal {name}")).map(drop)
    }

    /// Waits until the process has ended.
    ///
    /// # Errors
    /// When the watchdog is gone.
    pub fn wait(&self) -> anyhow::Result<()> {
        self.obey("wait").map(drop)
    }

    fn obey(&self, command: &str) -> anyhow::Result<String> {
        let mut watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = watchdog.obey(command).context("the watchdog of a RabbitMQ node is gone")?;
        ensure!(!answer.is_empty(), "the watchdog of a RabbitMQ node ended before it answered {command:?}");
        Ok(answer)
    }
}

struct Watchdog {
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Watchdog {
    /// In a process group of its own, so that Ctrl-C reaches it only through the end of its stdin.
    fn spawn(setup: &Setup) -> anyhow::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("watchdog.sh"), "watchdog"]);
        command.arg(&setup.folder).arg(program("rabbitmq-server")?);
        command.args(setup.identity.starts_epmd.then_some("epmd"));
        command.current_dir(&setup.folder).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        setup.set_environment(&mut command);
        let mut shell = command.spawn()?;
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().context("stdout is piped")?);
        Ok(Self { shell, commands, answers })
    }

    fn obey(&mut self, command: &str) -> io::Result<String> {
        let mut answer = String::new();
        let commands = self.commands.as_mut().expect("only drop takes it");
        writeln!(commands, "{command}")?;
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.commands.take());
        drop(self.shell.wait());
    }
}
