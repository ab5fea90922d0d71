//! `Process`: the real binary, its signals, its exit code and its whole output.

use std::{
    net::SocketAddr,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    task::JoinHandle,
};

use super::poll::{eventually, within};

const START_DEADLINE: Duration = Duration::from_secs(20);

/// A running gateway; the process is killed when the value is dropped.
pub struct Process {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// `serve` with these settings and no others in the environment, on a free port unless a setting names one.
    pub fn spawn(settings: &[(&str, &str)]) -> Self {
        Self::spawn_with(&[], settings)
    }

    /// The same with a command line.
    pub fn spawn_with(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rabbitmq-gateway"));
        command
            .args(arguments)
            .env_clear()
            .env("GATEWAY_LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the binary is built");
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().expect("stdout is piped"), &stdout),
            collect(child.stderr.take().expect("stderr is piped"), &stderr),
        ];
        Self { child, stdout, stderr, readers }
    }

    /// The address on which it listens, from its output.
    pub async fn address(&self) -> SocketAddr {
        eventually(START_DEADLINE, "the gateway prints its address", || async {
            listening_address(&self.output())
        })
        .await
    }

    /// The process's memory in RAM, in KiB.
    pub fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim_end_matches("kB").trim().parse().ok());
        number.expect("the status has VmRSS in kB")
    }

    fn id(&self) -> u32 {
        self.child.id().expect("the process has not ended")
    }

    /// Sends a signal by its name without `SIG`.
    pub async fn signal(&self, name: &str) {
        let process = self.id().to_string();
        let kill = Command::new("sh").args(["-c", "kill -s $0 $1", name, &process]).status().await;
        assert!(kill.is_ok_and(|status| status.success()), "{name} reaches process {process}");
    }

    /// SIGSTOP; returns when every thread has stopped.
    pub async fn pause(&self) {
        self.signal("STOP").await;
        eventually(START_DEADLINE, "the process stands still", || async { self.stands_still() }).await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    fn stands_still(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        threads.flatten().all(|thread| {
            let status = std::fs::read_to_string(thread.path().join("status"));
            // A thread that has ended meanwhile has no status.
            status.map_or(true, |status| status.contains("\nState:\tT"))
        })
    }

    /// SIGTERM.
    pub async fn terminate(&self) {
        self.signal("TERM").await;
    }

    /// Waits until the process has ended and its whole output has been read.
    pub async fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let ended = async {
            let status = self.child.wait().await.expect("a child can be waited for");
            for reader in self.readers.drain(..) {
                reader.await.expect("a reader does not panic");
            }
            status
        };
        within(deadline, "the gateway ends", ended).await
    }

    /// Stdout so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// Stderr so far: the log.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// All of stdout and then all of stderr so far.
    pub fn output(&self) -> String {
        self.stdout() + &self.stderr()
    }
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().expect("no reader panics")).into_owned()
}

fn collect(mut from: impl AsyncRead + Unpin + Send + 'static, into: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    tokio::spawn(async move {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            into.lock().expect("no reader panics").extend_from_slice(&piece[..count]);
        }
    })
}

/// The first socket address on a whole line about listening, in text or JSON.
fn listening_address(output: &str) -> Option<SocketAddr> {
    let whole = &output[..=output.rfind('\n')?];
    let mut lines = whole.lines().filter(|line| line.contains("listening"));
    lines.find_map(|line| {
        let is_of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | '[' | ']');
        line.split(|c| !is_of_address(c)).find_map(|word| word.parse().ok())
    })
}
