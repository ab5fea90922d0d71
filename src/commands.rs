//! Runs the commands that need the settings: each ends with the exit code of the process.

use std::net::SocketAddr;
use std::process::ExitCode;

use rabbitmq_gateway::cli::{self, Command, Invocation};
use rabbitmq_gateway::config::Config;
use rabbitmq_gateway::{app, signals, telemetry};
use tokio::runtime::Builder;

/// Reads the settings and runs the command.
pub fn run(invocation: &Invocation) -> ExitCode {
    if let Command::Healthcheck { ready } = invocation.command {
        return match invocation.health_address() {
            Ok(address) => block_on(1, healthcheck(address, ready)),
            Err(mistakes) => cli::refuse_settings(&mistakes),
        };
    }
    let (config, given) = match invocation.settings() {
        Ok(settings) => settings,
        Err(mistakes) => return cli::refuse_settings(&mistakes),
    };
    match &invocation.command {
        Command::CheckConfig { connect } => {
            let shown = cli::show_settings(&config, &given);
            if *connect { block_on(1, check_broker(config)) } else { shown }
        }
        Command::Can(question) => cli::can(question, config.principals.as_ref()),
        _ => block_on(config.worker_threads, serve(config)),
    }
}

fn block_on(worker_threads: usize, command: impl Future<Output = ExitCode>) -> ExitCode {
    match Builder::new_multi_thread().worker_threads(worker_threads).enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => cli::fail(&format!("cannot start {worker_threads} threads: {error}")),
    }
}

async fn check_broker(config: Config) -> ExitCode {
    match app::check::broker(&config).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => cli::fail(&format!("{error:#}")),
    }
}

async fn healthcheck(address: SocketAddr, ready: bool) -> ExitCode {
    match cli::healthcheck(address, ready).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => cli::fail(&why),
    }
}

async fn serve(config: Config) -> ExitCode {
    let log = telemetry::init(&config.telemetry);
    let result = match signals::first() {
        Ok(end) => app::run(config, log.dropped_lines(), end).await,
        Err(error) => Err(anyhow::Error::from(error)),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    tracing::error!(error = format!("{error:#}"), "the gateway cannot run");
    ExitCode::FAILURE
}
