//! The texts of refusals: they name the object, the mistake and the way to fix it, in the words of HTTP, JSON and AMQP.

use reqwest::{Method, Response};
use serde_json::Value;

use crate::support::{gateway::TestGateway, stage::Stage};

const JSON: &str = "application/json";
const EVENT: &str = "application/cloudevents+json";
const ENVELOPE: &str = "application/vnd.amqp.message+json";

/// Words of Rust and of its libraries.
const FOREIGN: [&str; 30] = [
    "struct", "enum", "variant", "map", "sequence", "seq", "tuple", "newtype", "unit", "usize", "u8", "u16",
    "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "str", "bool", "serde", "hyper", "axum", "lapin",
    "Option", "Some", "None", "EOF",
];
const FOREIGN_PHRASES: [&str; 6] =
    ["::", "expected a", "expected one", "invalid type", "invalid value", "missing field"];

const BAD_DECLARATIONS: [&str; 34] = [
    "[]",
    "[null, true]",
    "5",
    "\"x\"",
    "{",
    "{\"durable\":",
    "{} x",
    "{\"durable\":true,}",
    "{durable:true}",
    "{\"durable\":yes}",
    "{\"durable\":\"yes\"}",
    "{\"durable\":null,\"durable\":true}",
    "\u{feff}{}",
    "{\"type\":5}",
    "{\"type\":\"fifo\"}",
    "{\"type\":{\"classic\":null}}",
    "{\"overflow\":[]}",
    "{\"max_priority\":300}",
    "{\"max_priority\":-1}",
    "{\"message_ttl_ms\":1.5}",
    "{\"expires_ms\":\"1h\"}",
    "{\"delivery_limit\":1e400}",
    "{\"delivery_limit\":99999999999999999999}",
    "{\"dead_letter\":5}",
    "{\"dead_letter\":{\"exchage\":\"x\"}}",
    "{\"dead_letter\":{}}",
    "{\"arguments\":[]}",
    "{\"arguments\":{\"a\":{\"$amqp\":5}}}",
    "{\"arguments\":{\"a\":{\"$amqp\":\"int128\",\"value\":1}}}",
    "{\"arguments\":{\"a\":{\"$amqp\":\"int8\",\"value\":300}}}",
    "{\"arguments\":{\"a\":18446744073709551615}}",
    "{\"arguments\":{\"a\":18446744073709551616}}",
    "{\"arguments\":{\"a\\nb\":1}}",
    "{\"ttl\":5}",
];

const BAD_ENVELOPES: [&str; 18] = [
    "{\"properties\":[null,null,null,null,null,null,null,null,null,null,null,null,null],\"body\":1}",
    "{}",
    "{\"body\":1,\"body_text\":\"x\"}",
    "{\"routing_key\":5,\"body\":1}",
    "{\"routing_key\":\"a\\u0007\",\"body\":1}",
    "{\"mandatory\":\"no\",\"body\":1}",
    "{\"body_text\":5}",
    "{\"body_text\":\"\\ud800\"}",
    "{\"body_base64\":\"%\"}",
    "{\"body_base64\":\"AAA\"}",
    "{\"properties\":[],\"body\":1}",
    "{\"properties\":{\"tipe\":\"x\"},\"body\":1}",
    "{\"properties\":{\"content_type\":5},\"body\":1}",
    "{\"properties\":{\"priority\":true},\"body\":1}",
    "{\"properties\":{\"timestamp\":[]},\"body\":1}",
    "{\"properties\":{\"delivery_mode\":3},\"body\":1}",
    "{\"headers\":{\"a\":{\"$amqp\":\"bytes\",\"value\":\"%\"}},\"body\":1}",
    "{\"headers\":{\"a\":{\"$amqp\":\"float64\",\"value\":\"inf\"}},\"body\":1}",
];

const BAD_EVENTS: [&str; 10] = [
    "{}",
    "[]",
    "{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}",
    "{\"specversion\":1.0}",
    "{\"id\":[]}",
    "{\"id\":{}}",
    "{\"id\":1e400}",
    "{\"id\":\"\\ud800\"}",
    "{\"a\":5,\"a\":5}",
    "{\"data\":",
];

const BAD_PULLS: [&str; 10] = [
    "[]",
    "{",
    "{\"max\":0}",
    "{\"max\":1.5}",
    "{\"max\":\"x\"}",
    "{\"max\":99999999999999999999}",
    "{\"wait\":true}",
    "{\"wait\":\"61s\"}",
    "{\"lease\":{}}",
    "{\"leese\":5}",
];

const BAD_SETTLES: [&str; 10] = [
    "[]",
    "{}",
    "{\"ack\":5}",
    "{\"ack\":[5]}",
    "{\"ack\":[\"x\"]}",
    "{\"retry\":[]}",
    "{\"ack\":[],\"ack\":[]}",
    "{\"extend\":[\"x\"]}",
    "{\"extend\":[{\"lease_id\":\"1.a.1.0000000000000007\"}]}",
    "{\"extend\":[{\"lease_id\":\"1.a.1.0000000000000007\",\"lease\":[]}]}",
];

const BAD_TARGETS: [(&str, &str); 21] = [
    ("POST", "/queues/amq.gen-x/messages/pull"),
    ("POST", "/queues/q/messages/pull?max=5"),
    ("POST", "/queues/q/messages/settle?timeout=61s"),
    ("POST", "/publish/amq.default?mandatory=maybe"),
    ("POST", "/publish/amq.default?timeout=soon"),
    ("POST", "/publish/amq.default?timeout=2h"),
    ("POST", "/publish/amq.default?routing_key=%07"),
    ("POST", "/publish/amq.default?routing_key=%ff"),
    ("POST", "/publish/%07"),
    ("POST", "/rpc/q?require_consumers=1"),
    ("DELETE", "/queues/q?if_unused=2"),
    ("PUT", "/queues/amq.q"),
    ("GET", "/health/rabbitmq?queue="),
    ("GET", "/publish"),
    ("GET", "/nowhere"),
    ("GET", "/problems/nothing"),
    ("GET", "/docs/nothing.js"),
    ("PATCH", "/queues/q"),
    ("GET", "/publish/amq.default"),
    ("POST", "/publish/missing"),
    ("GET", "/queues/missing"),
];

const BAD_HEADERS: [(&str, &str); 10] = [
    ("ce-specversion", "0.3"),
    ("x-amqp-priority", "300"),
    ("x-amqp-expiration", "soon"),
    ("x-amqp-timestamp", "yesterday"),
    ("x-amqp-timestamp", "1795478400000"),
    ("x-amqp-delivery-mode", "3"),
    ("x-amqp-color", "red"),
    ("x-amqp-header-cc", "x"),
    ("expect", "miracles"),
    ("idempotency-key", "\"k"),
];

/// The problem of a refused request, after a check that it has no words of Rust or of its libraries.
async fn refused(what: &str, answer: Result<Response, reqwest::Error>) -> Value {
    let answer = answer.unwrap();
    assert!(answer.status().is_client_error(), "{what}: {}", answer.status());
    let problem: Value = answer.json().await.unwrap();
    let detail = problem["detail"].as_str().unwrap();
    let words: Vec<_> = detail.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let foreign = FOREIGN.iter().find(|word| words.contains(word));
    let phrase = FOREIGN_PHRASES.iter().find(|phrase| detail.contains(**phrase));
    assert_eq!((foreign, phrase), (None, None), "{what}: {detail}");
    problem
}

async fn detail(gateway: &TestGateway, method: Method, path: &str) -> String {
    let request = gateway.client().request(method, gateway.url(path));
    refused(path, request.send().await).await["detail"].as_str().unwrap().to_owned()
}

/// A gateway that needs no RabbitMQ for its refusals; no program listens at its address of RabbitMQ.
async fn gateway_alone(settings: &[(&str, &str)]) -> TestGateway {
    TestGateway::start_unready(&[&[("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/")], settings].concat()).await
}

#[tokio::test]
async fn a_refusal_has_no_words_of_rust() {
    let stage = Stage::with_queue("messages").await;
    let gateway = &stage.gateway;
    for body in BAD_DECLARATIONS {
        let request = gateway.put("/queues/m").header("content-type", JSON).body(body);
        refused(body, request.send().await).await;
    }
    for body in BAD_ENVELOPES {
        let request =
            stage.post("/publish/amq.default?routing_key=q").header("content-type", ENVELOPE).body(body);
        refused(body, request.send().await).await;
    }
    for body in BAD_EVENTS {
        let request = stage.post("/publish/amq.default?routing_key=q").header("content-type", EVENT);
        refused(body, request.body(body).send().await).await;
    }
    for (operation, bodies) in [("pull", BAD_PULLS), ("settle", BAD_SETTLES)] {
        for body in bodies {
            let request = stage.post(&format!("/queues/q/messages/{operation}")).header("content-type", JSON);
            refused(body, request.body(body).send().await).await;
        }
    }
    for (method, path) in BAD_TARGETS {
        detail(gateway, method.parse().unwrap(), path).await;
    }
    for (name, value) in BAD_HEADERS {
        refused(name, stage.publish().header(name, value).body("x").send().await).await;
    }
    let not_json = gateway.put("/queues/m").header("content-type", "text/html").body("{}");
    refused("text/html", not_json.send().await).await;
}

#[tokio::test]
async fn the_problem_of_an_unroutable_message_names_exchange_and_routing_key_and_says_how_to_fix_it() {
    let stage = Stage::set("messages-unroutable").await;
    for (path, told) in [
        ("/publish/amq.topic?routing_key=eu.new", ["\"amq.topic\"", "\"eu.new\"", "bind a queue"]),
        (
            "/publish/amq.default?routing_key=no%20body",
            ["\"amq.default\"", "\"no body\"", "PUT /queues/no%20body,"],
        ),
        ("/publish/amq.default", ["\"amq.default\"", "the key is empty", "give routing_key"]),
    ] {
        let problem = refused(path, stage.post(path).body("x").send().await).await;
        assert_eq!(problem["type"], "/problems/unroutable");
        let detail = problem["detail"].as_str().unwrap();
        assert!(told.iter().all(|words| detail.contains(words)), "{detail}");
    }
}

#[tokio::test]
async fn the_problem_of_an_unknown_path_names_the_nearest_path() {
    let gateway = gateway_alone(&[]).await;
    for (path, told) in [
        ("/queues/orders/", "the nearest path is /queues/orders"),
        ("/publish", "the nearest path is /publish/{exchange}"),
        ("/publsh/orders", "the nearest path is /publish/orders"),
        ("/queues/a/b", "the nearest path is /queues/a%2Fb (a slash in a name is written %2F)"),
        ("/health", "the nearest path is /health/"),
        ("/favicon.ico", "/docs lists every path"),
    ] {
        let detail = detail(&gateway, Method::GET, path).await;
        assert!(detail.contains(&format!("\"{path}\": {told}")), "{detail}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn below_a_prefix_the_problem_of_an_unknown_path_names_the_proxy_s_path() {
    let gateway = gateway_alone(&[("GATEWAY_PATH_PREFIX", "/mq")]).await;
    let misspelt = detail(&gateway, Method::GET, "/queue/orders").await;
    assert_eq!(
        misspelt,
        "the gateway has no path \"/mq/queue/orders\": the nearest path is /mq/queues/orders"
    );
    let unstripped = detail(&gateway, Method::GET, "/mq/queues/orders").await;
    assert!(unstripped.ends_with("the proxy has to remove /mq from the path"), "{unstripped}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_problem_of_a_wrong_method_names_the_methods_of_the_path() {
    let gateway = gateway_alone(&[]).await;
    for (method, path, told) in [
        ("PATCH", "/queues/q", "/queues/{name} has no method PATCH: use "),
        ("GET", "/publish/amq.default", "/publish/{exchange} has no method GET: use POST"),
        ("POST", "/health/live", "/health/live has no method POST: use GET, HEAD"),
    ] {
        let detail = detail(&gateway, method.parse().unwrap(), path).await;
        assert!(detail.starts_with(told), "{detail}");
        let is_whole = path != "/queues/q" || ["GET", "PUT", "DELETE"].iter().all(|it| detail.contains(it));
        assert!(is_whole, "{detail}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_problem_of_an_unknown_parameter_names_the_known_parameters() {
    let gateway = gateway_alone(&[]).await;
    for (method, path, known) in [
        (
            "POST",
            "/publish/amq.default",
            "timeout, retry, routing_key, mandatory, cloudevents, routing_key_from",
        ),
        ("POST", "/rpc/q", "timeout, require_consumers, reply"),
        ("GET", "/queues/q", "timeout"),
        ("PUT", "/queues/q", "timeout"),
        ("DELETE", "/queues/q", "timeout, if_unused, if_empty"),
        ("DELETE", "/queues/q/messages", "timeout"),
        ("POST", "/queues/q/messages/settle", "timeout"),
        ("GET", "/health/rabbitmq", "queue"),
    ] {
        let detail = detail(&gateway, method.parse().unwrap(), &format!("{path}?tiemout=1s")).await;
        assert!(
            detail.starts_with("tiemout ") && detail.ends_with(&format!(": {known}")),
            "{method} {path}: {detail}"
        );
    }
    gateway.stop().await;
}
