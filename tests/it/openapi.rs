//! The published contract: it agrees with the code, it is OpenAPI 3.1, and its examples work.
//!
//! `support/contract.rs` checks that the contract documents every status that a test meets.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rabbitmq_gateway::http::problem::ProblemType;
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};

use crate::support::{
    contract::{Answer, DOCUMENT, response},
    stage::Stage,
};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// Every operation with its path and method.
fn operations() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = object(&DOCUMENT["paths"]);
    let methods = |path: &'static str, item: &'static Value| {
        object(item).iter().map(move |(method, operation)| (path, method.as_str(), operation))
    };
    paths.iter().flat_map(|(path, item)| methods(path, item)).collect()
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("an object, not {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn has_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty())
}

/// Calls `look` with every object in `value` and its place.
fn walk(value: &Value, at: &str, look: &mut impl FnMut(&Map<String, Value>, &str)) {
    match value {
        Value::Object(members) => {
            look(members, at);
            members.iter().for_each(|(name, member)| walk(member, &format!("{at}/{name}"), look));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| walk(item, &format!("{at}/{n}"), look));
        }
        _ => {}
    }
}

#[test]
fn the_published_document_agrees_with_the_code() {
    let published = include_str!("../../openapi/openapi.json");
    assert!(
        published == rabbitmq_gateway::http::openapi::document(),
        "openapi/openapi.json differs from the code: cargo run -q -- openapi > openapi/openapi.json"
    );
}

#[tokio::test]
async fn gateway_serves_the_document() {
    let stage = Stage::set("document").await;
    let response = stage.gateway.get("/openapi.json").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), rabbitmq_gateway::http::openapi::document());
}

#[test]
fn the_document_has_the_main_members_of_openapi_3_1() {
    assert!(DOCUMENT["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    assert!(has_text(&DOCUMENT["info"]["title"]) && has_text(&DOCUMENT["info"]["version"]));
    let license = object(&DOCUMENT["info"]["license"]);
    assert!(
        has_text(&license["name"]) && !(license.contains_key("url") && license.contains_key("identifier"))
    );
    for (path, method, _) in operations() {
        assert!(path.starts_with('/') && METHODS.contains(&method), "{method} {path}");
    }
    for tag in list(&DOCUMENT["tags"]) {
        assert!(has_text(&tag["name"]) && has_text(&tag["description"]), "{tag}");
    }
}

#[test]
fn every_reference_leads_to_a_schema() {
    walk(&DOCUMENT, "#", &mut |members, at| {
        if let Some(Value::String(reference)) = members.get("$ref") {
            let pointer =
                reference.strip_prefix('#').unwrap_or_else(|| panic!("{at}: {reference} is elsewhere"));
            assert!(DOCUMENT.pointer(pointer).is_some(), "{at}: nothing at {reference}");
        }
    });
}

#[test]
fn schemas_use_the_keywords_of_openapi_3_1() {
    const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];
    walk(&DOCUMENT["components"]["schemas"], "schemas", &mut |members, at| {
        if at.contains("/example") || at.ends_with("/properties") {
            return;
        }
        assert!(!members.contains_key("nullable"), "{at}: nullable is of 3.0");
        let types = members.get("type").map(|given| match given {
            Value::Array(types) => types.clone(),
            single => vec![single.clone()],
        });
        for given in types.iter().flatten() {
            assert!(given.as_str().is_some_and(|given| TYPES.contains(&given)), "{at}: {given}");
        }
        for required in members.get("required").map(list).unwrap_or_default() {
            let property = required.as_str().and_then(|name| members["properties"].get(name));
            assert!(property.is_some(), "{at}: {required} is required and not described");
        }
    });
}

#[test]
fn operations_have_an_id_a_known_tag_and_a_summary() {
    let tags: BTreeSet<_> = list(&DOCUMENT["tags"]).iter().map(|tag| tag["name"].to_string()).collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has an id"));
        assert!(ids.insert(id), "{id} is the id of two operations");
        assert!(has_text(&operation["summary"]) && has_text(&operation["description"]), "{id}");
        let [tag] = list(&operation["tags"]) else { panic!("{id} has one tag") };
        assert!(tags.contains(&tag.to_string()), "{id}: {tag}");
    }
}

/// A newcomer publishes first. Below that operation the declaration of the queue comes before the inspection.
#[test]
fn operations_stand_in_the_order_in_which_a_newcomer_needs_them() {
    let published = rabbitmq_gateway::http::openapi::document();
    let lines = published.lines().filter_map(|line| line.trim().strip_prefix("\"operationId\": \""));
    let ids: Vec<_> = lines.map(|line| line.trim_end_matches("\",")).collect();
    let first = [
        "publish_message",
        "publish_batch",
        "publish_stream",
        "declare_queue",
        "inspect_queue",
        "delete_queue",
        "purge_queue",
        "pull_messages",
        "take_next_message",
        "settle_messages",
        "ack_lease",
        "ack_lease_by_post",
        "release_lease",
        "reject_lease",
        "extend_lease",
        "retry_lease",
        "dead_letter_lease",
        "reply_to_lease",
        "call_queue",
    ];
    assert_eq!(ids[..first.len()], first);
    let tags: Vec<_> = list(&DOCUMENT["tags"]).iter().map(|tag| &tag["name"]).collect();
    assert_eq!(
        tags,
        ["publish", "queues", "messages", "rpc", "exchanges", "bindings", "topology", "access", "health"]
    );
}

#[test]
fn parameters_are_complete_and_all_parameters_of_the_path_are_described() {
    for (path, method, operation) in operations() {
        let mut of_path = BTreeSet::new();
        for parameter in list(&operation["parameters"]) {
            assert!(
                has_text(&parameter["name"]) && has_text(&parameter["description"]),
                "{path}: {parameter}"
            );
            assert!(parameter["schema"].is_object(), "{path}: {parameter}");
            if parameter["in"] == "path" {
                assert_eq!(parameter["required"], true, "{path}: {parameter}");
                of_path.insert(format!("{{{}}}", parameter["name"].as_str().unwrap_or_default()));
            } else {
                assert!(parameter["in"] == "query" || parameter["in"] == "header", "{path}: {parameter}");
            }
        }
        let in_template: BTreeSet<_> =
            path.split('/').filter(|segment| segment.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(of_path, in_template, "{method} {path}");
    }
}

#[test]
fn responses_are_described_and_errors_are_problems() {
    for (path, method, operation) in operations() {
        for (status, response) in object(&operation["responses"]) {
            let at = format!("{method} {path} {status}");
            assert!(has_text(&response["description"]), "{at}");
            let is_error = status.starts_with(['4', '5']);
            assert!(is_error && &status[1..] == "XX" || status.parse::<u16>().is_ok(), "{at}: a status");
            let media_types: Vec<_> = response["content"].as_object().into_iter().flatten().collect();
            assert!(media_types.iter().all(|(_, media_type)| media_type["schema"].is_object()), "{at}");
            let names: Vec<_> = media_types.iter().map(|(name, _)| name.as_str()).collect();
            let is_health = names == ["application/health+json", "application/problem+json"];
            assert!(!is_error || names == ["application/problem+json"] || is_health, "{at}: {names:?}");
        }
    }
}

/// The documented operation of this id, as a request made from its examples.
fn example(stage: &Stage, id: &str, media_type: Option<&str>) -> RequestBuilder {
    let operations = operations();
    let found = operations.iter().find(|(_, _, operation)| operation["operationId"] == id);
    let (path, method, operation) = found.unwrap_or_else(|| panic!("there is {id}"));
    let (path, query, headers) = parameters(path, operation);
    let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
    let url = stage.gateway.url(&format!("{path}?{}", query.join("&")));
    let mut request = stage.gateway.client().request(method, url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    match media_type {
        Some(media_type) => request.header("content-type", media_type).body(body(operation, media_type)),
        None => request,
    }
}

/// The path, the query and the headers of the examples.
fn parameters(path: &str, operation: &Value) -> (String, Vec<String>, Vec<(String, String)>) {
    let (mut path, mut query, mut headers) = (path.to_owned(), Vec::new(), Vec::new());
    for parameter in list(&operation["parameters"]) {
        let name = parameter["name"].as_str().unwrap_or_default();
        let value = match &parameter["example"] {
            Value::Null => {
                assert_ne!(parameter["required"], true, "{name} of {path} has an example");
                continue;
            }
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &value),
            Some("query") => query.push(format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))),
            _ => headers.push((name.to_owned(), value)),
        }
    }
    (path, query, headers)
}

/// The example of the media type, or of its schema.
fn body(operation: &Value, media_type: &str) -> String {
    let content = &operation["requestBody"]["content"][media_type];
    let schema =
        content["schema"]["$ref"].as_str().and_then(|at| DOCUMENT.pointer(at.trim_start_matches('#')));
    let example = content.get("example").or_else(|| schema?.get("example"));
    match example.unwrap_or_else(|| panic!("an example of {media_type}")) {
        Value::String(text) => text.clone(),
        json => json.to_string(),
    }
}

#[tokio::test]
async fn examples_work_in_a_fresh_vhost() {
    let stage = Stage::set("examples").await;
    let json = Some("application/json");
    let envelope = Some("application/vnd.amqp.message+json");
    let event = Some("application/cloudevents+json");
    let script = [
        ("declare_queue", json, 201),
        ("declare_queue", json, 200),
        ("publish_message", Some("text/plain"), 200),
        ("publish_message", envelope, 200),
        ("publish_message", event, 200),
        ("inspect_queue", None, 200),
        ("purge_queue", None, 200),
        ("pull_messages", json, 200),
        ("settle_messages", json, 207),
        ("take_next_message", None, 204),
        ("ack_lease", None, 410),
        ("ack_lease_by_post", None, 410),
        ("release_lease", None, 410),
        ("reject_lease", None, 410),
        ("extend_lease", None, 410),
        ("retry_lease", None, 410),
        ("dead_letter_lease", None, 410),
        ("reply_to_lease", Some("text/plain"), 410),
        ("reply_to_lease", envelope, 410),
        ("bind_queue", json, 200),
        ("declare_exchange", json, 201),
        ("inspect_exchange", None, 200),
        ("bind_exchange", json, 200),
        ("unbind_queue", None, 204),
        ("unbind_exchange", None, 204),
        ("delete_queue", None, 200),
        ("delete_exchange", None, 204),
        ("apply_topology", json, 200),
        ("apply_topology", json, 200),
        ("show_caller", None, 200),
        ("check_liveness", None, 200),
    ];
    for (id, media_type, status) in script {
        let answer = Answer::to(example(&stage, id, media_type)).await;
        assert_eq!(answer.status, status, "{id} {media_type:?}: {:?}", answer.body);
        // The messages of `amq.topic` reach the queue while the example binds it, and those of the document's exchange afterwards.
        let routed = [
            ("bind_queue", "amq.topic", 200),
            ("unbind_queue", "amq.topic", 422),
            ("apply_topology", "greetings", 200),
        ];
        for (_, exchange, status) in routed.iter().filter(|(of, ..)| *of == id) {
            let published = stage.gateway.publish(exchange, "greeting.hello", "x").await;
            assert_eq!(published.status(), *status, "{exchange} after {id}");
        }
        let counted = [("inspect_queue", "message_count"), ("purge_queue", "messages_removed")];
        if let Some((_, member)) = counted.iter().find(|(of, _)| *of == id) {
            assert_eq!(answer.json()[member], 3, "{id}");
        }
    }
}

#[test]
fn a_body_that_the_gateway_does_not_require_is_documented_as_optional() {
    let put = &DOCUMENT["paths"]["/queues/{name}"]["put"];
    assert_ne!(put["requestBody"]["required"], true);
    let declaration = &DOCUMENT["components"]["schemas"]["QueueDeclaration"];
    assert!(list(&declaration["required"]).is_empty(), "{}", declaration["required"]);
}

#[test]
fn reply_of_a_call_is_documented_as_bytes() {
    let reply = &DOCUMENT["paths"]["/rpc/{queue}"]["post"]["responses"]["200"]["content"]["*/*"]["schema"];
    let schema = reply["$ref"].as_str().map_or(reply, |at| DOCUMENT.pointer(&at[1..]).unwrap());
    assert_eq!((&schema["type"], &schema["format"]), (&json!("string"), &json!("binary")), "{reply}");
}

const REFUSALS_OF_BODIES: [ProblemType; 9] = [
    ProblemType::MalformedRequest,
    ProblemType::CrossOrigin,
    ProblemType::RequestTimeout,
    ProblemType::PayloadTooLarge,
    ProblemType::UnsupportedMediaType,
    ProblemType::ExpectationFailed,
    ProblemType::HeadersTooLarge,
    ProblemType::TransferCodingNotSupported,
    ProblemType::Overloaded,
];

#[tokio::test]
async fn the_refusals_of_bodies_are_documented_for_each_operation_with_a_body() {
    let takes_one = |operation: &Value| operation["requestBody"].is_object();
    for (path, method, operation) in operations().into_iter().filter(|(_, _, it)| takes_one(it)) {
        for kind in REFUSALS_OF_BODIES {
            let said = response(operation, kind.status().as_u16()).map(|response| &response["description"]);
            let name = format!("`{}`", kind.name());
            let is_named = said.and_then(Value::as_str).is_some_and(|said| said.contains(&name));
            assert!(is_named, "{method} {path} says nothing of {name}");
        }
    }
    let stage = Stage::with_queue("contract-expect").await;
    let answer = Answer::to(stage.publish().header("expect", "miracles").body("x")).await;
    assert_eq!(answer.verdict(), (417, "expectation-failed".to_owned()));
}

#[test]
fn body_of_an_envelope_is_documented_as_any_json() {
    let body = &DOCUMENT["components"]["schemas"]["Envelope"]["properties"]["body"];
    assert!(body.get("type").is_none(), "{body}");
}
