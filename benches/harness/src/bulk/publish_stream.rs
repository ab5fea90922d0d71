//! The client's end of one publish stream: it writes lines and reads the lines of the answer at the same time.

use std::collections::VecDeque;
use std::io::Write;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::item::Item;
use crate::load::PATIENCE;
use crate::spec::Traffic;

const MAX_HEADERS: usize = 32;
/// Room for one read of the answer.
const ROOM: usize = 32 * 1024;

/// An open stream.
pub struct PublishStream {
    socket: TcpStream,
    item: Item,
    unwritten: VecDeque<u8>,
    answer: Answer,
}

/// The last line of an answer, or a line that tells how many lines are settled.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Note {
    /// The number of lines that have results.
    pub settled: Option<u64>,
    /// The end of the stream.
    pub summary: Option<Summary>,
}

/// The end of a stream.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Summary {
    /// The number of lines that the service has read.
    pub read: u64,
    /// The messages by outcome.
    pub counts: Counts,
    /// The reason for the end.
    pub end: String,
}

/// Messages by outcome.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// Confirmed ones.
    pub confirmed: u64,
}

impl PublishStream {
    /// Opens a stream. Each further header line has its line break.
    ///
    /// # Errors
    /// When no program listens at the address.
    pub async fn open(address: &str, traffic: &Traffic, headers: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address).await.context("connecting")?;
        socket.set_nodelay(true)?;
        let head = format!(
            "POST /publish/amq.default/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\
             content-type: application/x-ndjson\r\n{headers}transfer-encoding: chunked\r\n\r\n"
        );
        let unwritten = head.into_bytes().into();
        Ok(Self { socket, item: Item::new(traffic), unwritten, answer: Answer::default() })
    }

    /// Adds lines with these numbers as their ids, as one chunk.
    ///
    /// # Errors
    /// Never: the lines are in memory until they are written.
    pub fn add(&mut self, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
        let length = (numbers.end - numbers.start) * (self.item.length() as u64 + 1);
        write!(self.unwritten, "{length:x}\r\n")?;
        for number in numbers {
            self.unwritten.extend(self.item.numbered(number));
            self.unwritten.push_back(b'\n');
        }
        self.unwritten.extend(b"\r\n");
        Ok(())
    }

    /// Ends the body.
    pub fn finish(&mut self) {
        self.unwritten.extend(b"0\r\n\r\n");
    }

    /// The number of bytes that are not written.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Whether the whole answer has arrived.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.answer.has_ended
    }

    /// Writes once or reads once, and returns the lines of the answer that are complete now.
    ///
    /// # Errors
    /// When the connection is lost, nothing moves for too long, or the bytes are not the answer to a stream.
    pub async fn advance(&mut self) -> anyhow::Result<Vec<u8>> {
        timeout(PATIENCE, self.write_or_read()).await.context("no answer in time")??;
        self.answer.take_lines()
    }

    async fn write_or_read(&mut self) -> anyhow::Result<()> {
        let (mut reader, mut writer) = self.socket.split();
        self.answer.read.reserve(ROOM);
        tokio::select! {
            read = reader.read_buf(&mut self.answer.read) => {
                ensure!(read.context("reading")? > 0, "the connection was closed before the end of the answer");
            }
            written = writer.write_buf(&mut self.unwritten), if !self.unwritten.is_empty() => {
                written.context("writing")?;
            }
        }
        Ok(())
    }
}

/// The answer as far as it has arrived.
#[derive(Default)]
struct Answer {
    /// Bytes that are not decoded.
    read: Vec<u8>,
    /// The body from the beginning of the last incomplete line on.
    body: Vec<u8>,
    has_begun: bool,
    has_ended: bool,
}

impl Answer {
    /// The lines that are complete.
    fn take_lines(&mut self) -> anyhow::Result<Vec<u8>> {
        self.has_begun = self.has_begun || self.take_head()?;
        while self.has_begun && !self.has_ended && self.take_chunk()? {}
        let lines = self.body.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let rest = self.body.split_off(lines);
        ensure!(!self.has_ended || rest.is_empty(), "the answer ended within a line");
        Ok(std::mem::replace(&mut self.body, rest))
    }

    fn take_head(&mut self) -> anyhow::Result<bool> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(&self.read)? else { return Ok(false) };
        if response.code != Some(200) {
            bail!("the stream was answered {}", String::from_utf8_lossy(&self.read));
        }
        self.read.drain(..head);
        Ok(true)
    }

    /// Moves a chunk to the body, if it is whole.
    fn take_chunk(&mut self) -> anyhow::Result<bool> {
        let size = httparse::parse_chunk_size(&self.read);
        let size = size.map_err(|_| anyhow::anyhow!("the answer has a malformed chunk"))?;
        let httparse::Status::Complete((head, size)) = size else { return Ok(false) };
        let end = head + usize::try_from(size)?;
        if self.read.len() < end + b"\r\n".len() {
            return Ok(false);
        }
        self.body.extend_from_slice(&self.read[head..end]);
        self.read.drain(..end + b"\r\n".len());
        self.has_ended = size == 0;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

    fn lines(text: &str, size: usize) -> anyhow::Result<(Vec<u8>, bool)> {
        let mut answer = Answer::default();
        let mut lines = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            answer.read.extend_from_slice(piece);
            lines.extend(answer.take_lines()?);
            assert!(lines.is_empty() || lines.ends_with(b"\n"));
        }
        Ok((lines, answer.has_ended))
    }

    #[test]
    fn the_lines_of_an_answer_do_not_depend_on_the_pieces_in_which_it_arrives() {
        let text = format!("{HEAD}6\r\none\ntw\r\n2\r\no\n\r\n0\r\n\r\n");
        for size in 1..text.len() {
            let found = lines(&text, size).expect("it is an answer");
            assert_eq!(found, (b"one\ntwo\n".to_vec(), true), "{size}");
        }
    }

    #[test]
    fn another_status_and_an_end_within_a_line_are_errors() {
        let error = lines("HTTP/1.1 404 Not Found\r\n\r\nno such path", 99).expect_err("it is an error");
        assert!(error.to_string().ends_with("no such path"), "{error}");
        assert!(lines(&format!("{HEAD}3\r\none\r\n0\r\n\r\n"), 99).is_err());
    }
}
