//! What lapin and the broker say, read as an [`Error`]: by its code, and by its words where one code has many meanings.

use lapin::ErrorKind;
use lapin::protocol::{AMQPHardError, AMQPSoftError};

use super::{Cause, Denial, Error, Refusal};

impl Error {
    /// RabbitMQ closed the channel with this code and text.
    ///
    /// The answer to what was written on the channel: to one message, where no other was in flight on it.
    #[must_use]
    pub fn of_channel_close(code: u16, text: &str) -> Self {
        of_close(code, text)
    }

    /// RabbitMQ closed the connection with this code and text.
    ///
    /// Others share the connection, so this answers no single message. Only after `CONNECTION_FORCED`, as when a
    /// node stops, may the messages be sent again.
    #[must_use]
    pub fn of_connection_close(code: u16, text: &str) -> Self {
        if code == CONNECTION_FORCED { Self::lost(text) } else { lost_for_good(text.to_owned()) }
    }

    /// Whether it is certain that the broker refused a publish over this exchange.
    pub(in crate::broker) fn is_over(&self, exchange: &str) -> bool {
        let name = if exchange.is_empty() { DEFAULT_EXCHANGE } else { exchange };
        self.exchange() == Some(name)
    }

    /// Whether the broker refuses whatever is published to the exchange: there is none, or it is internal, or
    /// forbidden whatever the routing key.
    pub(in crate::broker) fn refuses_the_exchange(&self) -> bool {
        match self {
            Self::Refused(Refusal::ExchangeMissing { .. }) => true,
            Self::Refused(Refusal::AccessRefused { reason }) => {
                let words = words(reason);
                REFUSALS_OF_AN_EXCHANGE.iter().any(|start| words.starts_with(start))
            }
            _ => false,
        }
    }

    fn exchange(&self) -> Option<&str> {
        let Self::Refused(Refusal::ExchangeMissing { reason } | Refusal::AccessRefused { reason }) = self
        else {
            return None;
        };
        if reason.len() >= CUT {
            return None;
        }
        let (_, named) = split_at_only(words(reason), "exchange '")?;
        split_at_only(named, "' in vhost '").map(|(exchange, _)| exchange)
    }

    /// The property or argument in which the declaration differs, as far as the broker names it.
    pub(in crate::broker) fn differing_argument(&self) -> Option<&str> {
        let Self::Refused(Refusal::Differs { reason }) = self else { return None };
        words(reason).strip_prefix(INEQUIVALENT)?.split_once('\'').map(|(argument, _)| argument)
    }
}

/// What lapin said of something that had been written on a channel.
///
/// A soft protocol error is the broker's answer: to us alone, where nobody else used the channel. Everything
/// else means that the answer is lost (never "not sent": lapin reports errors after it has written).
impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(protocol) => {
                of_close(protocol.get_id(), protocol.get_message().as_str())
            }
            _ => Self::lost(&error.to_string()),
        }
    }
}

/// The meaning of a close by its code, and by its text where one code has several meanings.
fn of_close(code: u16, text: &str) -> Error {
    let reason = text.to_owned();
    if let Some(soft) = AMQPSoftError::from_id(code) {
        return from_soft(&soft, reason);
    }
    match AMQPHardError::from_id(code) {
        Some(AMQPHardError::NOTIMPLEMENTED) => Error::Refused(Refusal::NotSupported { reason }),
        Some(hard) if hard.get_id() != CONNECTION_FORCED => lost_for_good(reason),
        // Forced, or with a code that tells of no error: the messages are not to blame.
        Some(_) | None => Error::lost(text),
    }
}

/// Sent again, the same message may end the connection again.
fn lost_for_good(reason: String) -> Error {
    Error::Unknown(Cause::Lost { reason, repeatable: false })
}

fn from_soft(soft: &AMQPSoftError, reason: String) -> Error {
    let refusal = match soft {
        AMQPSoftError::ACCESSREFUSED => Refusal::AccessRefused { reason },
        AMQPSoftError::NOTFOUND if words(&reason).starts_with("no exchange ") => {
            Refusal::ExchangeMissing { reason }
        }
        AMQPSoftError::NOTFOUND => Refusal::QueueMissing { reason },
        AMQPSoftError::RESOURCELOCKED => Refusal::Locked { reason },
        AMQPSoftError::CONTENTTOOLARGE => Refusal::TooLarge { reason },
        AMQPSoftError::PRECONDITIONFAILED => from_precondition(reason),
        // Words of a return, never of a close.
        AMQPSoftError::NOROUTE | AMQPSoftError::NOCONSUMERS => return lost_for_good(reason),
    };
    Error::Refused(refusal)
}

/// One code for four meanings; the words tell them apart (checked against 3.10 and 4.0 by the tests).
fn from_precondition(reason: String) -> Refusal {
    let words = words(&reason);
    if words.starts_with("message size ") {
        Refusal::TooLarge { reason }
    } else if words.starts_with(INEQUIVALENT) {
        Refusal::Differs { reason }
    } else if words.starts_with("queue '") && ENDS_OF_IN_USE.iter().any(|end| words.ends_with(end)) {
        Refusal::InUse { reason }
    } else {
        Refusal::Invalid { reason }
    }
}

/// The broker's own words, which come before any name, so that no name can be taken for them.
fn words(reason: &str) -> &str {
    reason.split_once(" - ").map_or(reason, |(_, words)| words)
}

/// Around the separator, where there is just one.
fn split_at_only<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(separator).filter(|(_, rest)| !rest.contains(separator))
}

/// How RabbitMQ ends connections that did nothing wrong.
const CONNECTION_FORCED: u16 = 320;

const INEQUIVALENT: &str = "inequivalent arg '";

/// As RabbitMQ 3 has them, and 4 where it differs.
const REFUSALS_OF_AN_EXCHANGE: [&str; 3] =
    ["access to exchange '", "write access to exchange '", "cannot publish to internal exchange '"];

/// How the broker calls the exchange with the empty name.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// Bytes from which on the broker's words may be cut: what would not fit 255 ends in three dots.
const CUT: usize = 252;

/// The third is how a broker shortens what would not fit 255 bytes, as with a long name.
const ENDS_OF_IN_USE: [&str; 3] = [" in use", " not empty", "..."];

impl Denial {
    /// What lapin's error of a login means; none where RabbitMQ has not refused it.
    pub(in crate::broker) fn of_login(error: &lapin::Error) -> Option<Self> {
        let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
        Self::of_close(protocol.get_id(), protocol.get_message().as_str())
    }

    /// What the close of a connection means on which the gateway has just logged in.
    pub(in crate::broker) fn of_end(reason: &str) -> Option<Self> {
        let (name, _) = reason.split_once(" - ")?;
        let code = match name {
            "ACCESS_REFUSED" => AMQPSoftError::ACCESSREFUSED.get_id(),
            "NOT_ALLOWED" => AMQPHardError::NOTALLOWED.get_id(),
            _ => return None,
        };
        Self::of_close(code, reason)
    }

    fn of_close(code: u16, text: &str) -> Option<Self> {
        if AMQPSoftError::from_id(code) == Some(AMQPSoftError::ACCESSREFUSED) {
            return Some(Self::Credentials);
        }
        if AMQPHardError::from_id(code) != Some(AMQPHardError::NOTALLOWED) {
            return None;
        }
        // A name in the text can hold any of these words; RabbitMQ's own come last.
        Some(match words(text) {
            words if words.ends_with(" is reached") => Self::ConnectionLimit,
            words if words.starts_with("vhost ") && words.ends_with(" not found") => Self::VhostMissing,
            words if words.starts_with("access to vhost ") => Self::VhostForbidden,
            words if words.contains("maximum allowed") => Self::ChannelLimit,
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests;
