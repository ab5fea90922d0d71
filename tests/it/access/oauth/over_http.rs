//! The same operations as requests to a gateway, whose file of principals has the grants.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rabbitmq_gateway::domain::access::{ApiKey, Verb};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{
    grant::Grant,
    operation::{Binding, Operation, Publish, Target},
    places::{EXISTING_QUEUES, QUEUES},
};
use crate::{
    access::{by, part, with},
    support::{contract::Answer, gateway::TestGateway},
};

const ENVELOPE: &str = "application/vnd.amqp.message+json";

/// A part of the file: the principal with these grants.
pub fn principal(name: &str, key: &ApiKey, grants: &[Grant]) -> String {
    let lines = Verb::ALL.map(|verb| {
        let patterns: Vec<_> = grants.iter().filter(|it| it.verb == verb).map(Grant::pattern).collect();
        format!("{} = {patterns:?}", verb.word())
    });
    part(name, key, &lines.join("\n"))
}

/// The decision in the answer; `None` where the gateway refuses a reserved name before it looks at permissions, and for calls that would
/// wait for a reply.
pub async fn is_permitted(gateway: &TestGateway, key: &ApiKey, operation: &Operation) -> Option<bool> {
    if let Operation::Call { queue } = operation
        && QUEUES[..EXISTING_QUEUES].contains(queue)
    {
        return None;
    }
    let answer = Answer::to(request(gateway, key, operation)).await;
    match answer.verdict() {
        (403, problem) if problem == "reserved-name" => None,
        (403, problem) => {
            assert_eq!(
                (problem.as_str(), answer.text("by").as_str()),
                ("forbidden", "gateway"),
                "{operation:?}"
            );
            Some(false)
        }
        (status, _) => {
            assert!(matches!(status, 200..300 | 404 | 409 | 422), "{operation:?}: {answer:?}");
            Some(true)
        }
    }
}

fn request(gateway: &TestGateway, key: &ApiKey, operation: &Operation) -> RequestBuilder {
    let ask = |method, path: String| by(gateway, key, method, &path);
    let queue_path = |queue: &str| format!("/queues/{}", encoded(queue));
    let exchange_path = |exchange: &str| format!("/exchanges/{}", encoded(exchange));
    match *operation {
        Operation::Publish(publish) => {
            let request = ask(Method::POST, format!("/publish/{}", encoded(publish.exchange.name)));
            request.header("content-type", ENVELOPE).body(envelope(publish).to_string())
        }
        Operation::Call { queue } => {
            let request = ask(Method::POST, format!("/rpc/{}", encoded(queue)));
            request.header("content-type", "application/octet-stream")
        }
        Operation::Take { queue } => {
            let request = ask(Method::POST, queue_path(queue) + "/messages/pull");
            with(request, &json!({"max": 1, "wait": "0s"}))
        }
        Operation::Purge { queue } => ask(Method::DELETE, queue_path(queue) + "/messages"),
        Operation::LookAtQueue { queue } => ask(Method::GET, queue_path(queue)),
        Operation::LookAtExchange { exchange } => ask(Method::GET, exchange_path(exchange)),
        Operation::DeclareQueue { queue, dead_letters, .. } => {
            with(ask(Method::PUT, queue_path(queue)), &queue_body(dead_letters))
        }
        Operation::DeclareWithPair(pair) => {
            with(ask(Method::PUT, queue_path(pair.queue)), &json!({"dead_letter": true}))
        }
        Operation::DeclareExchange { exchange, alternate, .. } => {
            let body = json!({"type": "topic", "alternate_exchange": alternate});
            with(ask(Method::PUT, exchange_path(exchange)), &body)
        }
        Operation::DeleteQueue { queue } => ask(Method::DELETE, queue_path(queue)),
        Operation::DeleteExchange { exchange } => ask(Method::DELETE, exchange_path(exchange)),
        Operation::Bind(binding) => {
            let mut body = json!({"routing_key": binding.key});
            if binding.has_arguments {
                body["arguments"] = arguments();
            }
            with(ask(Method::PUT, binding_path(binding)), &body)
        }
        Operation::Unbind(binding) => {
            let mut path = format!("{}?routing_key={}", binding_path(binding), encoded(binding.key));
            if binding.has_arguments {
                path = format!("{path}&arguments={}", encoded(&arguments().to_string()));
            }
            ask(Method::DELETE, path)
        }
    }
}

fn envelope(Publish { key, copy, reply_to, .. }: Publish) -> Value {
    let mut envelope = json!({"routing_key": key, "body": ""});
    if let Some(queue) = reply_to {
        envelope["properties"] = json!({ "reply_to": queue });
    }
    if let Some((header, key)) = copy {
        envelope["headers"] = json!({ header: [key] });
    }
    envelope
}

fn queue_body(dead_letters: Option<(&str, Option<&str>)>) -> Value {
    let Some((exchange, key)) = dead_letters else { return json!({}) };
    let mut detail = json!({"exchange": exchange});
    if let Some(key) = key {
        detail["routing_key"] = key.into();
    }
    json!({ "dead_letter": detail })
}

fn binding_path(Binding { target, source, .. }: Binding) -> String {
    let target = match target {
        Target::Queue(name) => format!("/queues/{}", encoded(name)),
        Target::Exchange(name) => format!("/exchanges/{}", encoded(name)),
    };
    format!("{target}/bindings/{}", encoded(source.name))
}

fn arguments() -> Value {
    json!({"x-match": "any"})
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
