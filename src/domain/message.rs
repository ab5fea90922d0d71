//! A message.

/// Bounds of a message's header table. Beyond them a broker closes the connection, or a parser overflows its stack.
#[derive(Debug, Clone, Copy)]
pub struct HeaderLimits {
    /// Headers, nested ones included.
    pub count: usize,
    /// Bytes of the encoded table.
    pub bytes: usize,
    /// Levels of nesting; the table itself is the first.
    pub depth: usize,
}
