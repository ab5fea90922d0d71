//! The sizes of a body's chunks (RFC 9112, 7.1), read before hyper decodes them.
//!
//! hyper tells nothing of a chunk before its bytes are there, so that a client who announces too many of them and sends none
//! would be waited for. Judges nothing else: what is malformed is hyper's to refuse.

/// Reads the sizes of one body.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    /// Bytes that the chunks may still have together.
    room: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The digits so far.
    Size(u64),
    /// The rest of the line with the size.
    Extension(u64),
    Data(u64),
    /// The end of the line after the data.
    End,
    /// After the last chunk, or after what is none.
    Over,
}

impl Chunks {
    /// The chunks of a body that may have so many bytes.
    pub fn new(max_body_bytes: usize) -> Self {
        Self { state: State::Size(0), room: u64::try_from(max_body_bytes).unwrap_or(u64::MAX) }
    }

    /// Reads on; whether the chunks are together too large for the body.
    pub fn exceed(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((byte, rest)) = bytes.split_first() {
            (self.state, bytes) = match self.state {
                State::Size(size) => match (digit(*byte), byte) {
                    (Some(digit), _) => (State::Size(size.saturating_mul(16).saturating_add(digit)), rest),
                    (None, b'\n') => (self.begin(size), rest),
                    (None, b'\r' | b' ' | b'\t' | b';') => (State::Extension(size), rest),
                    (None, _) => (State::Over, rest),
                },
                State::Extension(size) if *byte == b'\n' => (self.begin(size), rest),
                State::End if *byte == b'\n' => (State::Size(0), rest),
                State::Extension(_) | State::End => (self.state, rest),
                State::Data(left) => {
                    let read = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let left = left - read as u64;
                    (if left == 0 { State::End } else { State::Data(left) }, &bytes[read..])
                }
                State::Over => return false,
            };
            if let State::Size(size) = self.state
                && size > self.room
            {
                self.state = State::Over;
                return true;
            }
        }
        false
    }

    fn begin(&mut self, size: u64) -> State {
        self.room = self.room.saturating_sub(size);
        if size == 0 { State::Over } else { State::Data(size) }
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same whether the bytes come together or one by one.
    fn exceed(bytes: &str) -> bool {
        let together = Chunks::new(16).exceed(bytes.as_bytes());
        let mut chunks = Chunks::new(16);
        let alone = bytes.bytes().any(|byte| chunks.exceed(&[byte]));
        assert_eq!(together, alone, "{bytes}");
        together
    }

    #[test]
    fn chunks_that_are_too_large_are_told_before_their_bytes_come() {
        for bytes in
            ["11", "7fffffff\r\n", "ffffffffffffffffff", "A;x=y\r\n0123456789\r\n7", "8\n12345678\n9"]
        {
            assert!(exceed(bytes), "{bytes}");
        }
    }

    #[test]
    fn chunks_that_fit_and_what_comes_after_them_pass() {
        for bytes in [
            "10\r\n",
            "8\r\n12345678\r\n8\r\nffffffff\r\n0\r\nffff: x\r\n\r\nfffff",
            "0\r\n\r\nfff",
            "zz\r\nfff",
        ] {
            assert!(!exceed(bytes), "{bytes}");
        }
    }
}
