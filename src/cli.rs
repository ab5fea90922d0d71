//! The command line. Its flags come from the table of settings.
//!
//! Exit codes: 0 done, 1 failed, 64 a mistake in the configuration or on the command line (`EX_USAGE`). `check-config --connect`
//! has two more.

mod arguments;
mod can;
mod healthcheck;
mod key;
mod output;
mod principals;
mod toml_text;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::ArgMatches;
use clap_complete::Shell;
use clap_mangen::Man;

pub use self::can::{Question, can};
pub use self::healthcheck::healthcheck;
pub use self::key::{NewKey, hash_key, new_key};
pub use self::output::{EXIT_USAGE, fail, print};
use crate::config::sources::{self, Given};
use crate::config::table::SETTINGS;
use crate::config::{Config, Mistakes};

/// The task of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Run the gateway: no sub-command.
    Serve,
    /// Print the effective settings.
    CheckConfig {
        /// Whether to log in to RabbitMQ too.
        connect: bool,
    },
    /// Ask the running gateway.
    Healthcheck {
        /// Whether to ask for readiness in place of liveness.
        ready: bool,
    },
    /// Make an API key.
    NewKey(NewKey),
    /// Print the hash of the API key on standard input.
    HashKey,
    /// Tell whether the file of principals allows something.
    Can(Question),
    /// Print the OpenAPI document.
    OpenApi,
    /// Print a completion script.
    Completions(Shell),
    /// Print a manual page: the one of this sub-command, or the one of the gateway.
    Manual(Option<String>),
}

/// The command line, parsed.
#[derive(Debug)]
pub struct Invocation {
    /// The task of the process.
    pub command: Command,
    flags: Vec<(&'static str, String)>,
}

impl Invocation {
    /// Reads the settings of this invocation from its flags, the environment and the file.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn settings(&self) -> Result<(Config, Given), Mistakes> {
        sources::load(|name| self.flag(name), std::env::vars_os().collect())
    }

    /// Reads the address of health checks from the same sources.
    ///
    /// # Errors
    /// The mistakes in its settings.
    pub fn health_address(&self) -> Result<SocketAddr, Mistakes> {
        sources::health_address(|name| self.flag(name), std::env::vars_os().collect())
    }

    fn flag(&self, name: &str) -> Option<String> {
        self.flags.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone())
    }
}

/// Parses a command line, which begins with the program's name. `--help` and `--version` come back as errors of clap too.
///
/// # Errors
/// The error of clap; print it with [`refuse`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let matches = arguments::command().try_get_matches_from(arguments)?;
    let (command, own) = match matches.subcommand() {
        Some((name, own)) => (command(name, own), own),
        None => (Command::Serve, &matches),
    };
    let flag = |name| value(own, name).or_else(|| value(&matches, name));
    let flags = SETTINGS.iter().filter_map(|it| Some((it.name, flag(it.name)?))).collect();
    Ok(Invocation { command, flags })
}

fn command(name: &str, matches: &ArgMatches) -> Command {
    match name {
        "check-config" => Command::CheckConfig { connect: matches.get_flag("connect") },
        "healthcheck" => Command::Healthcheck { ready: matches.get_flag("ready") },
        "key" => match matches.subcommand() {
            Some(("new", own)) => Command::NewKey(NewKey::of(own)),
            _ => Command::HashKey,
        },
        "can" => Command::Can(Question::of(matches)),
        "completions" => Command::Completions(*matches.get_one("shell").expect("clap requires it")),
        "man" => Command::Manual(value(matches, "command")),
        _ => Command::OpenApi,
    }
}

/// The value of a flag; `None` where the command does not know the flag.
fn value(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.try_get_one::<String>(name).ok().flatten().cloned()
}

/// The completion script for a shell.
#[must_use]
pub fn completions(shell: Shell) -> String {
    let mut command = arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    // clap_complete (4.6.12) writes the program's hyphen in two ways for bash, so bash completes no flag of a sub-command.
    // Delete this when issue 6421 of clap is closed.
    String::from_utf8_lossy(&script).replace("rabbitmq__subcmd__gateway", "rabbitmq__gateway")
}

/// A manual page in the format of `man`: the one of this sub-command, or the one of the gateway.
#[must_use]
pub fn manual(of: Option<&str>) -> String {
    let mut command = arguments::command();
    command.build();
    let command = of.and_then(|name| command.find_subcommand(name)).unwrap_or(&command).clone();
    let closing = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string);
    // `man` joins lines that have no empty line between them.
    let closing: Vec<_> =
        closing.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty()).collect();
    let command = command.after_long_help(closing.join("\n\n"));
    let mut page = Vec::new();
    // Writing to a vector does not fail.
    let _written = Man::new(command).render(&mut page);
    String::from_utf8_lossy(&page).into_owned()
}

/// Prints the error of clap: help and version on standard output with exit code 0, a mistake on standard error.
#[must_use]
pub fn refuse(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

/// Prints every mistake of a configuration.
#[must_use]
pub fn refuse_settings(mistakes: &Mistakes) -> ExitCode {
    let _ = write!(io::stderr(), "{mistakes}");
    ExitCode::from(EXIT_USAGE)
}

/// Prints the effective settings and the principals on standard output, and the warnings on standard error.
#[must_use]
pub fn show_settings(config: &Config, given: &Given) -> ExitCode {
    for warning in &config.warnings {
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let principals = config.principals.as_ref();
    let principals = principals.map(|file| principals::blocks(&file.principals, SystemTime::now()));
    let principals = principals.filter(|blocks| !blocks.is_empty());
    let settings = given.effective(config);
    print(&[settings].into_iter().chain(principals).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests;
