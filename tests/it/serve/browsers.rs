//! Origins, hosts and CORS.

use super::toy::*;

const FRIEND: &str = "https://friend.example";

async fn friendly() -> Toy {
    toy_with(connection_limits(), &limits(), &[FRIEND]).await
}

fn from(origin: &str) -> String {
    get_request("/hello", &format!("Origin: {origin}\r\n"))
}

#[tokio::test]
async fn a_page_of_a_foreign_origin_is_403() {
    for toy in [toy().await, friendly().await] {
        for origin in ["http://evil.example", "null", "http://localhost:1", "https://localhost"] {
            let answer = ask(&toy, from(origin)).await;
            assert_eq!((answer.status, answer.problem().as_str()), (403, "cross-origin"), "{origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
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
