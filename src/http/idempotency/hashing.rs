//! SHA-256 over a series of values. Each value is written with its length or with a fixed length, so that two different series of
//! the same form never give the same bytes.

use sha2::{Digest, Sha256};

/// A hash that takes values one by one.
#[derive(Default)]
pub(super) struct Hashing(Sha256);

impl Hashing {
    /// Adds one byte, such as the tag of a type.
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.update([byte]);
    }

    /// Adds bytes of a length that their type fixes.
    pub(super) fn fixed(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds the number of the values that follow.
    pub(super) fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    /// Adds bytes of any length.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    /// Adds a value that may be absent.
    pub(super) fn optional<T>(&mut self, value: Option<T>, add: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            add(self, value);
        }
    }

    /// The hash.
    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
