//! The output of commands.

use std::io::{self, Write};
use std::process::ExitCode;

/// The exit code of a mistake in the configuration or on the command line (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// Prints the output of a command.
#[must_use]
pub fn print(text: &str) -> ExitCode {
    let written = io::stdout().write_all(text.as_bytes());
    written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// Prints one line about a failure.
#[must_use]
pub fn fail(why: &str) -> ExitCode {
    say(why);
    ExitCode::FAILURE
}

/// Prints one line about a mistake on the command line.
#[must_use]
pub(super) fn refuse_usage(why: &str) -> ExitCode {
    say(why);
    ExitCode::from(EXIT_USAGE)
}

fn say(why: &str) {
    // Without standard error the message has no place to go.
    let _ = writeln!(io::stderr(), "rabbitmq-gateway: {why}");
}
