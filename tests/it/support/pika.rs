//! Python snippets that use pika: what other people's programs see of the gateway's messages.

use super::python;

/// Runs `code` with the broker's URL in `AMQP_URL`; its output.
pub async fn run(url: &str, code: &str) -> String {
    python::run("pika", code, &[], url).await
}
