//! The command line: flags come from the table of settings, sub-commands are few.
//!
//! Exit codes: 0 done, 1 failed, 64 a mistake in configuration or command line (`EX_USAGE`).

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::config::sources::{self, Given};
use crate::config::table::{SETTINGS, Setting};
use crate::config::{Config, Mistakes};

/// A mistake in configuration or command line.
pub const EXIT_USAGE: u8 = 64;

const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// What the process is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Run the gateway: no sub-command.
    Serve,
    /// Print the effective settings.
    CheckConfig,
    /// Ask the running gateway.
    Healthcheck {
        /// Whether it can work, rather than whether it lives.
        ready: bool,
    },
    /// Print the OpenAPI document.
    OpenApi,
}

/// The command line, parsed.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    flags: Vec<(&'static str, String)>,
}

impl Invocation {
    /// Reads the settings of this invocation: its flags, the environment, the file.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn settings(&self) -> Result<(Config, Given), Mistakes> {
        let flag = |name: &str| self.flags.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone());
        sources::load(flag, |name| std::env::var_os(name))
    }
}

/// Parses a command line, the program's name first; `--help` and `--version` are errors of clap's kind too.
///
/// # Errors
/// What clap says; print it with [`refuse`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let matches = clap().try_get_matches_from(arguments)?;
    let command = match matches.subcommand() {
        Some(("check-config", _)) => Command::CheckConfig,
        Some(("healthcheck", matches)) => Command::Healthcheck { ready: matches.get_flag("ready") },
        Some(("openapi", _)) => Command::OpenApi,
        _ => Command::Serve,
    };
    let matches = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    let flags = SETTINGS.iter().filter_map(|setting| flag(matches, setting)).collect();
    Ok(Invocation { command, flags })
}

/// Prints what clap says: help and version on standard output with success, else a mistake.
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

/// Prints what was asked for.
#[must_use]
pub fn print(text: &str) -> ExitCode {
    let written = io::stdout().write_all(text.as_bytes());
    written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Prints one line about what failed.
#[must_use]
pub fn fail(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "rabbitmq-gateway: {why}");
    ExitCode::FAILURE
}

fn clap() -> Clap {
    let ready = Arg::new("ready").long("ready").action(ArgAction::SetTrue).help("Whether it can publish");
    Clap::new("rabbitmq-gateway")
        .about("HTTP gateway to RabbitMQ; without a command it serves")
        .version(env!("CARGO_PKG_VERSION"))
        .after_help(
            "Every flag is an environment variable too (RABBITMQ_HOST), secrets are variables or files only.",
        )
        .args(SETTINGS.iter().filter_map(argument))
        .subcommand(Clap::new("check-config").about("Print the effective settings, secrets hidden"))
        .subcommand(Clap::new("healthcheck").about("Ask the running gateway whether it lives").arg(ready))
        .subcommand(Clap::new("openapi").about("Print the OpenAPI document"))
}

fn argument(setting: &'static Setting) -> Option<Arg> {
    let help = format!("{} [{}]", setting.help, setting.default_text());
    let argument = Arg::new(setting.name).long(setting.flag()?).value_name(setting.form).help(help);
    Some(argument.global(true))
}

fn flag(matches: &ArgMatches, setting: &'static Setting) -> Option<(&'static str, String)> {
    setting.flag()?;
    matches.get_one::<String>(setting.name).map(|value| (setting.name, value.clone()))
}

/// Asks the gateway that listens at `listen` for `/health/live` or `/health/ready`, within 3 seconds.
///
/// # Errors
/// One line that says what was asked and what came instead of 200.
pub async fn healthcheck(listen: SocketAddr, ready: bool) -> Result<(), String> {
    let address = SocketAddr::new(reachable(listen.ip()), listen.port());
    let path = if ready { "/health/ready" } else { "/health/live" };
    let failed = |why: String| format!("http://{address}{path}: {why}");
    if listen.port() == 0 {
        return Err(failed(
            "GATEWAY_LISTEN has port 0, so nobody knows where the gateway listens".to_owned(),
        ));
    }
    match tokio::time::timeout(HEALTHCHECK_TIMEOUT, status(address, path)).await {
        Ok(Ok(status)) if status == "200" => Ok(()),
        Ok(Ok(status)) => Err(failed(format!("answered {status:?}"))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("no answer in 3s".to_owned())),
    }
}

/// Loopback for a gateway that listens everywhere.
fn reachable(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}

async fn status(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).take(1_024).read_line(&mut line).await?;
    Ok(line.split(' ').nth(1).unwrap_or_default().trim_end().to_owned())
}

#[cfg(test)]
mod tests;
