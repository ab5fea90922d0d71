//! `PublishStream`: the client of a publish stream, which reads and writes at the same time, over a bare socket.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::poll::within;

const DEADLINE: Duration = Duration::from_mins(1);

pub struct PublishStream {
    writer: StreamWriter,
    answer: StreamAnswer,
}

/// The body, piece by piece.
pub struct StreamWriter(OwnedWriteHalf);

/// The answer, line by line.
pub struct StreamAnswer {
    reader: BufReader<OwnedReadHalf>,
    pub status: u16,
    /// The header, in lower case.
    pub header: String,
    /// Bytes of the body that are not part of a complete line yet.
    pending: Vec<u8>,
    has_ended: bool,
}

impl PublishStream {
    /// Sends the header of a stream to this path.
    pub async fn open(gateway: SocketAddr, path: &str) -> Self {
        Self::open_with(gateway, path, "").await
    }

    /// The same with further header lines, each with its line break.
    pub async fn open_with(gateway: SocketAddr, path: &str, header: &str) -> Self {
        let stream = TcpStream::connect(gateway).await.expect("the gateway accepts");
        stream.set_nodelay(true).expect("a live socket");
        let (reader, mut writer) = stream.into_split();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {gateway}\r\ncontent-type: application/x-ndjson\r\n{header}transfer-encoding: chunked\r\n\r\n"
        );
        writer.write_all(request.as_bytes()).await.expect("the gateway reads");
        let reader = BufReader::new(reader);
        let answer =
            StreamAnswer { reader, status: 0, header: String::new(), pending: Vec::new(), has_ended: false };
        Self { writer: StreamWriter(writer), answer }
    }

    /// Sends bytes as a chunk. An error is ignored: the answer tells why.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.writer.send(bytes).await;
    }

    /// Sends bytes that are no chunk.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.writer.send_raw(bytes).await;
    }

    /// Sends a message as a line.
    pub async fn line(&mut self, item: &Value) {
        self.send(format!("{item}\n")).await;
    }

    /// Ends the body.
    pub async fn finish(&mut self) {
        self.writer.finish().await;
    }

    /// Ends the writing direction of the connection.
    pub async fn shutdown(&mut self) {
        let _ = self.writer.0.shutdown().await;
    }

    /// The next line of the answer; `None` at its end.
    pub async fn next(&mut self) -> Option<Value> {
        self.answer.next().await
    }

    /// The writer and the answer, for two tasks.
    pub fn split(self) -> (StreamWriter, StreamAnswer) {
        (self.writer, self.answer)
    }

    /// Reads the header of the answer.
    pub async fn header(&mut self) -> (u16, &str) {
        self.answer.read_header().await;
        (self.answer.status, &self.answer.header)
    }

    /// Reads the status 100.
    pub async fn answer_is_100(&mut self) {
        let mut header = String::new();
        while !header.ends_with("\r\n\r\n") {
            let line = self.answer.reader.read_line(&mut header);
            within(DEADLINE, "a status 100", line).await.expect("a header");
        }
        assert!(header.starts_with("HTTP/1.1 100 "), "{header}");
    }

    /// The status and the header of the answer to a stream that the test does not go on with.
    pub async fn into_header(mut self) -> (u16, String) {
        self.answer.read_header().await;
        (self.answer.status, self.answer.header)
    }

    /// Ends the body, and reads all further lines: the results, and the summary.
    pub async fn end(mut self) -> (Vec<Value>, Value) {
        self.finish().await;
        self.answer.rest().await
    }

    /// Reads all further lines without ending the body.
    pub async fn rest(mut self) -> (Vec<Value>, Value) {
        self.answer.rest().await
    }
}

impl StreamWriter {
    /// Sends bytes as a chunk. An error is ignored: the answer tells why.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send_raw(&chunk).await;
    }

    /// Ends the body.
    pub async fn finish(&mut self) {
        self.send_raw(b"0\r\n\r\n").await;
    }

    /// Sends bytes as they are; false when the gateway has closed the connection.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }
}

impl StreamAnswer {
    /// All further lines: the results, and the summary.
    pub async fn rest(&mut self) -> (Vec<Value>, Value) {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        let last = lines.pop().expect("a summary");
        assert!(last["summary"].is_object(), "the answer was cut after {last}");
        (lines, last["summary"].clone())
    }

    /// The next line; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        within(DEADLINE, "a line of the answer", self.read_line()).await
    }

    async fn read_line(&mut self) -> Option<Value> {
        self.read_header().await;
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.pending.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("each line is JSON"));
            }
            if self.has_ended {
                assert!(self.pending.is_empty(), "half a line: {:?}", String::from_utf8_lossy(&self.pending));
                return None;
            }
            self.read_chunk().await;
        }
    }

    async fn read_header(&mut self) {
        while self.status == 0 {
            let mut header = String::new();
            while !header.ends_with("\r\n\r\n") {
                let read = self.reader.read_line(&mut header).await.expect("a header");
                assert!(read > 0, "the connection ended after {header:?}");
            }
            let status: u16 = header[9..12].parse().expect("a status");
            if status >= 200 {
                self.status = status;
                self.header = header.to_lowercase();
                assert!(self.header.contains("transfer-encoding: chunked") || status >= 400, "{header}");
            }
        }
        if self.status >= 400 && !self.has_ended {
            let length = self.header.split("content-length: ").nth(1).and_then(|it| it.split("\r\n").next());
            let length: usize = length.and_then(|it| it.parse().ok()).expect("a length");
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body).await.expect("a body");
            self.pending = body;
            self.pending.push(b'\n');
            self.has_ended = true;
        }
    }

    async fn read_chunk(&mut self) {
        let mut size = String::new();
        let read = self.reader.read_line(&mut size).await.unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or_default();
        self.has_ended = size == 0;
        if read > 0 && size > 0 {
            let mut chunk = vec![0; size + 2];
            self.has_ended = self.reader.read_exact(&mut chunk).await.is_err();
            chunk.truncate(size);
            self.pending.extend_from_slice(&chunk);
        }
    }
}
