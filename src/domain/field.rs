//! Typed values of AMQP header tables, as RabbitMQ encodes them, and the limits that keep them safe.
//!
//! Every type of <https://www.rabbitmq.com/amqp-0-9-1-errata#section_3> has its own variant, so that a table keeps every
//! type when it is read and written again.

use std::collections::BTreeMap;

use super::names::ShortText;

/// A header or argument table. Keys are unique and sorted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FieldTable(pub BTreeMap<ShortText, FieldValue>);

/// One value of a [`FieldTable`].
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value / 10^scale`
    Decimal {
        /// Digits after the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// `S`: usually text, but the protocol allows any bytes
    Text(Vec<u8>),
    /// `x`
    Bytes(Vec<u8>),
    /// `A`
    Array(Vec<FieldValue>),
    /// `T`: seconds since 1970
    Timestamp(u64),
    /// `F`
    Table(FieldTable),
    /// `V`
    Void,
}

impl FieldValue {
    /// The value, if it is an integer of any width.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match *self {
            Self::I8(n) => Some(n.into()),
            Self::U8(n) => Some(n.into()),
            Self::I16(n) => Some(n.into()),
            Self::U16(n) => Some(n.into()),
            Self::I32(n) => Some(n.into()),
            Self::U32(n) => Some(n.into()),
            Self::I64(n) => Some(n),
            _ => None,
        }
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }
}

/// Limits of a header table. Beyond them RabbitMQ closes the connection (128 KiB), or a parser overflows its stack.
#[derive(Debug, Clone, Copy)]
pub struct HeaderLimits {
    /// Values, nested ones included.
    pub count: usize,
    /// Bytes of the encoded table.
    pub bytes: usize,
    /// Levels of nesting; the table itself is the first.
    pub depth: usize,
}

/// The limit that a table exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderLimitError {
    /// More values than [`HeaderLimits::count`].
    #[error("must hold at most {limit} values, these hold {actual}")]
    Count {
        /// The limit.
        limit: usize,
        /// The number in the table.
        actual: usize,
    },
    /// More bytes than [`HeaderLimits::bytes`].
    #[error("must be at most {limit} bytes when encoded, these are {actual}")]
    Bytes {
        /// The limit.
        limit: usize,
        /// The size of the table.
        actual: usize,
    },
    /// Holds an infinity or "not a number". RabbitMQ closes the connection on such a value.
    #[error("must hold finite numbers only")]
    NotFinite,
    /// Nested deeper than [`HeaderLimits::depth`].
    #[error("must be nested at most {limit} levels deep")]
    Depth {
        /// The limit.
        limit: usize,
    },
}

impl FieldTable {
    /// Adds a value; replaces a value of the same name.
    pub fn insert(&mut self, name: ShortText, value: FieldValue) {
        self.0.insert(name, value);
    }

    /// The value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&FieldValue> {
        self.0.get(name)
    }

    /// Checks the table against the limits.
    ///
    /// # Errors
    /// The first exceeded limit: depth, then count, then bytes; last a number that is not finite.
    pub fn check(&self, limits: &HeaderLimits) -> Result<(), HeaderLimitError> {
        let size = self.size();
        if size.depth > limits.depth {
            return Err(HeaderLimitError::Depth { limit: limits.depth });
        }
        if size.count > limits.count {
            return Err(HeaderLimitError::Count { limit: limits.count, actual: size.count });
        }
        if size.bytes > limits.bytes {
            return Err(HeaderLimitError::Bytes { limit: limits.bytes, actual: size.bytes });
        }
        if !self.0.values().all(FieldValue::is_finite) {
            return Err(HeaderLimitError::NotFinite);
        }
        Ok(())
    }

    /// Bytes of the table as AMQP encodes it.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.size().bytes
    }

    fn size(&self) -> Size {
        let mut size = Size { count: 0, bytes: 4, depth: 1 };
        for (name, value) in &self.0 {
            size.add(value, 1 + name.as_str().len());
        }
        size
    }
}

struct Size {
    count: usize,
    bytes: usize,
    depth: usize,
}

impl Size {
    /// Adds a nested value; `prefix` is the encoded length of its name.
    fn add(&mut self, value: &FieldValue, prefix: usize) {
        let inner = value.size();
        self.count += inner.count;
        self.bytes += prefix + 1 + inner.bytes;
        self.depth = self.depth.max(1 + inner.depth);
    }
}

impl FieldValue {
    fn is_finite(&self) -> bool {
        match self {
            Self::F32(value) => value.is_finite(),
            Self::F64(value) => value.is_finite(),
            Self::Array(values) => values.iter().all(Self::is_finite),
            Self::Table(FieldTable(values)) => values.values().all(Self::is_finite),
            _ => true,
        }
    }

    fn size(&self) -> Size {
        let bytes = match self {
            Self::Void => 0,
            Self::Bool(_) | Self::I8(_) | Self::U8(_) => 1,
            Self::I16(_) | Self::U16(_) => 2,
            Self::I32(_) | Self::U32(_) | Self::F32(_) => 4,
            Self::Decimal { .. } => 5,
            Self::I64(_) | Self::F64(_) | Self::Timestamp(_) => 8,
            Self::Text(text) => 4 + text.len(),
            Self::Bytes(bytes) => 4 + bytes.len(),
            Self::Table(table) => {
                let inner = table.size();
                return Size { count: inner.count + 1, ..inner };
            }
            Self::Array(values) => {
                let mut size = Size { count: 1, bytes: 4, depth: 1 };
                for value in values {
                    size.add(value, 0);
                }
                return size;
            }
        };
        Size { count: 1, bytes, depth: 0 }
    }
}

#[cfg(test)]
impl FieldTable {
    /// A table of these values, for tests.
    pub(crate) fn of(values: &[(&str, FieldValue)]) -> Self {
        let name = |text: &str| ShortText::parse(text).expect("a short name");
        Self(values.iter().map(|(text, value)| (name(text), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeaderLimits = HeaderLimits { count: 3, bytes: 64, depth: 2 };

    #[test]
    fn nested_values_count_too() {
        let headers = FieldTable::of(&[("list", FieldValue::Array(vec![FieldValue::Bool(true); 3]))]);
        assert_eq!(headers.check(&LIMITS), Err(HeaderLimitError::Count { limit: 3, actual: 4 }));
    }

    #[test]
    fn bytes_are_those_of_the_encoded_table() {
        let headers = FieldTable::of(&[("key", FieldValue::from("x".repeat(60).as_str()))]);
        assert_eq!(headers.check(&LIMITS), Err(HeaderLimitError::Bytes { limit: 64, actual: 73 }));
    }

    #[test]
    fn a_table_in_a_table_in_a_table_is_too_deep_for_two_levels() {
        let inner = FieldValue::Table(FieldTable::of(&[]));
        let headers = FieldTable::of(&[("a", FieldValue::Table(FieldTable::of(&[("b", inner)])))]);
        assert_eq!(headers.check(&LIMITS), Err(HeaderLimitError::Depth { limit: 2 }));
        assert_eq!(FieldTable::of(&[("a", FieldValue::Void)]).check(&LIMITS), Ok(()));
    }
}
