//! Makes frames readable for amq-protocol, lapin's parser, without a change of their length.
//!
//! Every client that may publish to the reply queue chooses these bytes. RabbitMQ also cuts its own texts at 255 bytes,
//! which can be in the middle of a character. amq-protocol refuses a short string that is not UTF-8, which ends the
//! connection. It overflows the stack on a table that is nested a few hundred levels deep, which ends the process.

use std::mem;

use crate::domain::names::REPLACED;

/// Levels that are kept as tables and arrays. A value that is nested deeper becomes a byte array.
const MAX_DEPTH: usize = 32;
/// Offset of a content header's flags, and of a method's arguments, in the payload.
const FLAGS: usize = 12;
const ARGUMENTS: usize = 4;
/// Length of a reply code in bytes.
const REPLY_CODE: usize = 2;
const BYTE_ARRAY: u8 = b'x';

/// The type of each property, in the order of the flags, the highest bit first.
const PROPERTIES: [Kind; 14] = {
    use Kind::{Fixed, Table, Text};
    [Text, Text, Table, Fixed(1), Fixed(1), Text, Text, Text, Text, Fixed(8), Text, Text, Text, Text]
};

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Table,
    Fixed(usize),
}

/// Makes the properties in the payload of a content header readable; `None` if the payload is malformed.
pub(in crate::broker) fn header(payload: &mut [u8]) -> Option<()> {
    let mut rest = Rest(payload);
    rest.take(FLAGS)?;
    let flags = u16::from_be_bytes(rest.take(2)?.try_into().ok()?);
    for (bit, kind) in PROPERTIES.iter().enumerate() {
        if flags & (0x8000 >> bit) != 0 {
            rest.property(*kind)?;
        }
    }
    Some(())
}

/// Makes the text in the payload of a `channel.close` or `connection.close` readable; `None` if the payload is malformed.
pub(in crate::broker) fn close(payload: &mut [u8]) -> Option<()> {
    let mut rest = Rest(payload);
    rest.take(ARGUMENTS + REPLY_CODE)?;
    rest.text()
}

/// Makes the texts in the payload of a `basic.return` readable: reply text, exchange and routing key.
pub(in crate::broker) fn returned(payload: &mut [u8]) -> Option<()> {
    let mut rest = Rest(payload);
    rest.take(ARGUMENTS + REPLY_CODE)?;
    (0..3).try_for_each(|_| rest.text())
}

/// The bytes that are not read yet.
struct Rest<'a>(&'a mut [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Option<&'a mut [u8]> {
        let (taken, rest) = mem::take(&mut self.0).split_at_mut_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn property(&mut self, kind: Kind) -> Option<()> {
        match kind {
            Kind::Text => self.text_with(REPLACED),
            Kind::Table => Rest(self.long()?).table(1),
            Kind::Fixed(count) => self.take(count).map(drop),
        }
    }

    fn text(&mut self) -> Option<()> {
        self.text_with(b'?')
    }

    fn text_with(&mut self, replacement: u8) -> Option<()> {
        let count = self.take(1)?[0];
        legible(self.take(usize::from(count))?, replacement);
        Some(())
    }

    fn long(&mut self) -> Option<&'a mut [u8]> {
        let count = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(count as usize)
    }

    fn table(mut self, depth: usize) -> Option<()> {
        while !self.0.is_empty() {
            self.text()?;
            self.value(depth)?;
        }
        Some(())
    }

    fn array(mut self, depth: usize) -> Option<()> {
        while !self.0.is_empty() {
            self.value(depth)?;
        }
        Some(())
    }

    /// Reads a value in a table or an array that is `depth` levels deep.
    fn value(&mut self, depth: usize) -> Option<()> {
        let kind = &mut self.take(1)?[0];
        let size = match *kind {
            b'A' | b'F' if depth == MAX_DEPTH => {
                // A byte array has the same layout: a length, and this number of bytes.
                *kind = BYTE_ARRAY;
                return self.long().map(drop);
            }
            b'A' => return Rest(self.long()?).array(depth + 1),
            b'F' => return Rest(self.long()?).table(depth + 1),
            b'S' | BYTE_ARRAY => return self.long().map(drop),
            b'V' => 0,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            _ => return None,
        };
        self.take(size).map(drop)
    }
}

/// Replaces each byte that is no part of a character.
fn legible(mut text: &mut [u8], replacement: u8) {
    while let Err(error) = std::str::from_utf8(text) {
        let rest = &mut mem::take(&mut text)[error.valid_up_to()..];
        let (wrong, rest) = rest.split_at_mut(error.error_len().unwrap_or(rest.len()));
        wrong.fill(replacement);
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_was_cut_becomes_question_marks() {
        for (bytes, text) in
            [("aü".as_bytes(), "aü"), (b"\xc3", "?"), (b"a\xffb\xc3...", "a?b?..."), (b"", "")]
        {
            let mut readable = bytes.to_vec();
            legible(&mut readable, b'?');
            assert_eq!(readable, text.as_bytes());
        }
    }

    #[test]
    fn a_value_that_is_nested_too_deep_becomes_bytes() {
        let mut array = Vec::new();
        for _ in 0..100 {
            let count = u32::try_from(array.len()).expect("small");
            array = [b"A", &count.to_be_bytes()[..], &array].concat();
        }
        let mut readable = array.clone();
        Rest(&mut readable).value(1).expect("well-formed");
        let changed: Vec<_> = (0..array.len()).filter(|&at| array[at] != readable[at]).collect();
        assert_eq!(changed, [(MAX_DEPTH - 1) * 5]);
        assert_eq!(readable[changed[0]], BYTE_ARRAY);
    }
}
