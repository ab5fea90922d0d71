//! Pages of other origins, the `Host` header and CORS, with the headers that browsers and proxies send.

use rabbitmq_gateway::http::Access;

use super::toy::*;

const FRIEND: &str = "https://friend.example";

async fn friendly() -> Toy {
    toy_for(&Access { allowed_origins: vec![FRIEND.to_owned()], ..Access::default() }).await
}

/// A gateway on loopback behind a proxy on the same machine that keeps `Host`.
async fn proxied() -> Toy {
    toy_for(&Access { allowed_hosts: vec!["gateway.example".to_owned()], ..Access::default() }).await
}

fn from(origin: &str) -> String {
    get_request("/hello", &format!("Origin: {origin}\r\n"))
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_403() {
    for toy in [toy().await, friendly().await] {
        for origin in ["http://evil.example", "null", "http://localhost:1", "https://localhost:8443"] {
            let answer = ask(&toy, from(origin)).await;
            assert_eq!((answer.status, answer.problem().as_str()), (403, "cross-origin"), "{origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            let detail = answer.json()["detail"].to_string();
            assert!(detail.contains(origin) && detail.contains("GATEWAY_ALLOWED_ORIGINS"), "{detail}");
        }
    }
}

#[tokio::test]
async fn a_page_of_the_gateway_itself_is_served() {
    let toy = toy().await;
    let answer = ask(&toy, from("http://localhost")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn a_host_that_is_not_loopback_is_403_on_loopback() {
    let toy = toy().await;
    for host in ["evil.example", "localhost.evil.example", "10.0.0.1"] {
        let answer = ask(&toy, format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "cross-origin"), "{host}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(host) && detail.contains("GATEWAY_ALLOWED_HOSTS"), "{detail}");
    }
    for host in ["127.0.0.1:80", "[::1]:8080", "LOCALHOST"] {
        let answer = ask(&toy, format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn an_allowed_origin_may_read_answers_and_refusals() {
    let toy = friendly().await;
    for (path, status) in [("/hello", 200), ("/nowhere", 404), ("/hello/%zz", 400)] {
        let answer = ask(&toy, get_request(path, &format!("Origin: {FRIEND}\r\n"))).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some(FRIEND)));
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("origin")), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_preflight_of_an_allowed_origin_is_answered() {
    let toy = friendly().await;
    let ask_first = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-amqp-type\r\n";
    let preflight =
        |origin| format!("OPTIONS /hello HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n{ask_first}\r\n");
    let answer = ask(&toy, preflight(FRIEND)).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(FRIEND)));
    assert_eq!(answer.header("access-control-allow-methods"), Some("put"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-amqp-type"));
    assert_eq!(ask(&toy, preflight("http://evil.example")).await.problem(), "cross-origin");
}

#[tokio::test]
async fn options_that_is_no_preflight_still_names_the_methods() {
    let toy = friendly().await;
    let answer = ask(&toy, "OPTIONS /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (204, Some("get,head")));
}

/// Without `Sec-Fetch-Site`: a browser before 2023, or one that asks a host without TLS.
#[tokio::test]
async fn a_page_behind_a_tls_proxy_is_the_gateway_s_own() {
    let toy = proxied().await;
    for (origin, host, status) in [
        ("https://gateway.example", "gateway.example", 200),
        ("https://gateway.example", "gateway.example:443", 200),
        ("https://gateway.example:8443", "gateway.example:8443", 200),
        ("http://gateway.example:8080", "gateway.example:8080", 200),
        ("https://gateway.example:8443", "gateway.example", 403),
        ("https://gateway.example", "gateway.example:8443", 403),
        ("https://evil.example", "gateway.example", 403),
    ] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        assert_eq!(ask(&toy, request).await.status, status, "{origin} {host}");
    }
}

#[tokio::test]
async fn the_sec_fetch_site_header_decides_where_a_browser_sends_it() {
    let toy = friendly().await;
    for (headers, status) in [
        // A proxy in front has replaced Host, so Host says nothing about the page.
        ("Sec-Fetch-Site: same-origin\r\nOrigin: https://gateway.example\r\n", 200),
        ("Sec-Fetch-Site: none\r\n", 200),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: http://localhost\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: https://friend.example\r\n", 200),
        (
            "Sec-Fetch-Site: cross-site\r\nOrigin: https://friend.example\r\nOrigin: http://evil.example\r\n",
            403,
        ),
    ] {
        let answer = ask(&toy, get_request("/hello", headers)).await;
        assert_eq!(answer.status, status, "{headers}");
        if status == 403 {
            assert!(answer.json()["detail"].to_string().contains("GATEWAY_ALLOWED_ORIGINS"), "{headers}");
            assert!(answer.header("vary").is_some_and(|vary| vary.contains("sec-fetch-site")), "{headers}");
        }
    }
}

#[tokio::test]
async fn a_link_on_a_page_of_another_origin_opens_pages_only() {
    let toy = toy().await;
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(ask(&toy, get_request("/page", link)).await.status, 200);
    assert_eq!(ask(&toy, get_request("/hello", link)).await.problem(), "cross-origin");
    for other in [link.replace("document", "iframe"), link.replace("navigate", "no-cors")] {
        assert_eq!(ask(&toy, get_request("/page", &other)).await.problem(), "cross-origin", "{other}");
    }
}

#[tokio::test]
async fn a_proxy_on_the_same_host_that_keeps_host_is_served_when_allowed() {
    let toy = proxied().await;
    for (host, status) in [
        ("gateway.example", 200),
        ("Gateway.Example:8443", 200),
        ("localhost", 200),
        ("evil.example", 403),
        ("gateway.example.evil.example", 403),
    ] {
        let answer = ask(&toy, format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test]
async fn probes_with_any_host_are_answered() {
    let toy = toy().await;
    for host in ["10.1.2.3:8080", "gateway.example"] {
        let probe = |path| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(ask(&toy, probe("/health")).await.status, 200, "{host}");
        assert_eq!(ask(&toy, probe("/hello")).await.status, 403, "{host}");
    }
    let foreign = get_request("/health", "Origin: http://evil.example\r\n");
    assert_eq!(ask(&toy, foreign).await.problem(), "cross-origin");
}
