//! `Answer`: a response of the gateway, compared with the published contract before a test reads it.
//!
//! The test fails when the contract does not name the status, the problem or the media type for the operation, or when the body
//! does not fit the documented schema.

use std::{sync::LazyLock, time::Duration};

use rabbitmq_gateway::{domain::outcome::Outcome, http::openapi};
use reqwest::{Method, Request, RequestBuilder, header::HeaderMap};
use serde::Deserialize;
use serde_json::Value;

use super::{poll::within, schema::mistakes};

const DEADLINE: Duration = Duration::from_secs(30);
const OUTCOMES: [Outcome; 4] = [Outcome::Unroutable, Outcome::NotSent, Outcome::Rejected, Outcome::Unknown];

/// The document that the code generates.
pub static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&openapi::document()).expect("the document is JSON"));

/// A whole response that fits the contract.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends the request and checks the response.
    pub async fn to(request: RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.expect("the client can send it");
        let (method, path) = target(&request);
        let response = within(DEADLINE, "an answer", client.execute(request)).await;
        let response = response.expect("the gateway answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("a whole body").to_vec();
        let answer = Self { status, headers, body };
        answer.check(&method, &path);
        answer
    }

    /// A header as text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().expect("an ASCII value")).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON body, or each line of it where each line is a document.
    fn documents(&self, media_type: &str) -> Vec<Value> {
        if media_type != "application/x-ndjson" {
            return vec![self.json()];
        }
        let lines = self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("each line is JSON")).collect()
    }

    /// A member of the JSON body as text; empty when it is absent or no text.
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_default().to_owned()
    }

    /// Status and name of a problem; of another answer the status and an empty name.
    pub fn verdict(&self) -> (u16, String) {
        let name =
            if self.is_problem() { self.text("type").replace("/problems/", "") } else { String::new() };
        (self.status, name)
    }

    fn is_problem(&self) -> bool {
        self.header("content-type") == "application/problem+json"
    }

    fn check(&self, method: &Method, path: &str) {
        self.check_documented(method, path);
        assert!(!self.header("x-request-id").is_empty(), "{self:?}");
        if self.status == 503 && self.is_problem() {
            let seconds: u64 = self.header("retry-after").parse().expect("whole seconds");
            assert!(seconds > 0, "{self:?}");
        }
        if self.status >= 400 && !path.starts_with("/health/") {
            assert!(self.is_problem(), "{self:?}");
        }
        if self.is_problem() {
            self.check_problem(path);
        }
    }

    fn check_documented(&self, method: &Method, path: &str) {
        let operation = operation(method, path);
        let operation = operation.unwrap_or_else(|| panic!("{method} {path} is documented"));
        let documented = response(operation, self.status);
        let documented =
            documented.unwrap_or_else(|| panic!("{method} {path} is documented to answer {self:?}"));
        if self.is_problem() {
            let named = documented["description"].as_str().is_some_and(|said| said.contains(&self.kind()));
            assert!(named, "{method} {path} is documented to answer {self:?}");
        }
        let media_type = self.header("content-type");
        let essence = media_type.split(';').next().unwrap_or_default();
        match documented["content"].as_object() {
            None => assert!(media_type.is_empty(), "{method} {path} is documented to have a body: {self:?}"),
            Some(content) => {
                let known = content.get(essence).or_else(|| content.get("*/*"));
                let known =
                    known.unwrap_or_else(|| panic!("{method} {path} is documented to answer {self:?}"));
                if essence.ends_with("json") && content.contains_key(essence) {
                    for document in self.documents(essence) {
                        let wrong = mistakes(&document, &known["schema"], "body");
                        assert!(wrong.is_empty(), "{method} {path} {}: {wrong:?}", self.status);
                    }
                }
            }
        }
    }

    /// The name of a problem as the descriptions write it.
    fn kind(&self) -> String {
        format!("`{}`", self.verdict().1)
    }

    fn check_problem(&self, path: &str) {
        let body = self.json();
        assert!(self.text("type").starts_with("/problems/"), "{body}");
        assert_eq!(body["status"], self.status, "{body}");
        assert!(!self.text("title").is_empty() && !self.text("detail").is_empty(), "{body}");
        assert_eq!(body["instance"], format!("urn:request:{}", self.header("x-request-id")));
        if path.starts_with("/publish/") {
            let outcome = Outcome::deserialize(&body["outcome"]);
            assert!(outcome.is_ok_and(|outcome| OUTCOMES.contains(&outcome)), "{body}");
            assert!(body["retryable"].is_boolean(), "{body}");
        }
    }
}

fn target(request: &Request) -> (Method, String) {
    (request.method().clone(), request.url().path().to_owned())
}

/// The documented operation for this path.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let (_, item) = paths.iter().find(|(template, _)| matches(template, path))?;
    item.get(method.as_str().to_lowercase())
}

/// The documented response with this status, which may be written in full or as a range such as `4XX`.
pub fn response(operation: &Value, status: u16) -> Option<&Value> {
    let responses = &operation["responses"];
    responses.get(status.to_string()).or_else(|| responses.get(format!("{}XX", status / 100)))
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(wanted, given)| wanted.starts_with('{') || *wanted == given)
}
