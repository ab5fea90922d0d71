//! Reads the sizes of the chunks of a body (RFC 9112, 7.1), before hyper reads them.
//!
//! Checks their sizes only: hyper refuses malformed chunks.

/// Follows the chunks of one body.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    /// Bytes that the remaining chunks may have together.
    room: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the size; its value so far.
    Size(u64),
    /// In the rest of the line with the size.
    Extension(u64),
    Data(u64),
    /// At the end of the line after the data.
    DataEnd,
    /// After the last chunk; whether the line is empty so far.
    Trailer(bool),
}

/// The progress of reading the chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The body continues.
    More,
    /// The chunks together are larger than the limit of a body. It is reported once, and the body continues.
    Large,
    /// The body is complete.
    End,
    /// The bytes are not a chunk.
    Malformed,
}

impl Chunks {
    /// Begins a body of at most this many bytes.
    pub fn new(max_body_bytes: u64) -> Self {
        Self { state: State::Size(0), room: max_body_bytes }
    }

    /// Reads bytes. Returns how many of them belong to the body, up to a progress other than [`Progress::More`].
    pub fn read(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if let State::Data(left) = self.state {
                let read = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                let left = left - read as u64;
                self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                at += read;
                continue;
            }
            at += 1;
            let progress = self.step(*byte);
            if progress != Progress::More {
                return (at, progress);
            }
        }
        (at, Progress::More)
    }

    fn step(&mut self, byte: u8) -> Progress {
        self.state = match (self.state, byte) {
            (State::Size(size) | State::Extension(size), b'\n') => self.begin(size),
            (State::Size(size), b'\r' | b' ' | b'\t' | b';') => State::Extension(size),
            (State::Size(size), _) => match char::from(byte).to_digit(16) {
                Some(digit) => State::Size(size.saturating_mul(16).saturating_add(digit.into())),
                None => return Progress::Malformed,
            },
            (State::Trailer(true), b'\n') => return Progress::End,
            (State::Trailer(_), b'\n') => State::Trailer(true),
            (State::Trailer(is_empty), _) => State::Trailer(is_empty && byte == b'\r'),
            (State::DataEnd, b'\n') => State::Size(0),
            (state, _) => state,
        };
        match self.state {
            State::Size(size) if size > self.room => {
                self.room = u64::MAX;
                Progress::Large
            }
            _ => Progress::More,
        }
    }

    fn begin(&mut self, size: u64) -> State {
        self.room = self.room.saturating_sub(size);
        if size == 0 { State::Trailer(true) } else { State::Data(size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The progress after these bytes. Checks that it is the same when they arrive one by one.
    fn progress(bytes: &str) -> Progress {
        let (_, together) = Chunks::new(16).read(bytes.as_bytes());
        let mut chunks = Chunks::new(16);
        let alone = bytes.bytes().map(|byte| chunks.read(&[byte]).1);
        let alone = alone.into_iter().find(|progress| *progress != Progress::More);
        assert_eq!(together, alone.unwrap_or(Progress::More), "{bytes}");
        together
    }

    #[test]
    fn chunks_that_are_too_large_are_reported_before_their_bytes_arrive() {
        for bytes in
            ["11", "7fffffff\r\n", "ffffffffffffffffff", "A;x=y\r\n0123456789\r\n7", "8\n12345678\n9"]
        {
            assert_eq!(progress(bytes), Progress::Large, "{bytes}");
        }
    }

    #[test]
    fn a_body_is_complete_after_its_trailers() {
        for bytes in ["8\r\n12345678\r\n8\r\nffffffff\r\n0\r\nffff: x\r\n\r\n", "0\r\n\r\n", "01;a\n1\n0\n\n"]
        {
            assert_eq!(progress(bytes), Progress::End, "{bytes}");
            assert_eq!(Chunks::new(16).read(format!("{bytes}GET").as_bytes()).0, bytes.len(), "{bytes}");
        }
        for bytes in ["10\r\n", "2\r\nab\r\n0\r\n", "0\r\nfff: x\r\n"] {
            assert_eq!(progress(bytes), Progress::More, "{bytes}");
        }
        assert_eq!(progress("zz\r\nfff"), Progress::Malformed);
    }
}
