//! Python snippets that use pika, to show how other clients read the gateway's messages.

use super::python;

/// Runs `code` with the URL of RabbitMQ in `AMQP_URL`; gives its output.
pub async fn run(url: &str, code: &str) -> String {
    python::run("pika", code, &[], url).await
}
