//! A process of the benchmark and its child processes: one group, which is stopped as a whole, also when the benchmark fails.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The folder for the output of contestants.
const LOGS: &str = "target/bench/logs";
/// The longest time for a process to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running group of processes.
pub struct Running {
    child: Child,
    leader: i32,
}

impl Running {
    /// Starts a command with only those variables of the caller's environment that programs need to run.
    ///
    /// # Errors
    /// When the program is missing.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        fs::create_dir_all(LOGS)?;
        let log = File::create(Path::new(LOGS).join(format!("{name}.log")))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let leader = i32::try_from(child.id().context("the process has ended at once")?)?;
        Ok(Self { child, leader })
    }

    /// The group's number, which is that of its first process.
    #[must_use]
    pub fn leader(&self) -> i32 {
        self.leader
    }

    /// Whether the first process has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the group to end, as Ctrl-C does, and waits; processes that still run are killed.
    pub async fn stop(mut self) {
        self.signal(Signal::INT);
        // The drop kills the group, in case it did not end in time.
        let _ = timeout(PATIENCE, self.child.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.leader) {
            // A group that has ended needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A command that gets only the search path, the home folder and the given variables.
#[must_use]
pub fn command(program: impl AsRef<std::ffi::OsStr>, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(environment.iter().copied());
    for name in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}
