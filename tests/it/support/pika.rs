//! Python snippets that use pika: what other people's programs see of the gateway's messages.
//!
//! The interpreter is named by `GATEWAY_TEST_PYTHON`, else `python3`; without pika the test fails and says so.

use std::{env, process::Stdio, time::Duration};

use tokio::process::Command;

use super::poll::within;

/// Runs `code` with the broker's URL in `AMQP_URL`; what it printed. Panics when it fails or takes over a minute.
pub async fn run(url: &str, code: &str) -> String {
    let (found, _, errors) = python("import pika", url).await;
    assert!(found, "pika is not installed for {} (set GATEWAY_TEST_PYTHON): {errors}", interpreter());
    let (good, output, errors) = python(code, url).await;
    assert!(good, "python failed: {output}{errors}");
    output
}

async fn python(code: &str, url: &str) -> (bool, String, String) {
    let mut command = Command::new(interpreter());
    command.args(["-c", code]).env("AMQP_URL", url).stdin(Stdio::null()).kill_on_drop(true);
    let output = within(Duration::from_mins(1), "python ends", command.output()).await;
    let output = output.unwrap_or_else(|error| panic!("{} does not run: {error}", interpreter()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn interpreter() -> String {
    env::var("GATEWAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}
