//! `check-config --connect`: logs in to RabbitMQ at every address, and prints one line for each address.
//!
//! The check succeeds if one address answers, because one is enough for the gateway too. The deadline is that of a dial.

use std::io::{self, Write};

use crate::broker::{Trial, try_all};
use crate::config::Config;

/// Exit code: RabbitMQ answers at no address (`EX_UNAVAILABLE`).
const EXIT_UNREACHABLE: u8 = 69;
/// Exit code: RabbitMQ refuses the gateway's user or virtual host (`EX_NOPERM`).
const EXIT_REFUSED: u8 = 77;

/// Prints one line for each address: to standard output if RabbitMQ accepted the login, else to standard error. Returns
/// the exit code.
///
/// # Errors
/// A setting that can never work, such as an unreadable certificate.
pub async fn broker(config: &Config) -> anyhow::Result<u8> {
    let trials = try_all(&config.broker).await?;
    for (address, result) in &trials {
        // If standard output is closed, the exit code still tells the result.
        let _ = match result {
            Ok(reached) => writeln!(io::stdout(), "connected: {reached}"),
            Err(unreached) => writeln!(io::stderr(), "cannot connect to {address}: {}", unreached.why),
        };
    }
    Ok(exit_code(&trials))
}

fn exit_code(trials: &[Trial]) -> u8 {
    let mut failures = trials.iter().filter_map(|(_, result)| result.as_ref().err());
    if failures.clone().count() < trials.len() {
        0
    } else if failures.any(|failure| failure.is_refused) {
        EXIT_REFUSED
    } else {
        EXIT_UNREACHABLE
    }
}
