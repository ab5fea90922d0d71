//! A node that runs until it is stopped, by this process or by another one: `pid` in its folder names it.
//!
//! A node that is started again has its data, and its ports while they are free, so that its clients find it again.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::amqp::speaks_amqp;
use crate::identity::Identity;
use crate::ports::{Ports, is_free};
use crate::setup::{PID_FILE, STARTUP_LOG, Setup};
use crate::wait::{START_DEADLINE, wait_until};

const STOP_DEADLINE: Duration = Duration::from_secs(20);
const EPMD_DEADLINE: Duration = Duration::from_secs(5);
/// Another program can take a free port before the node does: the next attempt has other ports.
const START_ATTEMPTS: usize = 3;

/// A node that answers.
#[derive(Debug)]
pub struct DetachedNode {
    setup: Setup,
    pid: i32,
}

impl DetachedNode {
    /// Starts a node with its files in a folder and waits until it speaks AMQP. A node that runs there already stays as it is.
    ///
    /// # Errors
    /// When it does not start; the error shows the end of its log.
    pub fn start(folder: &Path, plugins: &str) -> anyhow::Result<Self> {
        if let Some(node) = Self::find(folder) {
            return Ok(node);
        }
        Self::stop(folder)?;
        let mut setup = lay_out(folder, plugins, earlier(folder, plugins))?;
        for _ in 0..START_ATTEMPTS {
            let mut process = spawn(&setup)?;
            let mut has_ended = || !matches!(process.try_wait(), Ok(None));
            wait_until(START_DEADLINE, || has_ended() || speaks_amqp(setup.address()));
            if let Some(node) = Self::find(folder) {
                return Ok(node);
            }
            Self::stop(folder)?;
            setup = lay_out(folder, plugins, None)?;
        }
        bail!("RabbitMQ does not start in {}:\n{}", setup.folder.display(), setup.story());
    }

    /// The node of a folder, if it runs and speaks AMQP.
    #[must_use]
    pub fn find(folder: &Path) -> Option<Self> {
        let setup = Setup::read(folder)?;
        let pid = running(&setup.folder)?.as_raw_pid();
        speaks_amqp(setup.address()).then_some(Self { setup, pid })
    }

    /// Stops the node of a folder, if one runs there, and its epmd; kills it when it does not stop in time. The data stays.
    ///
    /// # Errors
    /// When the folder is not readable.
    pub fn stop(folder: &Path) -> anyhow::Result<()> {
        let Ok(folder) = folder.canonicalize() else { return Ok(()) };
        if let Some(pid) = running(&folder) {
            end(pid, &folder);
        }
        let pid_file = folder.join(PID_FILE);
        if pid_file.exists() {
            fs::remove_file(pid_file)?;
        }
        stop_epmd(&folder);
        Ok(())
    }

    /// Its files and ports.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The number of its process, which is that of its process group too.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

/// Identity and ports of the node that ran here before, while they are free.
fn earlier(folder: &Path, plugins: &str) -> Option<(Identity, Ports)> {
    let Setup { identity, ports, .. } = Setup::read(folder)?;
    (ports.suit(plugins) && is_free(identity.epmd)).then_some((identity, ports))
}

fn lay_out(folder: &Path, plugins: &str, earlier: Option<(Identity, Ports)>) -> anyhow::Result<Setup> {
    let (identity, ports) = earlier.unwrap_or_else(|| (Identity::alone(), Ports::free(plugins)));
    Setup::lay_out(folder, identity, ports, "", plugins)
}

/// In a process group of its own, which Ctrl-C does not reach, and in its folder, where it leaves what a crash dumps.
fn spawn(setup: &Setup) -> anyhow::Result<Child> {
    let log = File::create(setup.folder.join(STARTUP_LOG))?;
    let mut command = setup.command("rabbitmq-server")?;
    command
        .current_dir(&setup.folder)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let child = command.spawn().context("starting rabbitmq-server")?;
    fs::write(setup.folder.join(PID_FILE), child.id().to_string())?;
    Ok(child)
}

/// Asks the process to stop, and kills it at the deadline. It may end by itself at any time, so that no signal has to arrive.
fn end(pid: Pid, folder: &Path) {
    for signal in [Signal::TERM, Signal::KILL] {
        let _ = kill_process(pid, signal);
        // RabbitMQ removes its pid file long before it has stopped.
        if wait_until(STOP_DEADLINE, || !is_node(pid, folder)) {
            return;
        }
    }
}

fn running(folder: &Path) -> Option<Pid> {
    let pid = fs::read_to_string(folder.join(PID_FILE)).ok()?;
    let pid = Pid::from_raw(pid.trim().parse().ok()?)?;
    is_node(pid, folder).then_some(pid)
}

/// A pid file can outlive its process, and another process may have the number: the environment shows whose it is.
fn is_node(pid: Pid, folder: &Path) -> bool {
    // A child of this process that has ended would stay as a zombie.
    let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mine = format!("RABBITMQ_PID_FILE={}", folder.join(PID_FILE).display());
    environment.split(|byte| *byte == 0).any(|variable| variable == mine.as_bytes())
}

/// An epmd that knows a node refuses to stop: another node uses it.
fn stop_epmd(folder: &Path) {
    let Some(Setup { identity, .. }) = Setup::read(folder) else { return };
    wait_until(EPMD_DEADLINE, || is_free(identity.epmd) || kill_epmd(identity.epmd));
}

fn kill_epmd(port: u16) -> bool {
    let mut command = Command::new("epmd");
    command.args(["-port", &port.to_string(), "-kill"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
