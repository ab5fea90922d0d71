//! Runs programs of other projects to their end.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use super::poll::within;

const DEADLINE: Duration = Duration::from_mins(1);

/// Whether a program ended with success, its standard output and its standard error.
pub struct Ended {
    pub is_success: bool,
    pub output: String,
    pub errors: String,
}

/// Runs a program to its end. Panics when it takes over a minute, or does not start.
pub async fn run(command: &mut Command) -> Ended {
    run_within(DEADLINE, command).await
}

async fn run_within(deadline: Duration, command: &mut Command) -> Ended {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = within(deadline, &format!("{command:?} ends"), command.output()).await;
    let ended = ended.unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { is_success: ended.status.success(), output: text(&ended.stdout), errors: text(&ended.stderr) }
}

/// The same for a program that must end with success.
pub async fn succeed(command: &mut Command) -> String {
    succeed_within(DEADLINE, command).await
}

/// The same with a deadline of its own.
pub async fn succeed_within(deadline: Duration, command: &mut Command) -> String {
    let Ended { is_success, output, errors } = run_within(deadline, command).await;
    assert!(is_success, "{command:?} failed: {output}{errors}");
    output
}
