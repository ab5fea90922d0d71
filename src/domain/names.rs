//! Names of exchanges and queues, and routing keys: AMQP short strings that are safe to send.
//!
//! RabbitMQ strips CR and LF from names (deleting `sec\nret` deletes `secret`), so names with control characters are
//! refused. The gateway trims no name.

use std::borrow::Borrow;
use std::fmt;

/// Longest AMQP short string, in bytes.
pub const SHORT_STRING_MAX: usize = 255;

/// Stands in a property of a received message for each byte that is no part of a character: the control character "substitute". So
/// [`ShortText::is_valid`] is false, and the gateway does not send such a text as if it were whole.
pub const REPLACED: u8 = 0x1a;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// The text is longer than [`SHORT_STRING_MAX`] bytes.
    #[error("must be at most {SHORT_STRING_MAX} bytes long, this one has {0}")]
    TooLong(usize),
    /// The text contains a control character.
    #[error("must not contain control characters")]
    ControlCharacter,
}

/// A text that fits an AMQP short string and has no control characters. It may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ShortText(String);

impl ShortText {
    /// Checks length and characters.
    ///
    /// # Errors
    /// [`NameError::TooLong`], [`NameError::ControlCharacter`].
    pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        check(&text).map(|()| Self(text))
    }

    /// Whether [`Self::parse`] accepts it. A text from RabbitMQ may have control characters.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        check(&self.0).is_ok()
    }

    /// Whether bytes of the text were no characters, see [`REPLACED`].
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        self.0.as_bytes().contains(&REPLACED)
    }

    /// A text from RabbitMQ, with any characters. It may be shown, but must be checked before it is sent again.
    #[must_use]
    pub fn from_broker(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), NameError> {
    if text.len() > SHORT_STRING_MAX {
        return Err(NameError::TooLong(text.len()));
    }
    let is_plain = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control());
    if !is_plain && text.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter);
    }
    Ok(())
}

impl Borrow<str> for ShortText {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of an exchange; the default exchange is the empty name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ExchangeName(ShortText);

impl ExchangeName {
    /// The name of the default exchange in paths, and in RabbitMQ's management API.
    pub const DEFAULT_IN_PATH: &'static str = "amq.default";

    /// Reads a name from a path, in which `amq.default` is the default exchange.
    ///
    /// # Errors
    /// Any [`NameError`].
    pub fn from_path(text: &str) -> Result<Self, NameError> {
        match text {
            "" => Err(NameError::Empty),
            Self::DEFAULT_IN_PATH => Ok(Self::default()),
            name => ShortText::parse(name).map(Self),
        }
    }

    /// The exchange to which the gateway sends the dead letters of a queue by default.
    ///
    /// # Errors
    /// When the name of the queue leaves no room for that of the exchange.
    pub fn for_dead_letters_of(queue: &QueueName) -> Result<Self, NameError> {
        Self::from_path(&format!("{queue}.dlx"))
    }

    /// A name from RabbitMQ, with any characters.
    #[must_use]
    pub fn from_broker(text: &str) -> Self {
        Self(ShortText::from_broker(text))
    }

    /// The name in AMQP: empty for the default exchange.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The name in a path.
    #[must_use]
    pub fn in_path(&self) -> &str {
        if self.is_default() { Self::DEFAULT_IN_PATH } else { self.as_str() }
    }

    /// Whether this is the default exchange, which routes to the queue with the name of the routing key.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl fmt::Display for ExchangeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.in_path())
    }
}

/// Name of a queue; never empty, since an empty name means "the queue declared last" in AMQP.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(ShortText);

impl QueueName {
    /// Checks a queue's name.
    ///
    /// # Errors
    /// Any [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        ShortText::parse(text).map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_a_queue_name_is_refused() {
        assert_eq!(QueueName::parse("sec\nret"), Err(NameError::ControlCharacter));
    }

    #[test]
    fn names_are_kept_byte_for_byte() {
        assert_eq!(QueueName::parse(" a b ").map(|q| q.to_string()), Ok(" a b ".into()));
    }

    #[test]
    fn the_limit_counts_bytes_not_characters() {
        assert!(ShortText::parse("é".repeat(127)).is_ok());
        assert_eq!(ShortText::parse("é".repeat(128)), Err(NameError::TooLong(256)));
    }

    #[test]
    fn amq_default_in_a_path_is_the_default_exchange() {
        assert_eq!(ExchangeName::from_path("amq.default").map(|e| e.is_default()), Ok(true));
        assert_eq!(ExchangeName::from_path(""), Err(NameError::Empty));
    }
}
