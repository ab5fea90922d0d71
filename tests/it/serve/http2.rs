//! HTTP/2 without TLS, with raw frames and with curl.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::toy::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
/// `SETTINGS_INITIAL_WINDOW_SIZE` 0: no answer may send a byte of its body.
const NO_WINDOW: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];

/// `RST_STREAM` of stream 1 with `NO_ERROR`.
const RESET: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0];
/// `:method` in HPACK: GET and POST from its table, HEAD as a literal.
const GET: &[u8] = &[0x82];
const POST: &[u8] = &[0x83];
const HEAD: &[u8] = b"\x02\x04HEAD";
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// HEADERS of stream 1, uncompressed, for the host localhost.
fn headers_frame(method: &[u8], path: &str, flags: u8) -> Vec<u8> {
    headers_frame_of(method, "localhost", path, &[], flags)
}

/// The same with these headers, for this authority.
fn headers_frame_of(
    method: &[u8],
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    flags: u8,
) -> Vec<u8> {
    // Indexed :scheme http; literal :path (4) and :authority (1).
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let mut block = [method, &[0x86, 0x04], &text(path), &[0x01], &text(authority)].concat();
    for (name, value) in headers {
        block.extend([vec![0], text(name), text(value)].concat());
    }
    let mut frame = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, END_HEADERS | flags, 0, 0, 0, 1];
    frame.extend_from_slice(&block);
    frame
}

fn get_frame(path: &str) -> Vec<u8> {
    headers_frame(GET, path, END_STREAM)
}

async fn client(toy: &Toy, settings: &[u8], path: &str) -> Client {
    let mut client = Client::to(toy).await;
    client.send([PREFACE, settings, &get_frame(path)].concat()).await;
    client
}

/// Reads frames until one of `kind`; its payload.
async fn frame(client: &mut Client, kind: u8) -> Vec<u8> {
    flags_and_frame(client, kind).await.1
}

async fn flags_and_frame(client: &mut Client, kind: u8) -> (u8, Vec<u8>) {
    let reading = async {
        loop {
            let mut head = [0; 9];
            client.0.read_exact(&mut head).await.expect("closed");
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            client.0.read_exact(&mut payload).await.unwrap();
            if head[3] == kind {
                return (head[4], payload);
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("no such frame")
}

#[tokio::test]
async fn a_request_over_http2_is_answered_and_its_idle_connection_closed() {
    let toy = toy().await;
    let mut client = client(&toy, &EMPTY_SETTINGS, "/hello").await;
    assert_eq!(frame(&mut client, 0).await, b"hello");
    assert!(client.closed().await >= KEEP_ALIVE / 2);
}

/// HTTP/2 has `:authority` in place of `Host`.
#[tokio::test]
async fn the_authority_is_the_host_that_the_browser_rules_look_at() {
    let toy = toy().await;
    for (authority, origin, is_served) in [
        ("localhost", "https://localhost", true),
        ("localhost:8443", "https://localhost:8443", true),
        ("localhost:8443", "https://localhost:8444", false),
        ("evil.example", "https://evil.example", false),
    ] {
        let mut client = Client::to(&toy).await;
        let request = headers_frame_of(GET, authority, "/hello", &[("origin", origin)], END_STREAM);
        client.send([PREFACE, &EMPTY_SETTINGS, &request].concat()).await;
        let body = String::from_utf8(frame(&mut client, 0).await).unwrap();
        assert_eq!(body == "hello", is_served, "{authority} {origin}: {body}");
        assert!(is_served || body.contains("/problems/cross-origin"), "{body}");
    }
}

#[tokio::test]
async fn a_problem_has_no_body_where_the_method_is_head() {
    let toy = toy().await;
    for path in ["/nowhere", "/echo", "/publish/x/slow"] {
        let mut client = Client::to(&toy).await;
        client.send([PREFACE, &EMPTY_SETTINGS, &headers_frame(HEAD, path, END_STREAM)].concat()).await;
        let (flags, _) = flags_and_frame(&mut client, 1).await;
        assert_eq!(flags & END_STREAM, END_STREAM, "{path}");
    }
}

/// Earlier versions published such a body as if it were complete.
#[tokio::test]
async fn an_upload_that_its_client_aborts_is_not_published() {
    let mut toy = toy().await;
    let mut client = Client::to(&toy).await;
    let begun = [PREFACE, &EMPTY_SETTINGS, &headers_frame(POST, "/keep", 0), b"\0\0\x03\0\0\0\0\0\x01hel"];
    client.send(begun.concat()).await;
    toy.is_busy_with(1).await;
    client.send(RESET).await;
    toy.is_busy_with(0).await;
    assert!(toy.kept.try_recv().is_err(), "the handler got it as a whole body");
    let mut client = Client::to(&toy).await;
    let whole = [PREFACE, &EMPTY_SETTINGS, &headers_frame(POST, "/keep", 0), b"\0\0\x03\0\x01\0\0\0\x01hel"];
    client.send(whole.concat()).await;
    frame(&mut client, 1).await;
    assert_eq!(toy.kept.try_recv().as_deref(), Ok(&b"hel"[..]));
}

#[tokio::test]
async fn an_answer_without_a_flow_control_window_is_aborted_at_the_write_deadline() {
    let toy = toy().await;
    let mut client = client(&toy, &NO_WINDOW, "/hello").await;
    frame(&mut client, 1).await;
    // Other frames, such as answers to pings, do not extend the deadline.
    let begun = Instant::now();
    while client.0.write_all(&PING).await.is_ok() && client.0.read_u8().await.is_ok() {
        assert!(begun.elapsed() < WRITE + Duration::from_millis(1500));
        dawdle(WRITE / 20).await;
    }
    assert!(begun.elapsed() >= WRITE / 2);
}

/// Each further answer on the connection extended the deadline of the first one.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_aborted_although_its_client_takes_other_answers() {
    let toy = toy().await;
    let mut client = client(&toy, &NO_WINDOW, "/hello").await;
    frame(&mut client, 1).await;
    let begun = Instant::now();
    let mut ask = headers_frame(HEAD, "/nowhere", END_STREAM);
    for stream in (3..=u8::MAX).step_by(2) {
        ask[8] = stream;
        if client.0.write_all(&ask).await.is_err() || client.0.read_u8().await.is_err() {
            assert!(begun.elapsed() >= WRITE / 2);
            return;
        }
        assert!(begun.elapsed() < WRITE + Duration::from_millis(1500), "the connection stays open");
        dawdle(WRITE / 20).await;
    }
    panic!("the connection stays open");
}

#[tokio::test]
async fn a_client_that_sends_half_a_preface_is_disconnected_at_the_header_deadline() {
    let toy = toy().await;
    let mut client = Client::to(&toy).await;
    client.send(&PREFACE[..10]).await;
    assert!(client.closed().await < HEADER + Duration::from_millis(1500));
}

#[tokio::test]
async fn draining_sends_goaway_and_finishes_the_streams() {
    let toy = toy().await;
    let mut client = client(&toy, &EMPTY_SETTINGS, "/slow").await;
    toy.is_busy_with(1).await;
    toy.lifecycle.drain();
    frame(&mut client, 7).await;
    frame(&mut client, 1).await;
}
