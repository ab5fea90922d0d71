//! Finds the beginning and the end of each message on an HTTP/1 connection, before hyper reads the bytes.
//!
//! hyper does not report that a body is complete before the reader has taken it, nor the size of a chunk before its bytes have
//! arrived. Checks sizes only: hyper refuses malformed messages.

use memchr::memchr;

use super::chunks::{Chunks, Progress};

/// Bytes of a line that are read. The two headers that frame a body have short lines.
const LONGEST_LINE: usize = 64;

/// The position in the messages that a client sends.
#[derive(Debug)]
pub struct Framing {
    part: Part,
    heads: u64,
    large: Option<u64>,
    max_body_bytes: u64,
}

#[derive(Debug)]
enum Part {
    Head(Head),
    /// In a body, with this many bytes left.
    Length(u64),
    Chunks(Chunks),
    /// In a body whose end is unknown, because it is malformed.
    Endless,
    /// In another protocol.
    Foreign,
}

/// The lines of a header that have arrived.
#[derive(Debug)]
struct Head {
    /// The beginning of the line whose end has not arrived.
    line: Vec<u8>,
    has_begun: bool,
    is_chunked: bool,
    /// `None` when it is not a number.
    length: Option<u64>,
}

impl Framing {
    /// Begins a connection with bodies of at most this many bytes.
    pub fn new(max_body_bytes: usize) -> Self {
        let max_body_bytes = u64::try_from(max_body_bytes).unwrap_or(u64::MAX);
        Self { part: Part::Head(Head::default()), heads: 0, large: None, max_body_bytes }
    }

    /// The number of complete headers.
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a body has begun and is not complete.
    pub fn is_within_body(&self) -> bool {
        matches!(self.part, Part::Length(_) | Part::Chunks(_) | Part::Endless)
    }

    /// The number of the message, from 1 on, whose chunks are too large for a body. Returns it once.
    pub fn take_large(&mut self) -> Option<u64> {
        self.large.take()
    }

    /// Reads bytes.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let read = match &mut self.part {
                Part::Head(head) => {
                    let (read, ended) = head.read(bytes);
                    if let Some(next) = ended {
                        self.heads += u64::from(next != Next::Foreign);
                        self.part = next.part(self.max_body_bytes);
                    }
                    read
                }
                Part::Length(left) => {
                    let read = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= read as u64;
                    if *left == 0 {
                        self.part = Part::Head(Head::default());
                    }
                    read
                }
                Part::Chunks(chunks) => {
                    let (read, progress) = chunks.read(bytes);
                    match progress {
                        Progress::More => {}
                        Progress::End => self.part = Part::Head(Head::default()),
                        Progress::Large => self.large = Some(self.heads),
                        Progress::Malformed => self.part = Part::Endless,
                    }
                    read
                }
                Part::Endless | Part::Foreign => return,
            };
            bytes = &bytes[read..];
        }
    }
}

/// The part that follows a header.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Length(u64),
    Chunks,
    Endless,
    Foreign,
}

impl Next {
    fn part(self, max_body_bytes: u64) -> Part {
        match self {
            Self::Length(0) => Part::Head(Head::default()),
            Self::Length(length) => Part::Length(length),
            Self::Chunks => Part::Chunks(Chunks::new(max_body_bytes)),
            Self::Endless => Part::Endless,
            Self::Foreign => Part::Foreign,
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self { line: Vec::new(), has_begun: false, is_chunked: false, length: Some(0) }
    }
}

impl Head {
    /// Reads one line, or the part of it that has arrived. Returns how many bytes it has read and, at the end of the header, the
    /// part that follows.
    fn read(&mut self, bytes: &[u8]) -> (usize, Option<Next>) {
        let Some(length) = memchr(b'\n', bytes) else {
            self.keep(bytes);
            return (bytes.len(), None);
        };
        let next = if self.line.is_empty() {
            self.take_line(&bytes[..length])
        } else {
            self.keep(&bytes[..length]);
            let line = std::mem::take(&mut self.line);
            self.take_line(&line)
        };
        (length + 1, next)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(LONGEST_LINE - self.line.len());
        self.line.extend_from_slice(&bytes[..kept]);
    }

    /// Reads a line without its line feed. Like hyper's parser, it accepts lines without a carriage return at the end, and empty
    /// lines before a header.
    fn take_line(&mut self, line: &[u8]) -> Option<Next> {
        match line.strip_suffix(b"\r").unwrap_or(line) {
            b"" if !self.has_begun => None,
            b"" if self.is_chunked => Some(Next::Chunks),
            b"" => Some(self.length.map_or(Next::Endless, Next::Length)),
            _ if !self.has_begun => {
                self.has_begun = true;
                line.starts_with(b"PRI ").then_some(Next::Foreign)
            }
            line => {
                self.take_header(line);
                None
            }
        }
    }

    fn take_header(&mut self, line: &[u8]) {
        let value_of = |name: &[u8]| {
            let (given, rest) = line.split_at_checked(name.len())?;
            rest.strip_prefix(b":").filter(|_| given.eq_ignore_ascii_case(name))
        };
        if value_of(b"transfer-encoding").is_some() {
            self.is_chunked = true;
        } else if let Some(length) = value_of(b"content-length") {
            self.length =
                std::str::from_utf8(length.trim_ascii()).ok().and_then(|length| length.parse().ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The position after these bytes. Checks that it is the same when they arrive one by one.
    fn after(bytes: &str) -> Framing {
        let mut together = Framing::new(16);
        together.read(bytes.as_bytes());
        let mut alone = Framing::new(16);
        bytes.bytes().for_each(|byte| alone.read(&[byte]));
        let seen = |framing: &Framing| (framing.heads, framing.large, framing.is_within_body());
        assert_eq!(seen(&together), seen(&alone), "{bytes}");
        together
    }

    #[test]
    fn a_message_ends_where_its_header_says() {
        for (bytes, heads, is_within_body) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n", 0, false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, false),
            ("\r\nPOST / HTTP/1.1\r\ncontent-length:  3 \r\n\r\nab", 1, true),
            ("POST / HTTP/1.1\nContent-Length: 3\n\nabcPOST / HTTP/1.1\nContent-Length: 3\n\nabc", 2, false),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", 1, true),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /", 1, false),
            ("POST / HTTP/1.1\r\nX-Content-Length: 3\r\n\r\n", 1, false),
            ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\nab", 1, true),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, false),
        ] {
            let framing = after(bytes);
            assert_eq!((framing.heads(), framing.is_within_body()), (heads, is_within_body), "{bytes}");
        }
    }

    #[test]
    fn the_message_with_chunks_that_are_too_large_is_reported_once() {
        let first = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
        let mut framing =
            after(&format!("{first}POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n7fffffff"));
        assert_eq!((framing.take_large(), framing.take_large()), (Some(2), None));
        assert_eq!(
            after(&format!("{first}GET / HTTP/1.1\r\nX: {}\r\n\r\n", "7".repeat(5000))).take_large(),
            None
        );
    }
}
