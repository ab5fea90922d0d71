//! Python snippets.
//!
//! The interpreter is named by `GATEWAY_TEST_PYTHON`, else `python3`; without the module that a snippet uses the test fails and says so.

use std::{env, process::Stdio, time::Duration};

use tokio::process::Command;

use super::poll::within;

/// Runs `code`, which uses `module`, with these arguments and `AMQP_URL`; its output. Panics when it fails or takes over a minute.
pub async fn run(module: &str, code: &str, arguments: &[&str], url: &str) -> String {
    let (found, _, errors) = python(&format!("import {module}"), &[], url).await;
    assert!(found, "{module} is not installed for {} (set GATEWAY_TEST_PYTHON): {errors}", interpreter());
    let (good, output, errors) = python(code, arguments, url).await;
    assert!(good, "python failed: {output}{errors}");
    output
}

async fn python(code: &str, arguments: &[&str], url: &str) -> (bool, String, String) {
    let mut command = Command::new(interpreter());
    command.args(["-c", code]).args(arguments).env("AMQP_URL", url).stdin(Stdio::null()).kill_on_drop(true);
    let output = within(Duration::from_mins(1), "python ends", command.output()).await;
    let output = output.unwrap_or_else(|error| panic!("{} does not run: {error}", interpreter()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn interpreter() -> String {
    env::var("GATEWAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}
