//! Splits bytes into lines, in any pieces in which they arrive.
//!
//! A line over the limit is reported once, and skipped to its end in constant memory. Blank lines are skipped.

use bytes::{Buf, Bytes};
use memchr::memchr;

/// The most bytes of a line that are skipped, in limits of a line.
const MOST_SKIPPED: usize = 8;

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A complete line, without its line break.
    Line(Vec<u8>),
    /// A line that is longer than the limit.
    TooLong,
}

/// The bytes that have arrived and are not part of a complete line yet.
#[derive(Debug)]
pub(super) struct Splitter {
    /// The most bytes of a line.
    limit: usize,
    arrived: Bytes,
    /// The beginning of the line whose end has not arrived.
    begun: Vec<u8>,
    /// The number of bytes that were skipped of a line over the limit, while its end has not arrived.
    skipped: Option<usize>,
}

impl Splitter {
    /// No bytes so far.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, arrived: Bytes::new(), begun: Vec::new(), skipped: None }
    }

    /// Adds bytes. To call only after [`Self::next`] has returned `None`.
    pub(super) fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.arrived.is_empty(), "lines are left");
        self.arrived = bytes;
    }

    /// The number of bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.arrived.len() + self.begun.len()
    }

    /// Whether a line over the limit goes on for so long that its client will not end it.
    pub(super) fn is_endless(&self) -> bool {
        self.skipped.is_some_and(|skipped| skipped > MOST_SKIPPED * self.limit)
    }

    /// Whether a line has begun and is kept.
    pub(super) fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Drops the line that has begun, and skips the rest of it.
    pub(super) fn skip_line(&mut self) {
        self.begun = Vec::new();
        self.skipped = Some(0);
    }

    /// The next line; `None` until more bytes arrive.
    pub(super) fn next(&mut self) -> Option<Piece> {
        while !self.arrived.is_empty() {
            let end = memchr(b'\n', &self.arrived);
            let piece = match (end, self.skipped) {
                (Some(end), None) => self.end_line(end),
                (Some(end), Some(_)) => {
                    self.arrived.advance(end + 1);
                    self.skipped = None;
                    None
                }
                (None, None) => self.begin_line(),
                (None, Some(skipped)) => {
                    self.skipped = Some(skipped + self.arrived.len());
                    self.arrived.clear();
                    None
                }
            };
            if piece.is_some() {
                return piece;
            }
        }
        None
    }

    fn end_line(&mut self, end: usize) -> Option<Piece> {
        let rest = self.arrived.split_to(end + 1);
        let rest = &rest[..end];
        let mut line = std::mem::take(&mut self.begun);
        if line.len() + rest.len() > self.limit {
            return Some(Piece::TooLong);
        }
        line.extend_from_slice(rest);
        (!line.trim_ascii().is_empty()).then_some(Piece::Line(line))
    }

    fn begin_line(&mut self) -> Option<Piece> {
        let arrived = std::mem::take(&mut self.arrived);
        if self.begun.len() + arrived.len() > self.limit {
            self.begun = Vec::new();
            self.skipped = Some(arrived.len());
            return Some(Piece::TooLong);
        }
        self.begun.extend_from_slice(&arrived);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of a text that arrives in pieces of at most this size.
    fn lines(text: &str, size: usize, limit: usize) -> Vec<Piece> {
        let mut splitter = Splitter::new(limit);
        let mut lines = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            splitter.push(Bytes::copy_from_slice(piece));
            lines.extend(std::iter::from_fn(|| splitter.next()));
            assert!(splitter.held() <= limit, "{splitter:?}");
        }
        lines
    }

    fn line(text: &str) -> Piece {
        Piece::Line(text.as_bytes().to_vec())
    }

    #[test]
    fn a_line_over_the_limit_is_reported_once_and_the_next_line_is_read() {
        for size in 1..20 {
            let found = lines("12345\n123456\n1234567890123\n\n \r\nabc\r\n", size, 5);
            assert_eq!(found, [line("12345"), Piece::TooLong, Piece::TooLong, line("abc\r")], "{size}");
        }
    }

    #[test]
    fn a_line_is_endless_after_eight_further_limits() {
        let mut splitter = Splitter::new(10);
        splitter.push(Bytes::from(vec![b'x'; 80]));
        assert_eq!(splitter.next(), Some(Piece::TooLong));
        assert!(!splitter.is_endless());
        splitter.push(Bytes::from_static(b"x"));
        assert_eq!((splitter.next(), splitter.is_endless(), splitter.held()), (None, true, 0));
    }

    #[test]
    fn the_rest_of_a_dropped_line_is_skipped() {
        let mut splitter = Splitter::new(10);
        splitter.push(Bytes::from_static(b"abc"));
        assert_eq!((splitter.next(), splitter.has_begun()), (None, true));
        splitter.skip_line();
        splitter.push(Bytes::from_static(b"def\nghi\n"));
        assert_eq!((splitter.next(), splitter.next()), (Some(line("ghi")), None));
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_pieces_in_which_they_arrive(
            text in "[ab\n]{0,60}",
            size in 1_usize..9,
            limit in 1_usize..9,
        ) {
            let text = format!("{text}\n");
            prop_assert_eq!(lines(&text, size, limit), lines(&text, text.len(), limit));
        }
    }
}
