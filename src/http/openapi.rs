//! Generates the contract from the route table. `openapi/openapi.json` is its published copy.

mod envelopes;
mod example;
mod finish;
mod named;
mod order;
mod parameters;
mod pulled;
pub(super) mod schemas;
mod security;
mod shared_problems;

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use self::order::Ordered;
use super::codec::{ContentMode, KeyAttribute, SpecVersion};
use super::endpoints::rpc::ReplyForm;
use super::problem::{ProblemBody, ProblemType};
use super::routes::{self, Operation, Traits};
use crate::domain::message::DeliveryMode;
use crate::domain::path_prefix::PathPrefix;
use crate::domain::permission::Permission;

/// The parts of the document that describe the gateway as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "RabbitMQ gateway",
        description = "Use RabbitMQ over HTTP. The gateway answers a publish after RabbitMQ has confirmed it. Errors are \
            `application/problem+json` (RFC 9457); an error about a message names its `outcome`. \
            [Each kind of problem](/problems) has a page that explains it. On every path the gateway refuses malformed \
            HTTP (400, 431), pages of foreign origins (403), and methods that the path does not have (405; the `Allow` \
            header lists the methods that it has).\n\n\
            To try it, run the examples without a change: declare the queue `hello`, publish to it, inspect it, pull \
            from it (and settle the messages by their `lease_id`), purge it, bind it, declare the exchange `greetings`, bind that too, call the queue `echo` (`make run` starts a \
            server for it), and look at the health. Unbind and delete last; then `PUT /topology` makes them all at once.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(ContentMode, DeliveryMode, KeyAttribute, ProblemBody, ProblemType, ReplyForm, SpecVersion)),
    servers((url = "/", description = "The gateway that serves this document")),
    tags(
        (name = "publish", description = "Publish a message to an exchange; the gateway answers after RabbitMQ has confirmed it"),
        (name = "queues", description = "Declare, inspect, delete and purge queues"),
        (name = "messages", description = "Take messages from a queue with a lease, and settle them"),
        (name = "rpc", description = "Send a request to a queue; the answer is the reply of the queue's server"),
        (name = "exchanges", description = "Declare, inspect and delete exchanges"),
        (name = "bindings", description = "Bind queues and exchanges to exchanges, and unbind them"),
        (name = "topology", description = "Apply a document of exchanges, queues and bindings"),
        (name = "access", description = "Who the caller is, and what the gateway allows them"),
        (name = "health", description = "Probes, and the state of the gateway and its connections to RabbitMQ"),
    )
)]
struct Gateway;

/// The document as JSON, with a line break at its end.
///
/// # Panics
/// Never: the document is a constant of the program, and a test prints it.
#[must_use]
pub fn document() -> String {
    let operations = routes::operations();
    let paths = |is_meant: fn(Traits) -> bool| -> Vec<_> {
        let meant = operations.iter().filter(|operation| is_meant(operation.traits()));
        meant.flat_map(Operation::requests).map(|(path, _)| path.to_owned()).collect()
    };
    let carrying = paths(|traits| traits.carries_message);
    let open = paths(|traits| traits.permission == Permission::Open);
    let router = operations.into_iter().fold(OpenApiRouter::new(), |router, it| router.routes(it.handler));
    let mut document = Gateway::openapi().merge_from(router.into_openapi());
    finish::finish(&mut document, &carrying, &open);
    let json = serde_json::to_string_pretty(&Ordered::from(&document)).unwrap_or_default();
    json + "\n"
}

/// Serves the document.
pub(super) async fn serve(prefix: PathPrefix) -> Response {
    static DOCUMENT: LazyLock<String> = LazyLock::new(document);
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    if prefix.is_none() {
        ([(CONTENT_TYPE, JSON)], DOCUMENT.as_str()).into_response()
    } else {
        ([(CONTENT_TYPE, JSON)], below(&prefix, &DOCUMENT)).into_response()
    }
}

/// The document of a gateway below this prefix. Puts the prefix in front of the server, the types of problems and the links.
fn below(prefix: &PathPrefix, document: &str) -> String {
    let prefix = prefix.as_str();
    document
        .replace("\"url\": \"/\"", &format!("\"url\": \"{prefix}\""))
        .replace("\"/problems/", &format!("\"{prefix}/problems/"))
        .replace("](/", &format!("]({prefix}/"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Finds every text in `value` that is an address of the gateway, or has a link to one.
    fn addresses(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) if text.starts_with('/') || text.contains("](/") => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| addresses(item, found)),
            Value::Object(members) => members.values().for_each(|member| addresses(member, found)),
            _ => {}
        }
    }

    #[test]
    fn every_address_in_the_document_is_below_the_prefix() {
        let prefix = PathPrefix::parse("/mq").expect("a prefix");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        addresses(&json(&document()), &mut before);
        addresses(&json(&below(&prefix, &document())), &mut after);
        assert!(before.len() > 10 && before.len() == after.len(), "{before:?}");
        for address in after {
            assert!(address.starts_with("/mq") || address.contains("](/mq/"), "{address}");
            assert_eq!(address.matches("](/").count(), address.matches("](/mq/").count(), "{address}");
        }
    }
}
