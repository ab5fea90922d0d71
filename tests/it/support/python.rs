//! Python snippets.
//!
//! The setting `GATEWAY_TEST_PYTHON` names the interpreter; the default is `python3`. The test fails with a message when the
//! interpreter does not have the module that a snippet uses.

use std::env;

use tokio::process::Command;

use super::program::{self, Ended};

/// Runs `code`, which uses `module`, with these arguments and `AMQP_URL`; gives its output. Panics when it fails or takes over a
/// minute.
pub async fn run(module: &str, code: &str, arguments: &[&str], url: &str) -> String {
    let Ended { is_success, errors, .. } = python(&format!("import {module}"), &[], url).await;
    assert!(
        is_success,
        "{module} is not installed for {} (set GATEWAY_TEST_PYTHON): {errors}",
        interpreter()
    );
    let Ended { is_success, output, errors } = python(code, arguments, url).await;
    assert!(is_success, "python failed: {output}{errors}");
    output
}

async fn python(code: &str, arguments: &[&str], url: &str) -> Ended {
    program::run(Command::new(interpreter()).args(["-c", code]).args(arguments).env("AMQP_URL", url)).await
}

/// The Python that has the modules of the tests.
pub fn interpreter() -> String {
    env::var("GATEWAY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}
