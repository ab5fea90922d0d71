//! Refusals that need the header only, and the headers that each answer has.

use super::toy::*;

async fn refused(request: impl AsRef<[u8]>) -> (u16, String) {
    let toy = toy().await;
    let answer = ask(&toy, request).await;
    (answer.status, answer.problem())
}

fn is(status: u16, name: &str) -> (u16, String) {
    (status, name.to_owned())
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_400() {
    for hosts in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: a@localhost\r\n"] {
        let request = format!("GET /hello HTTP/1.1\r\n{hosts}\r\n");
        assert_eq!(refused(request).await, is(400, "malformed-request"), "{hosts}");
    }
}

#[tokio::test]
async fn a_host_with_an_invalid_port_is_400() {
    for host in ["localhost:abc", "localhost:70000", "localhost:+80", "[::1]:x", "[::1]8"] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(refused(request).await, is(400, "malformed-request"), "{host}");
    }
    let target = "GET http://localhost:abc/hello HTTP/1.1\r\nHost: localhost:abc\r\n\r\n";
    assert_eq!(refused(target).await, is(400, "malformed-request"));
    let toy = toy().await;
    for host in ["localhost", "localhost:", "localhost:80", "[::1]:65535", "127.0.0.1:0080"] {
        let request = format!("GET /hello HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(ask(&toy, request).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn a_problem_tells_browsers_not_to_guess_another_media_type() {
    let toy = toy().await;
    for request in [get_request("/nowhere", ""), get_request("/teapot", ""), get_request("/hello/%", "")] {
        assert_eq!(ask(&toy, request).await.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn http_1_0_needs_no_host() {
    let toy = toy().await;
    assert_eq!(ask(&toy, "GET /hello HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_501() {
    let request =
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(request).await, is(501, "transfer-coding-not-supported"));
}

#[tokio::test]
async fn an_unknown_expectation_is_417() {
    assert_eq!(refused(get_request("/hello", "Expect: a-miracle\r\n")).await, is(417, "expectation-failed"));
}

#[tokio::test]
async fn a_broken_percent_escape_in_the_path_is_400() {
    for path in ["/hello/%", "/hello/%2", "/hello/%zz", "/hello/%ff"] {
        assert_eq!(refused(get_request(path, "")).await, is(400, "malformed-request"), "{path}");
    }
    let toy = toy().await;
    assert_eq!(ask(&toy, get_request("/hello/%C3%A9%25", "")).await.status, 200);
}

#[tokio::test]
async fn a_header_over_the_limit_is_431() {
    let toy = toy().await;
    let answer = ask(&toy, get_request("/hello", &format!("X-Long: {}\r\n", "x".repeat(17 * 1024)))).await;
    assert_eq!((answer.status, answer.problem().as_str()), (431, "headers-too-large"));
    assert_eq!(answer.json()["limit"], 16 * 1024);
}

#[tokio::test]
async fn a_header_larger_than_the_read_buffer_is_431_too() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send(get_request("/hello", &format!("X-Long: {}\r\n", "x".repeat(300 * 1024)))).await;
    assert_eq!(client.answer().await.status, 431);
    let headers: Vec<_> = (0..192).map(|n| format!("X-{n}: x\r\n")).collect();
    assert_eq!(ask(&toy, get_request("/hello", &headers.concat())).await.status, 431);
}

#[tokio::test]
async fn a_request_with_a_hundred_and_fifty_headers_is_accepted() {
    let toy = toy().await;
    let headers: Vec<_> = (0..150).map(|n| format!("X-Amqp-Header-{n}: x\r\n")).collect();
    assert_eq!(ask(&toy, get_request("/hello", &headers.concat())).await.status, 200);
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    assert_eq!(refused(get_request("/nowhere", "")).await, is(404, "not-found"));
}

#[tokio::test]
async fn an_unknown_method_is_405_and_the_answer_names_the_allowed_methods() {
    let toy = toy().await;
    let answer = ask(&toy, post_request("/hello", b"")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (405, "method-not-allowed"));
    assert_eq!(answer.header("allow"), Some("get,head"));
}

#[tokio::test]
async fn options_answers_with_the_allowed_methods() {
    let toy = toy().await;
    let answer = ask(&toy, "OPTIONS /hello HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (204, Some("get,head")));
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    for (path, status, length) in [("/hello", 200, Some("5")), ("/nowhere", 404, None)] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let answer = client.answer_without_body().await;
        assert_eq!(answer.status, status);
        assert!(length.is_none_or(|length| answer.header("content-length") == Some(length)));
    }
}

#[tokio::test]
async fn a_panic_is_500_with_a_constant_text() {
    let toy = toy().await;
    let answer = ask(&toy, get_request("/panic", "")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (500, "internal"));
    assert!(!String::from_utf8_lossy(&answer.body).contains("1234"));
}

#[tokio::test]
async fn an_error_with_the_text_of_a_library_becomes_a_problem() {
    assert_eq!(refused(get_request("/teapot", "")).await, is(409, "precondition-failed"));
}

#[tokio::test]
async fn an_error_with_the_text_of_a_library_leaves_the_outcome_of_a_message_unknown() {
    let answer = ask(&toy().await, get_request("/rpc/x", "X-Amqp-Message-Id: mine\r\n")).await;
    let body = answer.json();
    assert_eq!((answer.status, &body["outcome"], &body["retryable"]), (409, &"unknown".into(), &true.into()));
    assert_eq!(body["message_id"], "mine");
}

#[tokio::test]
async fn a_request_id_is_kept_or_replaced() {
    let toy = toy().await;
    let answer = ask(&toy, get_request("/hello", "X-Request-Id: mine\r\n")).await;
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    let answer = ask(&toy, get_request("/hello", "X-Request-Id: not mine\r\n")).await;
    assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
}

#[tokio::test]
async fn a_refused_publish_says_that_nothing_was_sent() {
    let toy = toy().await;
    let answer =
        ask(&toy, "POST /publish/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n").await;
    assert_eq!((answer.status, &answer.json()["outcome"]), (413, &"not_sent".into()));
}
