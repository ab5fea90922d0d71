//! Where a private node keeps its files and listens, and the environment in which it runs.

use std::{
    collections::hash_map::RandomState,
    env, fs,
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

const CONFIG: &str = "\
loopback_users = none
log.console = false
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 50MB
";

const ERLANG_ARGUMENTS: &str =
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";

/// Who a node is among Erlang's nodes.
pub struct Identity {
    pub name: String,
    pub cookie: String,
    pub epmd: u16,
    /// The first node of a cluster starts the epmd that all of them use.
    pub starts_epmd: bool,
}

impl Identity {
    /// A node that knows no other one.
    pub fn alone() -> Self {
        Self::first_of_cluster("it@localhost")
    }

    pub fn first_of_cluster(name: &str) -> Self {
        let cookie = format!("{:016X}", random());
        Self { name: name.to_owned(), cookie, epmd: free_port(), starts_epmd: true }
    }

    /// Another node beside this one.
    pub fn beside(&self, name: &str) -> Self {
        Self { name: name.to_owned(), cookie: self.cookie.clone(), epmd: self.epmd, starts_epmd: false }
    }
}

pub(super) struct Setup {
    pub(super) folder: PathBuf,
    pub(super) identity: Identity,
    pub(super) amqp_port: u16,
    pub(super) distribution_port: u16,
}

impl Setup {
    /// `config` are further lines of `rabbitmq.conf`, `plugins` an Erlang list without its brackets.
    pub(super) fn lay_out(identity: Identity, config: &str, plugins: &str) -> Self {
        let folder = lay_out_folder(&identity.cookie, config, plugins);
        Self { folder, identity, amqp_port: free_port(), distribution_port: free_port() }
    }

    /// The whole environment of a private node, without whatever the caller has set for another one.
    pub(super) fn set_environment(&self, command: &mut Command) {
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RABBITMQ_")) {
            command.env_remove(name);
        }
        command
            .env_remove("NOTIFY_SOCKET")
            .env("HOME", &self.folder)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.identity.epmd.to_string())
            .env("RABBITMQ_NODENAME", &self.identity.name)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.amqp_port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
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
            command.env(name, self.folder.join(file));
        }
    }

    /// What the node has printed and logged.
    pub(super) fn story(&self) -> String {
        let files = ["console", "node.log"].map(|file| self.folder.join(file));
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    }
}

/// A program of RabbitMQ; Debian's wrappers in `/usr/sbin` would change the user.
pub(super) fn program(name: &str) -> PathBuf {
    let folder = env::var_os("GATEWAY_TEST_RABBITMQ");
    let folder = folder.map_or_else(|| "/usr/lib/rabbitmq/bin".into(), PathBuf::from);
    let program = folder.join(name);
    assert!(
        program.exists(),
        "RabbitMQ is not installed: there is no {}. Install Debian's rabbitmq-server, or name the folder of \
         rabbitmq-server and rabbitmqctl in GATEWAY_TEST_RABBITMQ",
        program.display()
    );
    program
}

fn lay_out_folder(cookie: &str, config: &str, plugins: &str) -> PathBuf {
    let prefix = tempfile::Builder::new().prefix("rabbitmq-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let folder = prefix.expect("the target folder is writable").keep();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("the folder is writable");
    write(".erlang.cookie", cookie);
    write("rabbitmq.conf", &format!("{CONFIG}{config}"));
    write("enabled_plugins", &format!("[{plugins}]."));
    protect(&folder.join(".erlang.cookie"));
    folder
}

fn protect(cookie: &Path) {
    let owner_reads = fs::Permissions::from_mode(0o400);
    fs::set_permissions(cookie, owner_reads).expect("the cookie is ours");
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
