//! Keeps the beginning of a header until the header is complete, then passes it to hyper.
//!
//! hyper allocates 24 KB for the first byte of a header, and 16 KB for a complete header. So a client that sends half a header
//! and waits would hold 24 KB; here it holds only the bytes that it has sent. Passes on at once bytes that may not be an HTTP/1
//! header.

use tokio::io::ReadBuf;

/// A longer header is passed on before it is complete: its size is no longer small compared with hyper's buffers.
const LONGEST: usize = 4096;

/// Bytes that hyper has not read.
#[derive(Debug, Default)]
pub struct Header {
    bytes: Vec<u8>,
    due: bool,
    http2: bool,
}

impl Header {
    /// Whether the connection speaks HTTP/2, so that no more headers are kept.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the bytes are due to be passed on.
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Keeps `more`. `is_complete`: the header ends in it.
    pub fn push(&mut self, more: &[u8], is_complete: bool) {
        self.bytes.reserve_exact(more.len());
        self.bytes.extend_from_slice(more);
        self.http2 = self.bytes.starts_with(b"PRI ");
        self.due = self.http2
            || is_complete
            || self.bytes.len() >= LONGEST
            || !self.bytes.first().is_some_and(u8::is_ascii_uppercase);
    }

    /// Makes all bytes due, because the client sends no more.
    pub fn release(&mut self) {
        self.due = !self.bytes.is_empty();
    }

    /// Moves the bytes that fit to `buf`.
    pub fn hand_on(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.bytes.len().min(buf.remaining());
        buf.put_slice(&self.bytes[..n]);
        if n == self.bytes.len() {
            self.bytes = Vec::new();
            self.due = false;
        } else {
            self.bytes.drain(..n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::server::framing::Framing;

    fn due_after(parts: &[&str]) -> bool {
        let (mut header, mut framing) = (Header::default(), Framing::new(16));
        for part in parts {
            framing.read(part.as_bytes());
            header.push(part.as_bytes(), framing.heads() > 0);
        }
        header.is_due()
    }

    #[test]
    fn a_header_is_due_when_its_empty_line_has_arrived() {
        for parts in
            [&["GET / HTTP/1.1\r\n\r\n"][..], &["GET /\r", "\n", "\r", "\n"], &["GET /\n", "\n"], &["G\n\nx"]]
        {
            assert!(due_after(parts), "{parts:?}");
        }
        for parts in
            [&["GET / HTTP/1.1\r\nHost: a\r\n"][..], &["GET /\r", "\n", "\r"], &["PR"], &["GET \r\r\n"]]
        {
            assert!(!due_after(parts), "{parts:?}");
        }
    }

    #[test]
    fn a_long_header_and_bytes_of_another_protocol_are_due_at_once() {
        assert!(due_after(&["\u{16}\u{3}"]) && due_after(&["P", "RI "]) && due_after(&["\r\n"]));
        assert!(due_after(&[&"G".repeat(LONGEST)]));
    }
}
