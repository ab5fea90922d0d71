//! Every operation of the contract, with no credentials, wrong ones, those of a principal with all rights to other names, and those of one
//! with all rights.

use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Shops, by, with};
use crate::support::contract::{Answer, DOCUMENT};

/// The operations of the contract that need no permission.
const OPEN: [&str; 2] = ["/health/live", "/health/ready"];

/// All rights, but to names that no request has.
const FOREIGN: &str =
    "configure = ['foreign*']\nwrite = ['foreign*']\nread = ['foreign*']\ncall = ['foreign*']";

/// The operations, each with whether its contract says that it needs a key.
fn operations() -> Vec<(Method, String, bool)> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("operations").iter();
        let of_method = |(method, operation): (&String, &Value)| {
            let method = method.to_uppercase().parse().expect("a method");
            (method, path.clone(), operation["security"].is_array())
        };
        methods.map(of_method).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn every_operation_but_the_probes_is_closed_to_callers_without_a_key_or_without_rights() {
    let shops = Shops::set("access_walk", FOREIGN).await;
    let (gateway, unknown) = (shops.gateway(), ApiKey::generate());
    let operations = operations();
    assert!(operations.len() > 25, "{operations:?}");
    for (method, path, needs_key) in operations {
        let is_open = OPEN.contains(&path.as_str());
        assert_eq!(needs_key, !is_open, "{method} {path}");
        let path = path.replace("{lease_id}", "x.1.0000000000000000");
        let path = ["{name}", "{queue}", "{exchange}", "{source}"]
            .iter()
            .fold(path, |it, name| it.replace(name, "n"));
        let path = match path.as_str() {
            "/rpc/n" => "/rpc/n?timeout=100ms".to_owned(),
            "/queues/n/messages/next" => "/queues/n/messages/next?wait=1ms".to_owned(),
            _ => path,
        };
        let ask = async |key: Option<&ApiKey>| {
            let request = match key {
                Some(key) => by(gateway, key, method.clone(), &path),
                None => gateway.client().request(method.clone(), gateway.url(&path)),
            };
            let document = match path.as_str() {
                "/queues/n/messages/pull" => json!({"wait": "1ms"}),
                "/topology" => json!({"queues": [{"name": "n"}]}),
                _ => return Answer::to(request).await,
            };
            Answer::to(with(request, &document)).await
        };
        let told = |answer: &Answer| format!("{method} {path}: {answer:?}");
        if is_open {
            let answer = ask(Some(&unknown)).await;
            assert_eq!(answer.status, 200, "{}", told(&answer));
            continue;
        }
        for key in [None, Some(&unknown)] {
            let answer = ask(key).await;
            assert_eq!(answer.verdict(), (401, "unauthorized".to_owned()), "{}", told(&answer));
        }
        // Each caller with a key may ask for its own name.
        let expected = if path == "/whoami" { 200 } else { 403 };
        let answer = ask(Some(&shops.shop)).await;
        assert_eq!(answer.status, expected, "{}", told(&answer));
        let answer = ask(Some(&shops.root)).await;
        assert!(answer.status != 401 && answer.status != 403, "{}", told(&answer));
    }
}
