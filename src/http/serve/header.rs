//! The beginning of a header, kept until the header is complete.
//!
//! hyper allocates 24 KB for the first byte of a header, so that a client who sends half of one and waits would
//! hold as much; a whole one needs 16. Here it holds what it has sent. What may be no HTTP/1 header is handed on as it comes.

use tokio::io::ReadBuf;

/// A longer header is handed on unfinished: whoever sent that much has paid for hyper's buffers.
const LONGEST: usize = 4096;

/// A header of this name tells that the body comes in chunks. The door refuses other codings.
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";

/// Bytes that hyper does not know of yet.
#[derive(Debug, Default)]
pub struct Header {
    bytes: Vec<u8>,
    lines: Lines,
    due: bool,
    http2: bool,
}

/// The lines of a header, as far as they have come.
#[derive(Debug, Default)]
struct Lines {
    /// Where the first line begins whose end has not come; after the last line, where the body begins.
    at: usize,
    is_complete: bool,
    is_chunked: bool,
}

impl Lines {
    /// Reads on to the empty line that ends a header. A parser also takes bare line feeds.
    fn read(&mut self, bytes: &[u8]) {
        while !self.is_complete
            && let Some(length) = bytes[self.at..].iter().position(|byte| *byte == b'\n')
        {
            let line = &bytes[self.at..][..length];
            self.at += length + 1;
            self.is_complete = matches!(line, b"" | b"\r");
            let name = line.get(..TRANSFER_ENCODING.len());
            self.is_chunked |= name.is_some_and(|name| name.eq_ignore_ascii_case(TRANSFER_ENCODING));
        }
    }
}

impl Header {
    /// Whether there is nothing to keep on this connection any more: it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2
    }

    /// Whether it is time to hand on.
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Keeps `more`.
    pub fn push(&mut self, more: &[u8]) {
        self.bytes.reserve_exact(more.len());
        self.bytes.extend_from_slice(more);
        self.http2 = self.bytes.starts_with(b"PRI ");
        self.lines.read(&self.bytes);
        self.due = self.http2
            || self.lines.is_complete
            || self.bytes.len() >= LONGEST
            || !self.bytes.first().is_some_and(u8::is_ascii_uppercase);
    }

    /// What came of a body in chunks, where the header is complete; told once.
    pub fn take_chunked(&mut self) -> Option<&[u8]> {
        let is_told = self.lines.is_complete && std::mem::take(&mut self.lines.is_chunked);
        is_told.then(|| &self.bytes[self.lines.at..])
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
            *self = Self { http2: self.http2, ..Self::default() };
        } else {
            self.bytes.drain(..n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due_after(parts: &[&str]) -> bool {
        let mut header = Header::default();
        for part in parts {
            header.push(part.as_bytes());
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

    #[test]
    fn a_body_in_chunks_is_told_once_with_what_came_of_it() {
        for (header, body) in [
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Some("5\r\nab")),
            ("POST / HTTP/1.1\ntransfer-encoding:chunked\n\n", Some("")),
            ("POST / HTTP/1.1\r\nX-Transfer-Encoding: chunked\r\n\r\n5", None),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", None),
        ] {
            let mut told = Header::default();
            told.push(header.as_bytes());
            assert_eq!(told.take_chunked(), body.map(str::as_bytes), "{header}");
            assert_eq!(told.take_chunked(), None, "{header}");
        }
    }
}
