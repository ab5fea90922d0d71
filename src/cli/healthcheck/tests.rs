//! The health check of a server that a test writes on a socket.

use std::net::{IpAddr, Ipv4Addr};

use tokio::net::TcpListener;

use super::*;

async fn asked(answer: &'static str, ready: bool) -> (Result<(), String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = [0; 1_024];
        let length = stream.read(&mut request).await.expect("a request");
        stream.write_all(answer.as_bytes()).await.expect("an answer");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
    (healthcheck(everywhere, ready).await, server.await.expect("the request"))
}

#[tokio::test]
async fn a_gateway_that_listens_everywhere_is_asked_on_loopback() {
    let (result, request) = asked("HTTP/1.1 200 OK\r\n\r\n", true).await;
    assert_eq!(result, Ok(()));
    assert!(request.starts_with("GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
}

#[tokio::test]
async fn an_answer_other_than_200_fails_with_one_line() {
    for answer in ["HTTP/1.1 503 Service Unavailable\r\n\r\n", "SSH-2.0\r\n", ""] {
        let (result, request) = asked(answer, false).await;
        let why = result.err().unwrap_or_default();
        assert!(why.contains("/health/live: answered") && why.lines().count() == 1, "{answer}: {why}");
        assert!(request.starts_with("GET /health/live "), "{request}");
    }
}

#[tokio::test]
async fn a_port_on_which_no_process_listens_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    assert!(healthcheck(address, false).await.is_err());
    assert!(healthcheck(SocketAddr::new(address.ip(), 0), false).await.is_err());
}
