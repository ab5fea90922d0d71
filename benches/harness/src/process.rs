//! A process of the benchmark and all that it starts: one group, stopped whole, however the benchmark ends.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Where contestants write what they have to say.
const LOGS: &str = "target/bench/logs";
/// For a process that is asked to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running group of processes.
pub struct Running {
    child: Child,
    leader: i32,
}

impl Running {
    /// Starts a command with nothing of the caller's environment but what makes programs run.
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
        let leader = i32::try_from(child.id().context("it has ended at once")?)?;
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

    /// Asks it to end, as Ctrl-C does, and waits; what is left of the group is killed.
    pub async fn stop(mut self) {
        self.signal(Signal::INT);
        // Dropped, the group is killed: that settles what patience did not.
        let _ = timeout(PATIENCE, self.child.wait()).await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.leader) {
            // A group that is gone needs no signal.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A command that sees only the path of programs and the given variables.
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
