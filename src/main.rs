//! The process: parses the command line and runs the command. The library contains the rest.

mod commands;

use std::process::ExitCode;

use rabbitmq_gateway::cli::{self, Command};
use rabbitmq_gateway::http;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => return cli::refuse(&error),
    };
    match &invocation.command {
        Command::OpenApi => cli::print(&http::openapi::document()),
        Command::Completions(shell) => cli::print(&cli::completions(*shell)),
        Command::Manual(of) => cli::print(&cli::manual(of.as_deref())),
        Command::NewKey(asked) => cli::new_key(asked),
        Command::HashKey => cli::hash_key(),
        Command::Serve | Command::CheckConfig { .. } | Command::Healthcheck { .. } | Command::Can(_) => {
            commands::run(&invocation)
        }
    }
}
