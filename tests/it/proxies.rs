//! The gateway behind proxies: requests as browsers and proxies send them, and addresses that work below a path prefix.
//!
//! `tests/ui/proxy.test.js` tests the same in a browser, through a real TLS proxy.

use reqwest::{Client, Response, redirect::Policy};
use serde_json::Value;

use crate::support::{gateway::TestGateway, stage::Stage};

/// No program listens at this address.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://guest:guest@127.0.0.1:1/");
/// A proxy on this machine that serves the gateway below a prefix, and names the prefix in each request.
const TRUSTS_PROXY: (&str, &str) = ("GATEWAY_TRUSTED_PROXIES", "127.0.0.1");
const FORWARDED_PREFIX: (&str, &str) = ("x-forwarded-prefix", "/mq");

/// A client that follows no redirect.
async fn get(gateway: &TestGateway, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder().no_proxy().redirect(Policy::none()).build().unwrap();
    let request = client.get(gateway.url(path)).header("accept", "text/html");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

/// The address of a redirect, and the `type` of a problem.
async fn location_and_type(gateway: &TestGateway, headers: &[(&str, &str)]) -> (String, String) {
    let redirect = get(gateway, "/docs", headers).await;
    let problem: Value = get(gateway, "/nowhere", headers).await.json().await.unwrap();
    let location = redirect.headers()["location"].to_str().unwrap().to_owned();
    (location, problem["type"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn swagger_ui_behind_a_tls_proxy_may_publish() {
    let stage = Stage::with_queue("proxy-publish").await;
    let of_chromium = [("sec-fetch-site", "same-origin"), ("host", "localhost:8080")];
    let without_sec_fetch = [("host", "localhost"), ("x-forwarded-proto", "https")];
    for headers in [of_chromium, without_sec_fetch] {
        let mut request = stage.publish().header("origin", "https://localhost").body("x");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), 200, "{headers:?}");
    }
}

#[tokio::test]
async fn every_address_is_below_the_prefix_that_the_setting_or_a_trusted_proxy_names() {
    let set = TestGateway::start_unready(&[NO_BROKER, ("GATEWAY_PATH_PREFIX", "/mq/")]).await;
    let told = TestGateway::start_unready(&[NO_BROKER, TRUSTS_PROXY]).await;
    for (gateway, headers) in [(set, &[][..]), (told, &[FORWARDED_PREFIX])] {
        let found = location_and_type(&gateway, headers).await;
        assert_eq!(found, ("/mq/docs/".to_owned(), "/mq/problems/not-found".to_owned()));
        let document: Value = get(&gateway, "/openapi.json", headers).await.json().await.unwrap();
        assert_eq!(document["servers"][0]["url"], "/mq");
        assert!(document["info"]["description"].as_str().unwrap().contains("](/mq/problems)"));
        let page = get(&gateway, "/problems/unroutable", headers).await.text().await.unwrap();
        assert!(page.contains("<code>/mq/problems/unroutable</code>"), "{page}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_prefix_from_a_peer_that_is_not_a_trusted_proxy_is_ignored() {
    for trusted in [&[][..], &[("GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8")]] {
        let gateway = TestGateway::start_unready(&[&[NO_BROKER], trusted].concat()).await;
        let found = location_and_type(&gateway, &[FORWARDED_PREFIX]).await;
        assert_eq!(found, ("docs/".to_owned(), "/problems/not-found".to_owned()), "{trusted:?}");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_caller_cannot_use_a_trusted_proxy_to_redirect_to_another_host() {
    let gateway = TestGateway::start_unready(&[NO_BROKER, TRUSTS_PROXY]).await;
    for prefix in ["//evil.example", "/\\evil.example", "https://evil.example", "/a/../.."] {
        let (location, _) = location_and_type(&gateway, &[("x-forwarded-prefix", prefix)]).await;
        assert_eq!(location, "docs/", "{prefix}");
    }
    gateway.stop().await;
}

/// Kubernetes and load balancers ask in this way: by the pod's address, and over any connection.
#[tokio::test]
async fn probes_with_any_host_are_answered_by_a_gateway_on_loopback() {
    let gateway = TestGateway::start_unready(&[NO_BROKER]).await;
    for (path, status) in
        [("/health/live", 200), ("/health/ready", 503), ("/health/rabbitmq", 503), ("/docs/", 403)]
    {
        let answer = get(&gateway, path, &[("host", "10.1.2.3:8080")]).await;
        assert_eq!(answer.status(), status, "{path}");
    }
    gateway.stop().await;
}
