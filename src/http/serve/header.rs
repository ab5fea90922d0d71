//! The beginning of a header, kept until the header is complete.
//!
//! hyper allocates 24 KB for the first byte of a header, so that a client who sends half of one and waits would
//! hold as much; a whole one needs 16. Here it holds what it has sent. What may be no HTTP/1 header is handed on as it comes.

use tokio::io::ReadBuf;

/// A longer header is handed on unfinished: whoever sent that much has paid for hyper's buffers.
const LONGEST: usize = 4096;

/// Bytes that hyper does not know of yet.
#[derive(Debug, Default)]
pub struct Header {
    bytes: Vec<u8>,
    due: bool,
    http2: bool,
}

impl Header {
    /// Whether there is nothing to keep on this connection any more: it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether it is time to hand on.
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Keeps `more`, with which the header may be complete.
    pub fn push(&mut self, more: &[u8], is_complete: bool) {
        self.bytes.reserve_exact(more.len());
        self.bytes.extend_from_slice(more);
        self.http2 = self.bytes.starts_with(b"PRI ");
        self.due = self.http2
            || is_complete
            || self.bytes.len() >= LONGEST
            || !self.bytes.first().is_some_and(u8::is_ascii_uppercase);
    }

    /// Hands on whatever there is: the client sends no more.
    pub fn release(&mut self) {
        self.due = !self.bytes.is_empty();
    }

    /// Moves what fits to `buf`.
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
    use super::super::framing::Framing;
    use super::*;

    fn due_after(parts: &[&str]) -> bool {
        let (mut header, mut framing) = (Header::default(), Framing::new(16));
        for part in parts {
            framing.read(part.as_bytes());
            header.push(part.as_bytes(), framing.heads() > 0);
        }
        header.is_due()
    }

    #[test]
    fn a_header_is_due_when_its_empty_line_has_come() {
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
    fn what_is_no_http_1_header_or_a_long_one_is_due_at_once() {
        assert!(due_after(&["\u{16}\u{3}"]) && due_after(&["P", "RI "]) && due_after(&["\r\n"]));
        assert!(due_after(&[&"G".repeat(LONGEST)]));
    }
}
