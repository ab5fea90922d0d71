//! The command line for a private RabbitMQ: start it, stop it, look into it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use private_broker::{Container, DetachedNode, Setup, is_installed};

/// As `sysexits.h` numbers a service that is not there.
const EX_UNAVAILABLE: u8 = 69;

const AFTER_HELP: &str = "\
GATEWAY_TEST_RABBITMQ names the folder of another RabbitMQ's programs than /usr/lib/rabbitmq/bin. Where RabbitMQ is
not installed, a container replaces the node, if docker works.";

/// A private RabbitMQ on 127.0.0.1, with ports, cookie, configuration and data of its own.
///
#[derive(Parser)]
#[command(after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start a broker with its data in DIR, wait until it answers, and write its address to DIR/env
    Start {
        /// Folder of the broker
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Plugins to enable, separated by commas
        #[arg(long, value_name = "NAMES", default_value = "", hide_default_value = true)]
        plugins: String,
    },
    /// Stop it; the data stays
    Stop {
        /// Folder of the broker
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Run rabbitmqctl for it
    Ctl {
        /// Folder of the broker
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Arguments of rabbitmqctl
        #[arg(value_name = "ARG", trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[expect(clippy::print_stderr, reason = "a command line tells its user what failed")]
fn main() -> ExitCode {
    match run(Arguments::parse().action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("private-broker: {error:#}");
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

fn run(action: Action) -> anyhow::Result<()> {
    match action {
        Action::Start { folder, plugins } => start(&folder, &plugins),
        Action::Stop { folder } => stop(&folder),
        Action::Ctl { folder, arguments } => ctl(&folder, &arguments),
    }
}

/// A folder that holds a container keeps it, since the data is in there.
fn start(folder: &Path, plugins: &str) -> anyhow::Result<()> {
    if is_installed() && Container::of(folder).is_none() {
        return DetachedNode::start(folder, plugins).map(drop);
    }
    ensure!(Container::is_possible(), "there is neither RabbitMQ nor docker: run scripts/install-rabbitmq");
    ensure!(plugins.is_empty(), "a container enables no plugins: run scripts/install-rabbitmq for {plugins}");
    Container::start(folder)
}

fn stop(folder: &Path) -> anyhow::Result<()> {
    Container::of(folder).map_or_else(|| DetachedNode::stop(folder), |container| container.stop())
}

/// rabbitmqctl takes the place of this process, with its prints and its exit code.
fn ctl(folder: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let mut command = if let Some(container) = Container::of(folder) {
        container.command("rabbitmqctl")
    } else {
        let setup = Setup::read(folder);
        setup.with_context(|| format!("{} holds no broker", folder.display()))?.command("rabbitmqctl")?
    };
    Err(command.args(arguments).exec()).context("starting rabbitmqctl")
}
