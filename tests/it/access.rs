//! API keys and permissions: who gets an answer and who a 401 or a 403, and that a refused request changes nothing.

mod admin;
mod audit;
mod fair_share;
mod leases;
mod oauth;
mod publishing;
mod reload;
mod topology;
mod walk;

use std::{fs, path::Path, time::Duration};

use rabbitmq_gateway::domain::access::ApiKey;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::{contract::Answer, gateway::TestGateway, poll::eventually, raw::Raw, stage::Stage};

/// Deadline of waits that test no time limit of the gateway.
const SOON: Duration = Duration::from_secs(30);

/// The rights to everything but RabbitMQ's own names.
const ALL: &str = "configure = ['*']\nwrite = ['*']\nread = ['*']\ncall = ['*']\ntags = ['monitoring']";

/// How callers authenticate, for a request without a token and for one with a token that is not accepted (RFC 6750, 3.1).
const CHALLENGE: &str = "Bearer realm=\"rabbitmq-gateway\"";
const INVALID_TOKEN: &str = "Bearer realm=\"rabbitmq-gateway\", error=\"invalid_token\"";

/// A part of the file of principals.
fn part(name: &str, key: &ApiKey, rights: &str) -> String {
    format!("[principals.{name}]\nkeys = ['{}']\n{rights}\n", key.digest())
}

/// Replaces the file of principals as editors and Kubernetes do it: the file is never half written.
fn replace_file(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).expect("the file is written");
    fs::rename(&new, path).expect("the file is replaced");
}

/// A stage whose gateway knows `shop` with these rights and `root` with all.
struct Shops {
    stage: Stage,
    shop: ApiKey,
    root: ApiKey,
}

impl Shops {
    async fn set(name: &str, rights: &str) -> Self {
        Self::set_with(name, rights, "").await
    }

    /// The same with more parts of the file.
    async fn set_with(name: &str, rights: &str, more: &str) -> Self {
        let (shop, root) = (ApiKey::generate(), ApiKey::generate());
        let file = part("shop", &shop, rights) + &part("root", &root, ALL) + more;
        let stage = Stage::set_with(name, &[("GATEWAY_PRINCIPALS", &file)]).await;
        Self { stage, shop, root }
    }

    fn gateway(&self) -> &TestGateway {
        &self.stage.gateway
    }

    /// A request of `shop`.
    fn by_shop(&self, method: Method, path: &str) -> RequestBuilder {
        by(self.gateway(), &self.shop, method, path)
    }

    fn by_root(&self, method: Method, path: &str) -> RequestBuilder {
        by(self.gateway(), &self.root, method, path)
    }
}

fn by(gateway: &TestGateway, key: &ApiKey, method: Method, path: &str) -> RequestBuilder {
    gateway.client().request(method, gateway.url(path)).bearer_auth(key.reveal())
}

/// A request with a document.
fn with(request: RequestBuilder, document: &Value) -> RequestBuilder {
    request.header("content-type", "application/json").body(document.to_string())
}

/// The permissions that a 403 of the gateway names; fails for another answer.
fn missing(answer: &Answer) -> Vec<String> {
    let body = answer.json();
    assert_eq!((answer.status, &body["by"]), (403, &"gateway".into()), "{body}");
    serde_json::from_value(body["missing"].clone()).expect("a list of texts")
}

/// The scope for a name in the virtual host of a stage.
fn scope(stage: &Stage, verb: &str, rest: &str) -> String {
    format!("{verb}:{}/{rest}", stage.vhost.name)
}

#[tokio::test]
async fn a_caller_sees_who_it_is_and_what_it_may_do() {
    let shops = Shops::set("access_whoami", "write = ['orders/eu.*', '{principal}.out']\nread = ['q']").await;
    let seen = Answer::to(shops.by_shop(Method::GET, "/whoami")).await.json();
    let permissions =
        json!({"configure": [], "write": ["orders/eu.*", "shop.out"], "read": ["q"], "call": [], "tags": []});
    assert_eq!(seen, json!({"name": "shop", "authentication": "key", "permissions": permissions}));
    let none = Answer::to(shops.gateway().get("/whoami")).await;
    assert_eq!(none.verdict(), (401, "unauthorized".to_owned()));
    assert_eq!(none.header("www-authenticate"), CHALLENGE);
    let open = Stage::set("access_whoami_open").await;
    let seen = Answer::to(open.gateway.get("/whoami")).await.json();
    assert_eq!((&seen["authentication"], &seen["name"]), (&"none".into(), &Value::Null));
    assert_eq!(seen["permissions"]["tags"], json!(["monitoring"]));
}

#[tokio::test]
async fn credentials_that_are_wrong_are_401_also_where_anonymous_callers_are_welcome() {
    let anonymous = "[principals.anonymous]\nread = ['public']";
    let shops = Shops::set_with("access_wrong", "", anonymous).await;
    let address = shops.gateway().address();
    let key = shops.shop.reveal();
    let mistyped = format!("{}{}", &key[..52], if key.ends_with('0') { '1' } else { '0' });
    let ask = async |header: &str| {
        let request = format!("GET /whoami HTTP/1.1\r\nhost: {address}\r\n{header}connection: close\r\n\r\n");
        Raw::ask(address, request).await
    };
    assert_eq!(ask("").await.status, 200);
    assert_eq!(ask(&format!("authorization: bearer {key}\r\n")).await.status, 200);
    let unknown = ApiKey::generate();
    for (wrong, is_token) in [
        (format!("authorization: Bearer {mistyped}\r\n"), true),
        (format!("authorization: Bearer {}\r\n", unknown.reveal()), true),
        (format!("authorization: Bearer {}\r\n", "x".repeat(9 << 10)), true),
        (format!("authorization: Basic {key}\r\n"), false),
        ("authorization: Bearer\r\n".to_owned(), true),
    ] {
        let answer = ask(&wrong).await;
        assert_eq!(answer.status, 401, "{wrong}: {}", answer.text());
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some(if is_token { INVALID_TOKEN } else { CHALLENGE }), "{wrong}");
        assert!(!answer.text().contains(key) && !answer.text().contains(&mistyped), "{}", answer.text());
    }
    let twice = ask(&format!("authorization: Bearer {key}\r\nauthorization: Bearer {key}\r\n")).await;
    assert_eq!((twice.status, twice.text().contains("\"field\":\"Authorization\"")), (400, true));
    let in_query = Answer::to(shops.gateway().get(&format!("/queues/q?access_token={key}"))).await;
    assert_eq!(missing(&in_query), [scope(&shops.stage, "read", "q")]);
}

#[tokio::test]
async fn a_client_without_a_key_is_refused_before_it_has_sent_its_body() {
    let shops = Shops::set("access_early", "").await;
    let address = shops.gateway().address();
    let head = "POST /publish/amq.default?routing_key=q HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-length: 4000000\r\n";
    let answer = Raw::ask(address, format!("{head}\r\n")).await;
    assert_eq!(answer.status, 401);
    // More than any body may have needs no credentials to be refused.
    let huge = head.replace("4000000", "1000000000");
    assert_eq!(Raw::ask(address, format!("{huge}\r\n")).await.status, 413);
    let answer =
        Raw::ask(address, format!("{head}authorization: Bearer {}\r\n\r\n", shops.shop.reveal())).await;
    assert_eq!((answer.status, answer.text().contains("write:")), (403, true), "{}", answer.text());
}

#[tokio::test]
async fn a_refusal_tells_nothing_about_what_exists() {
    let shops = Shops::set("access_alike", "write = ['orders']").await;
    shops.stage.observer.declare_queue("there").await;
    for (method, path) in [
        (Method::GET, "/queues/NAME"),
        (Method::DELETE, "/queues/NAME"),
        (Method::DELETE, "/queues/NAME/messages"),
        (Method::POST, "/rpc/NAME?require_consumers=true"),
        (Method::POST, "/queues/NAME/messages/pull"),
    ] {
        let mut answers = Vec::new();
        for name in ["there", "never"] {
            let answer = Answer::to(shops.by_shop(method.clone(), &path.replace("NAME", name))).await;
            let mut body = answer.json();
            body["instance"] = Value::Null;
            // Each answer has its own id and time.
            let mut headers = answer.headers.clone();
            for of_each in ["x-request-id", "date"] {
                headers.remove(of_each);
            }
            answers.push((answer.status, body.to_string().replace(name, "NAME"), headers));
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
        assert_eq!(answers[0].0, 403, "{method} {path}: {}", answers[0].1);
    }
    assert_eq!(shops.stage.observer.count("there").await, Some(0));
}

#[tokio::test]
async fn probes_need_no_key_and_the_state_of_the_gateway_needs_the_tag_monitoring() {
    let shops = Shops::set("access_probes", ALL.trim_end_matches("\ntags = ['monitoring']")).await;
    for path in ["/health/live", "/health/ready", "/docs/", "/openapi.json", "/problems"] {
        let answer = shops.gateway().get(path).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    for path in ["/metrics", "/health/rabbitmq"] {
        let status =
            async |request: RequestBuilder| request.send().await.expect("an answer").status().as_u16();
        assert_eq!(status(shops.gateway().get(path)).await, 401, "{path}");
        assert_eq!(status(shops.by_shop(Method::GET, path)).await, 403, "{path}");
        // The health check fails until the gateway has its reply queue.
        let is_shown = async || status(shops.by_root(Method::GET, path)).await == 200;
        eventually(SOON, path, is_shown).await;
    }
}
