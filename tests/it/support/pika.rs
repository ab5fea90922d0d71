//! Python snippets that use pika: what other people's programs see of the gateway's messages.
//!
//! The interpreter is named by `GATEWAY_TEST_PYTHON`, else `python3`; without pika the test fails and says so.

use std::env;

use tokio::process::Command;

use super::program::{Ended, run as run_program};

/// Runs `code` with the broker's URL in `AMQP_URL`; what it printed. Panics when it fails or takes over a minute.
pub async fn run(url: &str, code: &str) -> String {
    let Ended { is_success, errors, .. } = python(url, "import pika").await;
    assert!(is_success, "pika is not installed for {} (set GATEWAY_TEST_PYTHON): {errors}", interpreter());
    let Ended { is_success, output, errors } = python(url, code).await;
    assert!(is_success, "python failed: {output}{errors}");
    output
}

async fn python(url: &str, code: &str) -> Ended {
    run_program(Command::new(interpreter()).args(["-c", code]).env("AMQP_URL", url)).await
}

/// The Python that has what the tests need.
pub fn interpreter() -> String {
    env::var("GATEWAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}
