//! When no program reads the log, the gateway still serves requests, drops lines, and reports the gap when the log is read again.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStderr, Command},
};

use super::NO_BROKER;
use crate::support::poll::within;

const SOON: Duration = Duration::from_mins(1);

/// More lines than fit in the pipe (64 KiB) and the queue of lines (8,192) together.
const REQUESTS: usize = 12_000;

struct Unread {
    _child: Child,
    log: Lines<BufReader<ChildStderr>>,
    address: SocketAddr,
}

impl Unread {
    /// Reads until the log names the address, then stops reading.
    async fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rabbitmq-gateway"));
        command.env_clear().envs([NO_BROKER, ("GATEWAY_LISTEN", "127.0.0.1:0"), ("GATEWAY_LOG", "debug")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the binary is built");
        let mut log = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let address = loop {
            let line = next(&mut log).await;
            if line["message"] == "listening" {
                break line["address"].as_str().and_then(|it| it.parse().ok()).expect("an address");
            }
        };
        Self { _child: child, log, address }
    }
}

async fn next(log: &mut Lines<BufReader<ChildStderr>>) -> serde_json::Value {
    let line = within(SOON, "a line", log.next_line()).await.expect("the pipe works").expect("it runs");
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"))
}

/// Sends all requests on one connection and counts the answers.
async fn answers(address: SocketAddr, requests: usize) -> usize {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (reading, mut writing) = stream.into_split();
    tokio::spawn(async move {
        for _ in 0..requests {
            let request = "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
            writing.write_all(request.as_bytes()).await.expect("it reads");
        }
        std::future::pending::<()>().await;
    });
    let mut lines = BufReader::new(reading).lines();
    let mut answered = 0;
    while answered < requests {
        let line = lines.next_line().await.expect("it answers").expect("it keeps the connection");
        answered += usize::from(line.starts_with("HTTP/1.1 200") || line.contains("}HTTP/1.1 200"));
    }
    answered
}

#[tokio::test]
async fn a_log_that_is_not_read_blocks_no_request_and_reports_its_gap() {
    let mut unread = Unread::start().await;
    let answered = within(SOON, "every answer", answers(unread.address, REQUESTS)).await;
    assert_eq!(answered, REQUESTS);
    let dropped = loop {
        if let Some(dropped) = next(&mut unread.log).await["dropped"].as_u64() {
            break dropped;
        }
    };
    assert!((1..=REQUESTS as u64 * 2).contains(&dropped), "dropped {dropped}");
}
