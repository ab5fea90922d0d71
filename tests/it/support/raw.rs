//! HTTP/1.1 as raw bytes over TCP, for requests that no HTTP client would send.
//!
//! Sends exactly the given bytes and reads whole responses, each within a deadline.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::poll::within;

const DEADLINE: Duration = Duration::from_secs(30);

/// A connection to the gateway and the bytes that were read after the last response.
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header with this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within(DEADLINE, "connect", TcpStream::connect(address)).await;
        Self { stream: stream.expect("the gateway listens"), unread: Vec::new() }
    }

    /// One request on a connection of its own, and its response.
    pub async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Response {
        let mut raw = Self::connect(address).await;
        raw.send(request).await;
        raw.response(DEADLINE).await
    }

    /// Sends these bytes. An error is ignored, since the other end may have closed; the response tells why.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(DEADLINE, "send", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Ends the writing direction; the response can still arrive.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Closes the connection with a reset (RST).
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// The next whole response (a 1xx one too).
    pub async fn response(&mut self, deadline: Duration) -> Response {
        within(deadline, "a whole response", self.read_response()).await
    }

    /// Reads until the gateway closes the connection; gives the bytes before that, not parsed.
    pub async fn until_closed(&mut self, deadline: Duration) -> Vec<u8> {
        within(deadline, "the gateway closes", async { while self.more().await {} }).await;
        std::mem::take(&mut self.unread)
    }

    async fn read_response(&mut self) -> Response {
        let head = self.read_head().await;
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("a status in {first:?}"));
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut response = Response { status, headers: headers.collect(), body: Vec::new() };
        response.body = self.read_body(&response).await;
        response
    }

    async fn read_head(&mut self) -> String {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            let before = String::from_utf8_lossy(&self.unread).into_owned();
            assert!(self.more().await, "closed before a whole response header: {before:?}");
        };
        let head: Vec<u8> = self.unread.drain(..end + 4).collect();
        String::from_utf8_lossy(&head[..end]).into_owned()
    }

    async fn read_body(&mut self, response: &Response) -> Vec<u8> {
        if response.status < 200 || matches!(response.status, 204 | 304) {
            return Vec::new();
        }
        if response.header("transfer-encoding") == Some("chunked") {
            return self.read_chunks().await;
        }
        if let Some(length) = response.header("content-length") {
            return self.take(length.parse().expect("a length")).await;
        }
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    async fn read_chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line().await;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16);
            let size = size.unwrap_or_else(|_| panic!("a chunk size in {line:?}"));
            if size == 0 {
                while !self.take_line().await.is_empty() {}
                return body;
            }
            body.extend(self.take(size).await);
            self.take(2).await;
        }
    }

    async fn take_line(&mut self) -> String {
        while find(&self.unread, b"\r\n").is_none() {
            assert!(self.more().await, "closed inside a line");
        }
        let end = find(&self.unread, b"\r\n").unwrap_or_default();
        let line = self.take(end).await;
        self.take(2).await;
        String::from_utf8_lossy(&line).into_owned()
    }

    async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            assert!(self.more().await, "closed inside a body");
        }
        self.unread.drain(..count).collect()
    }

    /// Reads further bytes; false at the end of the stream or after a reset.
    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
