//! The pages for people: Swagger UI at `/docs`, and a page for each problem at `/problems`. They need no RabbitMQ.

use std::collections::BTreeSet;

use rabbitmq_gateway::http::problem::ProblemType;
use reqwest::{Response, StatusCode, Url, header::HeaderMap};
use serde_json::Value;

use super::support::{contract::DOCUMENT, gateway::TestGateway, schema::mistakes};

/// No program answers AMQP at this address.
const NO_BROKER: [(&str, &str); 1] = [("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/")];

async fn gateway() -> TestGateway {
    TestGateway::start_unready(&NO_BROKER).await
}

async fn get(gateway: &TestGateway, path: &str) -> Response {
    gateway.get(path).send().await.expect("the gateway answers")
}

/// Asks as a browser does.
async fn get_html(gateway: &TestGateway, path: &str) -> Response {
    let request = gateway.get(path).header("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
    request.send().await.expect("the gateway answers")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().expect("an ASCII value")).unwrap_or_default()
}

/// The addresses in this attribute of the page at `path`, as paths.
fn links(html: &str, attribute: &str, path: &str) -> Vec<String> {
    let begin = format!("{attribute}=\"");
    let page = Url::parse("http://gateway").and_then(|root| root.join(path)).expect("a path");
    let values = html.split(&begin).skip(1).filter_map(|piece| piece.split('"').next());
    values.map(|link| page.join(link).expect("a link").path().to_owned()).collect()
}

/// Whether the text has no address with a scheme or a host, also not in comments.
fn names_no_other_host(text: &str) -> bool {
    !text.contains("://") && !text.contains("\"//") && !text.contains("url(//")
}

#[tokio::test]
async fn the_root_redirects_to_swagger_ui() {
    let gateway = gateway().await;
    for path in ["/", "/docs"] {
        let page = get(&gateway, path).await;
        assert_eq!((page.status(), page.url().path()), (StatusCode::OK, "/docs/"), "{path}");
        let html = page.text().await.expect("a page");
        assert!(
            html.contains("id=\"swagger-ui\"") && html.contains("<title>RabbitMQ gateway</title>"),
            "{html}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_page_and_its_files_come_from_the_gateway() {
    let gateway = gateway().await;
    let page = get(&gateway, "/docs/").await;
    let policy = text(page.headers(), "content-security-policy").to_owned();
    for rule in [
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    let html = page.text().await.expect("a page");
    assert!(names_no_other_host(&html), "{html}");
    let files = [links(&html, "src", "/docs/"), links(&html, "href", "/docs/")].concat();
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        let file = get(&gateway, &path).await;
        assert_eq!(file.status(), StatusCode::OK, "{path}");
        assert_eq!(text(file.headers(), "content-security-policy"), policy, "{path}");
        assert_eq!(text(file.headers(), "x-content-type-options"), "nosniff", "{path}");
        assert!(!file.bytes().await.expect("a file").is_empty(), "{path}");
    }
    assert_eq!(get(&gateway, "/docs/no-such-file").await.status(), StatusCode::NOT_FOUND);
    gateway.stop().await;
}

#[tokio::test]
async fn the_page_shows_the_document_of_this_gateway() {
    let gateway = gateway().await;
    let config = get(&gateway, "/docs/swagger-initializer.js").await.text().await.expect("a script");
    assert!(names_no_other_host(&config), "{config}");
    for setting in [
        "\"url\": \"../openapi.json\"",
        "\"deepLinking\": true",
        "\"tryItOutEnabled\": true",
        "\"displayRequestDuration\": true",
        "\"validatorUrl\": \"none\"",
    ] {
        assert!(config.contains(setting), "{config}");
    }
    let document: serde_json::Value = get(&gateway, "/openapi.json").await.json().await.expect("JSON");
    assert_eq!(document, *DOCUMENT);
    gateway.stop().await;
}

#[tokio::test]
async fn a_file_is_compressed_for_clients_that_accept_it() {
    let gateway = gateway().await;
    let plain = get(&gateway, "/docs/swagger-ui.css").await;
    assert_eq!(text(plain.headers(), "content-encoding"), "");
    let plain = plain.text().await.expect("a style sheet");
    assert!(plain.contains(".swagger-ui"));
    let packed = gateway.get("/docs/swagger-ui.css").header("accept-encoding", "br, gzip").send().await;
    let packed = packed.expect("the gateway answers");
    assert_eq!(text(packed.headers(), "content-encoding"), "gzip");
    assert_eq!(text(packed.headers(), "vary"), "accept-encoding");
    assert!(packed.bytes().await.expect("a file").len() < plain.len() / 2);
    gateway.stop().await;
}

#[tokio::test]
async fn the_page_may_call_its_own_gateway_and_a_page_of_another_origin_may_not() {
    let gateway = gateway().await;
    for (origin, status) in [(gateway.url(""), 200), ("http://elsewhere.example".to_owned(), 403)] {
        let answer = gateway.get("/health/live").header("origin", &origin).send().await;
        assert_eq!(answer.expect("the gateway answers").status(), status, "{origin}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn every_problem_has_a_page_and_a_text() {
    let gateway = gateway().await;
    for kind in ProblemType::ALL {
        let path = format!("/problems/{}", kind.name());
        let page = get_html(&gateway, &path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert!(text(page.headers(), "content-type").starts_with("text/html"), "{path}");
        assert!(text(page.headers(), "content-security-policy").starts_with("default-src 'none'"), "{path}");
        let html = page.text().await.expect("a page");
        assert!(names_no_other_host(&html) && !html.contains("<script"), "{html}");
        assert_eq!(links(&html, "href", &path), ["/problems"], "{html}");
        let plain = get(&gateway, &path).await;
        assert!(text(plain.headers(), "content-type").starts_with("text/plain"), "{path}");
        let plain = plain.text().await.expect("a text");
        assert!(plain.contains(kind.name()) && plain.contains(kind.title()), "{plain}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_list_of_problems_links_to_every_problem() {
    let gateway = gateway().await;
    let html = get_html(&gateway, "/problems").await.text().await.expect("a page");
    let links = links(&html, "href", "/problems");
    for kind in ProblemType::ALL {
        assert!(links.contains(&format!("/problems/{}", kind.name())), "{links:?}");
    }
    for path in links {
        assert_eq!(get(&gateway, &path).await.status(), StatusCode::OK, "{path}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_type_of_a_problem_is_the_address_of_its_page() {
    let gateway = gateway().await;
    for path in ["/nowhere", "/problems/no-such-problem", "/queues/q?timeout=0"] {
        let problem: serde_json::Value = get(&gateway, path).await.json().await.expect("a problem");
        let page = get(&gateway, problem["type"].as_str().expect("a type")).await;
        assert_eq!(page.status(), StatusCode::OK, "{problem}");
    }
    gateway.stop().await;
}

/// The addresses of the links in all descriptions of the document.
fn described_links(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let said = members.get("description").and_then(Value::as_str).unwrap_or_default();
            let links = said.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            found.extend(links.map(str::to_owned));
            members.values().for_each(|member| described_links(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| described_links(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_link_in_a_description_leads_to_a_page() {
    let gateway = gateway().await;
    let mut links = BTreeSet::new();
    described_links(&DOCUMENT, &mut links);
    assert!(links.contains("/problems") && links.contains("/problems/unroutable"), "{links:?}");
    for link in links {
        assert_eq!(get(&gateway, &link).await.status(), StatusCode::OK, "{link}");
    }
    gateway.stop().await;
}

/// Every documented response that is a problem shows an example with its own status.
#[test]
fn documented_problems_are_in_the_list_of_problems() {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let operations = paths.values().flat_map(|item| item.as_object().expect("a path").values());
    for operation in operations {
        for (status, response) in operation["responses"].as_object().expect("responses") {
            let content = &response["content"]["application/problem+json"];
            if content.is_object() {
                let example = &content["example"];
                let shown = example["status"].to_string();
                assert!(*status == shown || *status == format!("{}XX", &shown[..1]), "{response}");
                let wrong = mistakes(example, &content["schema"], "example");
                assert!(wrong.is_empty(), "{wrong:?}: {response}");
            }
        }
    }
}
