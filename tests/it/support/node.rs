//! One RabbitMQ process: its folder, ports, environment and life.
//!
//! A shell watchdog holds the process, so that it ends with the test run even when the tests panic or are killed.
//! Holds nothing of tokio's: a node may serve tests on many runtimes.

use std::{
    collections::hash_map::RandomState,
    env, fs,
    hash::{BuildHasher, Hasher},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::poll::eventually;

/// Generous, because a machine that compiles at the same time needs four times the usual 3 s.
const START_DEADLINE: Duration = Duration::from_secs(90);

const CONFIG: &str = "\
loopback_users = none
log.console = false
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 50MB
";

const ERLANG_ARGUMENTS: &str =
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";

pub struct Node {
    folder: PathBuf,
    ports: Ports,
    cookie: String,
    watchdog: Arc<Mutex<Watchdog>>,
}

struct Ports {
    amqp: u16,
    distribution: u16,
    epmd: u16,
}

/// The shell that owns the process; see `watchdog.sh`.
struct Watchdog {
    shell: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Node {
    /// Starts a node and waits until it speaks AMQP.
    pub async fn launch() -> Self {
        Self::launch_with("", "").await
    }

    /// The same with more lines of `rabbitmq.conf`, and plugins as an Erlang list without its brackets.
    pub async fn launch_with(config: &str, plugins: &str) -> Self {
        let server = programs().join("rabbitmq-server");
        assert!(
            server.exists(),
            "RabbitMQ is not installed: there is no {}. Install Debian's rabbitmq-server, or name the folder of \
             rabbitmq-server and rabbitmqctl in GATEWAY_TEST_RABBITMQ",
            server.display()
        );
        let cookie = format!("{:016X}", random());
        let folder = lay_out_folder(&cookie, config, plugins);
        let ports = Ports { amqp: free_port(), distribution: free_port(), epmd: free_port() };
        let watchdog = Arc::new(Mutex::new(Watchdog::spawn(&folder, &ports, &server)));
        let node = Self { folder, ports, cookie, watchdog };
        node.start().await;
        node
    }

    /// Starts the process again after [`Self::end`], with the same data and ports.
    pub async fn start(&self) {
        let process = self.command("start").await;
        eventually(START_DEADLINE, "RabbitMQ starts", || async {
            let alive = fs::read_link(format!("/proc/{process}/exe")).is_ok();
            assert!(alive, "RabbitMQ ended while it started:\n{}", self.story());
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

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.amqp).into()
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

    /// Evaluates Erlang inside the node; some 10 ms where rabbitmqctl takes a second. Panics on an Erlang error.
    pub async fn eval(&self, expression: &str) -> String {
        // A name of its own: the node turns a second caller of the same name away, and `-r` draws one a second.
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let caller = format!("it{}", CALLS.fetch_add(1, Ordering::Relaxed));
        let mut call = tokio::process::Command::new("erl_call")
            .args(["-h", &caller, "-timeout", "30", "-e", "-c", &self.cookie, "-address"])
            .arg(format!("127.0.0.1:{}", self.ports.distribution))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("erl_call of Erlang is in PATH");
        let mut input = call.stdin.take().expect("stdin is piped");
        input.write_all(format!("begin {expression} end.\n").as_bytes()).await.expect("erl_call reads");
        drop(input);
        let output = call.wait_with_output().await.expect("erl_call ends");
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        match answer.strip_prefix("{ok, ").and_then(|rest| rest.trim_end().strip_suffix('}')) {
            Some(value) => value.to_owned(),
            None => panic!("{expression}: {answer}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Runs rabbitmqctl; answers its output, panics when it fails.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(programs().join("rabbitmqctl"));
        command.arg("--quiet").args(arguments).stdin(Stdio::null());
        set_environment(&mut command, &self.folder, &self.ports);
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

    /// What the node has printed and logged.
    fn story(&self) -> String {
        let files = ["console", "node.log"].map(|file| self.folder.join(file));
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    }
}

impl Watchdog {
    /// In a process group of its own, so that Ctrl-C reaches it only through the end of its stdin.
    fn spawn(folder: &Path, ports: &Ports, server: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("watchdog.sh"), "watchdog"]).arg(folder).arg(server);
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        set_environment(&mut command, folder, ports);
        let mut shell = command.spawn().expect("sh is in PATH");
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().expect("stdout is piped"));
        Self { shell, commands, answers }
    }

    fn obey(&mut self, command: &str) -> String {
        let mut answer = String::new();
        let commands = self.commands.as_mut().expect("taken only by drop");
        writeln!(commands, "{command}").expect("the watchdog lives");
        self.answers.read_line(&mut answer).expect("the watchdog answers");
        answer.trim_end().to_owned()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.commands.take());
        drop(self.shell.wait());
    }
}

/// Where `rabbitmq-server` and `rabbitmqctl` are; Debian's wrappers in `/usr/sbin` would change the user.
fn programs() -> PathBuf {
    env::var_os("GATEWAY_TEST_RABBITMQ").map_or_else(|| "/usr/lib/rabbitmq/bin".into(), PathBuf::from)
}

fn lay_out_folder(cookie: &str, config: &str, plugins: &str) -> PathBuf {
    let prefix = tempfile::Builder::new().prefix("rabbitmq-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let folder = prefix.expect("the target folder is writable").keep();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("the folder is writable");
    write(".erlang.cookie", cookie);
    write("rabbitmq.conf", &format!("{CONFIG}{config}"));
    write("enabled_plugins", &format!("[{plugins}]."));
    let owner_reads = fs::Permissions::from_mode(0o400);
    fs::set_permissions(folder.join(".erlang.cookie"), owner_reads).expect("the cookie is ours");
    folder
}

/// The whole environment of a private node, without whatever the caller has set for another one.
fn set_environment(command: &mut Command, folder: &Path, ports: &Ports) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RABBITMQ_")) {
        command.env_remove(name);
    }
    command
        .env_remove("NOTIFY_SOCKET")
        .env("HOME", folder)
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", ports.epmd.to_string())
        .env("RABBITMQ_NODENAME", "it@localhost")
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", ports.amqp.to_string())
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG_ARGUMENTS)
        // The server's script then becomes the node in place of watching it, so that one pid names it.
        .env("RUNNING_UNDER_SYSTEMD", "true");
    for (name, file) in [
        ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
        ("RABBITMQ_FEATURE_FLAGS_FILE", "feature_flags"),
        ("RABBITMQ_LOGS", "node.log"),
        ("RABBITMQ_LOG_BASE", "log"),
        ("RABBITMQ_MNESIA_BASE", "mnesia"),
        ("RABBITMQ_PID_FILE", "pid"),
        ("RABBITMQ_PLUGINS_EXPAND_DIR", "plugins"),
    ] {
        command.env(name, folder.join(file));
    }
}

/// A port that is free and that no other node of this run was given; below 32768, where no client port comes from.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| {
        let start = u16::try_from(random() % 10_000).expect("below 10,000");
        AtomicU16::new(20_000 + start)
    });
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(port < 32_768, "no free port below 32768");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
