//! The files of a private node, where it listens, and the environment in which it and its tools run.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::Context;

use crate::env_file;
use crate::identity::Identity;
use crate::ports::Ports;
use crate::program::program;

const CONFIG: &str = "\
loopback_users = none
log.console = false
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 50MB
";

const ERLANG_ARGUMENTS: &str =
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}";

/// The prints of the start script, and the log of the node.
const LOGS: [&str; 2] = [STARTUP_LOG, NODE_LOG];
pub(crate) const STARTUP_LOG: &str = "log/startup.log";
const NODE_LOG: &str = "log/node.log";
const COOKIE: &str = "home/.erlang.cookie";
pub(crate) const PID_FILE: &str = "pid";

/// One node: its folder, its identity and its ports.
#[derive(Debug)]
pub struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) ports: Ports,
}

impl Setup {
    /// Writes the files of a node into a folder, and keeps the data that an earlier node left there. `config` are further
    /// lines of `rabbitmq.conf`, `plugins` an Erlang list without its brackets.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn lay_out(
        folder: &Path,
        identity: Identity,
        ports: Ports,
        config: &str,
        plugins: &str,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        // The node runs elsewhere, and a pid file is recognised by its whole path.
        let setup = Self { folder: folder.canonicalize()?, identity, ports };
        setup
            .write_files(config, plugins)
            .with_context(|| format!("writing the files of a RabbitMQ node to {}", folder.display()))?;
        Ok(setup)
    }

    /// The setup of the node that was started in a folder before, if its files are whole.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        let cookie = fs::read_to_string(folder.join(COOKIE)).ok()?;
        let (identity, ports) = env_file::read(&folder, cookie)?;
        Some(Self { folder, identity, ports })
    }

    /// Its folder, as a whole path.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Who it is among Erlang's nodes.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where it listens.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Where it listens for AMQP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.amqp).into()
    }

    /// The default virtual host as guest.
    #[must_use]
    pub fn url(&self) -> String {
        env_file::url(self.ports.amqp)
    }

    /// A program of RabbitMQ that starts this node or speaks to it.
    ///
    /// # Errors
    /// When RabbitMQ is not installed.
    pub fn command(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(program(name)?);
        self.set_environment(&mut command);
        Ok(command)
    }

    /// The prints and the log of the node.
    #[must_use]
    pub fn story(&self) -> String {
        LOGS.iter().filter_map(|file| fs::read_to_string(self.folder.join(file)).ok()).collect()
    }

    /// Nothing of the caller's environment reaches the node: RabbitMQ and Erlang take dozens of settings from there.
    pub(crate) fn set_environment(&self, command: &mut Command) {
        command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
        for (name, value) in [
            ("LANG", "C.UTF-8"),
            ("ERL_EPMD_ADDRESS", "127.0.0.1"),
            ("ERL_EPMD_PORT", &self.identity.epmd.to_string()),
            ("RABBITMQ_NODENAME", &self.identity.name),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"),
            ("RABBITMQ_NODE_PORT", &self.ports.amqp.to_string()),
            ("RABBITMQ_DIST_PORT", &self.ports.distribution.to_string()),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null"),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG_ARGUMENTS),
            // The server's script then becomes the node in place of watching it, so that one pid names it.
            ("RUNNING_UNDER_SYSTEMD", "true"),
        ] {
            command.env(name, value);
        }
        for (name, file) in [
            ("HOME", "home"),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", "advanced.config"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq.conf"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("RABBITMQ_FEATURE_FLAGS_FILE", "data/feature_flags"),
            ("RABBITMQ_LOGS", NODE_LOG),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_MNESIA_BASE", "data"),
            ("RABBITMQ_PID_FILE", PID_FILE),
            ("RABBITMQ_PLUGINS_EXPAND_DIR", "plugins"),
        ] {
            command.env(name, self.folder.join(file));
        }
    }

    fn write_files(&self, config: &str, plugins: &str) -> io::Result<()> {
        for folder in ["home", "data", "log", "plugins"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        let write = |name: &str, text: &str| fs::write(self.folder.join(name), text);
        write("rabbitmq.conf", &format!("{CONFIG}{}{config}", self.management_config()))?;
        write("advanced.config", "[].")?;
        write("enabled_plugins", &format!("[{plugins}]."))?;
        self.write_cookie()?;
        env_file::write(self)
    }

    fn management_config(&self) -> String {
        self.ports.management.map_or_else(String::new, |port| {
            format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\n")
        })
    }

    /// Erlang takes no cookie that others may read.
    fn write_cookie(&self) -> io::Result<()> {
        let cookie = self.folder.join(COOKIE);
        if cookie.exists() {
            fs::remove_file(&cookie)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&cookie)?;
        file.write_all(self.identity.cookie.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setup_of_a_node_is_read_back_from_its_folder() {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        for plugins in ["rabbitmq_management", ""] {
            let (identity, ports) = (Identity::alone(), Ports::free(plugins));
            let setup = Setup::lay_out(folder.path(), identity.clone(), ports, "", plugins);
            assert!(setup.is_ok(), "{setup:?}");
            let read = Setup::read(folder.path()).expect("its files are whole");
            assert_eq!((read.identity, read.ports), (identity, ports));
        }
    }

    #[test]
    fn the_management_api_listens_where_env_says() {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let plugins = "rabbitmq_management";
        let ports = Ports::free(plugins);
        Setup::lay_out(folder.path(), Identity::alone(), ports, "a = b\n", plugins).expect("it is writable");
        let file = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
        let port = ports.management.expect("the plugin has a port");
        assert!(file("env").contains(&format!("\nMANAGEMENT_PORT={port}\n")));
        assert!(file("rabbitmq.conf").contains(&format!("\nmanagement.tcp.port = {port}\na = b\n")));
        assert_eq!(file("enabled_plugins"), "[rabbitmq_management].");
    }
}
