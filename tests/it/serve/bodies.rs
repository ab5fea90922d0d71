//! Bodies: their deadline, their size limit, the memory for all of them, and the limit of requests in flight.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::routing::post;
use http_body_util::BodyExt;
use rabbitmq_gateway::http::admission::AdmissionControl;
use rabbitmq_gateway::http::layers::{LayerSettings, LayeredRouter};
use rabbitmq_gateway::http::request::body::ReadBody;
use rabbitmq_gateway::http::routes::{Admission, RouteTable, Traits};
use rabbitmq_gateway::http::server::Application;
use rabbitmq_gateway::http::{Access, AuditLevel, Authentication, Limits};
use rabbitmq_gateway::lifecycle::Lifecycle;
use rabbitmq_gateway::metrics::Metrics;

use super::toy::*;

#[tokio::test]
async fn a_body_in_one_frame_or_in_many_is_read_whole() {
    let toy = toy().await;
    for size in [0, 1, 1000, 70_000, 1 << 20] {
        let body: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
        assert_eq!(ask(&toy, post_request("/echo", &body)).await.body, body, "{size}");
    }
    let chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
    assert_eq!(ask(&toy, chunked).await.body, b"abc");
    eventually(PATIENCE, "the memory of the body is free again", || async {
        toy.admission.bytes_in_flight() == 0
    })
    .await;
}

/// The read buffer of the connection is larger than the body, and the memory limit does not count it.
#[tokio::test]
async fn a_small_body_does_not_keep_the_read_buffer_of_its_connection() {
    for (size, is_copied) in [(1, true), (4096, true), (4097, false)] {
        let buffer = Bytes::from(vec![b'x'; size]);
        let start = buffer.as_ptr() as usize;
        let compare = async move |body: ReadBody| (body.bytes.as_ptr() as usize != start).to_string();
        let (compared, limits) = (Router::new().route("/", post(compare)), limits());
        let settings =
            LayerSettings::new((Ipv4Addr::LOCALHOST, 1).into(), &Access::default(), &limits, AuditLevel::Off);
        let mut table = RouteTable::default();
        table.add("/", Traits { admission: Admission::Request, ..Traits::default() });
        let layered = LayeredRouter::new(
            compared,
            table,
            &settings,
            &Metrics::default(),
            (Authentication::new(None, "/"), AdmissionControl::new(&limits, &Lifecycle::default())),
        );
        let request =
            Request::post("/").header("host", "localhost").body(Body::from(buffer.clone())).unwrap();
        let answering = layered.answer(request, (Ipv4Addr::LOCALHOST, 2).into());
        let answer = answering.response.await.into_body().collect().await.unwrap();
        assert_eq!(answer.to_bytes(), is_copied.to_string(), "{size}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let toy = toy().await;
    let begun = Instant::now();
    let mut client = Client::to(&toy).await;
    client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.problem().as_str()), (408, "request-timeout"));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(begun.elapsed() >= BODY);
    // A client has a second to close the connection by itself.
    assert!(client.closed().await < Duration::from_secs(1));
}

#[tokio::test]
async fn a_content_length_over_the_limit_is_413_at_once() {
    let toy = toy().await;
    let answer =
        ask(&toy, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1099511627776\r\n\r\n").await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "payload-too-large"));
    assert_eq!(answer.json()["limit"], 1 << 20);
}

#[tokio::test]
async fn a_client_that_continues_to_send_after_a_413_is_not_reset() {
    let toy = toy().await;
    let (mut reader, mut writer) = Client::to(&toy).await.0.into_split();
    let body = vec![0; 16 << 20];
    let request = post_request("/echo", &body);
    tokio::io::AsyncWriteExt::write_all(&mut writer, &request).await.expect("reset while sending");
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut reader, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_413() {
    let toy = toy().await;
    let mut request =
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n".to_vec();
    request.resize(request.len() + (1 << 20) + 1, b'x');
    let answer = ask(&toy, request).await;
    assert_eq!((answer.status, answer.problem().as_str()), (413, "payload-too-large"));
}

#[tokio::test]
async fn a_chunk_over_the_body_limit_is_413_before_its_bytes_arrive() {
    let toy = toy().await;
    let header = "POST /publish/x HTTP/1.1\r\nHost: localhost\r\ntransfer-encoding: Chunked\r\n\r\n";
    for parts in [
        &[header, "7fffffff\r\n"][..],
        &[header, "5\r\nhello\r\n", "ffffc\r\n"],
        &["POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\nx"],
    ] {
        let mut client = Client::to(&toy).await;
        for part in parts {
            client.send(part).await;
            tokio::task::yield_now().await;
        }
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.problem().as_str()), (413, "payload-too-large"), "{parts:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let largest = format!("{header}fffff\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(0xf_ffff));
    assert_eq!(ask(&toy, largest).await.body.len(), 1 << 20);
}

#[tokio::test]
async fn a_chunk_that_is_too_large_is_413_after_any_other_bytes() {
    const LARGE: &str =
        "POST /publish/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n";
    let toy = toy().await;
    let publish = String::from_utf8(post_request("/publish/x", b"ab")).unwrap();
    let unread =
        "GET /hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let long = LARGE.replace("Transfer-", &format!("X-Long: {}\r\nTransfer-", "x".repeat(5_000)));
    let (pipelined, after_get) = ([publish.as_str(), LARGE].concat(), [unread, LARGE].concat());
    for (parts, answered) in [
        (&[pipelined.as_str()][..], 1),
        (&[after_get.as_str()], 1),
        (&[unread, LARGE], 1),
        (&[publish.as_str(), LARGE], 1),
        (&[long.as_str()], 0),
    ] {
        let mut client = Client::to(&toy).await;
        for (number, part) in parts.iter().enumerate() {
            client.send(part).await;
            if number < answered && parts.len() > 1 {
                assert_eq!(client.answer().await.status, 200, "{parts:?}");
            }
        }
        if parts.len() == 1 && answered == 1 {
            assert_eq!(client.answer().await.status, 200, "{parts:?}");
        }
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.problem().as_str()), (413, "payload-too-large"), "{parts:?}");
    }
}

#[tokio::test]
async fn a_publisher_who_closes_its_side_after_the_request_gets_the_answer() {
    const CHUNKED: &str = "POST /publish/x/slow HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n";
    let toy = toy().await;
    let mut requests = vec![(CHUNKED.as_bytes().to_vec(), 3)];
    for length in [0, 2, 3_000, 20_000, 70_000, 300_000, 1 << 20] {
        requests.push((post_request("/publish/x/slow", &vec![b'x'; length]), length));
    }
    for (request, length) in requests {
        for _ in 0..4 {
            let mut client = Client::to(&toy).await;
            client.send(&request).await;
            client.close_side().await;
            let answer = client.answer().await;
            assert_eq!((answer.status, answer.body.len()), (200, length));
            assert!(client.closed().await < Duration::from_millis(500), "{length} bytes");
        }
    }
}

#[tokio::test]
async fn a_publisher_who_closes_its_side_after_several_requests_gets_every_answer() {
    let toy = toy().await;
    for _ in 0..4 {
        let mut client = Client::to(&toy).await;
        client.send(post_request("/publish/x/slow", b"abc").repeat(3)).await;
        client.close_side().await;
        for _ in 0..3 {
            assert_eq!(client.answer().await.body, b"abc");
        }
        client.closed().await;
    }
}

#[tokio::test]
async fn the_gateway_does_not_wait_for_a_publisher_that_closes_its_side_within_the_body() {
    let limits = Limits { body_timeout: PATIENCE, ..limits() };
    let toy = toy_with(connection_limits(), &limits).await;
    let mut client = Client::to(&toy).await;
    client.send("POST /publish/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab").await;
    toy.is_busy_with(1).await;
    client.close_side().await;
    assert!(client.closed().await < PATIENCE / 2);
    toy.is_busy_with(0).await;
}

#[tokio::test]
async fn a_malformed_body_is_400() {
    let toy = toy().await;
    let answer =
        ask(&toy, "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed-request"));
}

#[tokio::test]
async fn a_client_that_expects_100_gets_100_continue() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 100);
    client.send("ab").await;
    assert_eq!(client.answer().await.body, b"ab");
}

#[tokio::test]
async fn a_request_over_the_limit_is_503_at_once_and_health_checks_are_not() {
    let toy = toy().await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut client = Client::to(&toy).await;
        client.send(get_request("/stuck", "")).await;
        stuck.push(client);
    }
    toy.is_busy_with(8).await;
    let answer = ask(&toy, get_request("/hello", "")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    assert_eq!(ask(&toy, get_request("/health", "")).await.status, 200);
    drop(stuck);
    toy.is_busy_with(0).await;
    assert_eq!(ask(&toy, get_request("/hello", "")).await.status, 200);
}

#[tokio::test]
async fn pulls_wait_beside_the_requests_in_flight_up_to_a_bound_of_their_own() {
    let toy = toy().await;
    let mut waiting = Vec::new();
    for pulls in 1..=2 {
        let mut client = Client::to(&toy).await;
        client.send(get_request("/pull", "")).await;
        waiting.push(client);
        eventually(PATIENCE, "the pull waits", || async { toy.admission.waiting_pulls() == pulls }).await;
    }
    let answer = ask(&toy, get_request("/pull", "")).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    assert!(String::from_utf8_lossy(&answer.body).contains("GATEWAY_MAX_WAITING_PULLS"));
    assert_eq!(ask(&toy, get_request("/hello", "")).await.status, 200);
    assert_eq!(toy.admission.requests_in_flight(), 0);
    drop(waiting);
    let has_room = || async { toy.admission.waiting_pulls() == 0 };
    eventually(PATIENCE, "a pull ends when its caller leaves", has_room).await;
}

#[tokio::test]
async fn bodies_over_the_memory_limit_are_503_until_the_last_byte_is_dropped() {
    let mut toy = toy().await;
    let body = vec![0; 1 << 20];
    for _ in 0..2 {
        assert_eq!(ask(&toy, post_request("/keep", &body)).await.status, 200);
    }
    assert_eq!((toy.admission.bytes_in_flight(), toy.admission.requests_in_flight()), (2 << 20, 2));
    let answer = ask(&toy, post_request("/echo", &[0; 10])).await;
    assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"));
    let slice = toy.kept.recv().await.unwrap().slice(5..6);
    assert_eq!(toy.admission.bytes_in_flight(), 2 << 20, "a slice holds the whole body");
    drop(slice);
    eventually(PATIENCE, "the memory of the body is free again", || async {
        toy.admission.bytes_in_flight() == 1 << 20
    })
    .await;
    assert_eq!(ask(&toy, post_request("/echo", &[0; 10])).await.status, 200);
}

#[tokio::test]
async fn the_message_of_a_caller_that_disconnects_counts_as_in_flight_until_it_is_finished() {
    let mut toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send(post_request("/keep-and-wait", b"abc")).await;
    let bytes = toy.kept.recv().await.unwrap();
    drop(client);
    let gone = within(PATIENCE, "the handler is dropped", toy.kept.recv()).await;
    assert_eq!(gone.as_deref(), Some(&b""[..]));
    assert_eq!((toy.admission.requests_in_flight(), toy.admission.bytes_in_flight()), (1, 3));
    drop(bytes);
    eventually(PATIENCE, "the request is counted as finished", || async {
        toy.admission.requests_in_flight() == 0
    })
    .await;
}
