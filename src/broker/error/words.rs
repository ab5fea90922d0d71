//! Classifies the errors of lapin and RabbitMQ as an [`Error`]: by code, and by text if one code has several meanings.

use lapin::ErrorKind;
use lapin::protocol::{AMQPHardError, AMQPSoftError};

use super::{Cause, Denial, Error, Refusal};

impl Error {
    /// RabbitMQ closed the channel with this code and text.
    ///
    /// The close answers the publishes or requests on the channel. It answers one message only if no other message was in
    /// flight on the channel.
    #[must_use]
    pub fn of_channel_close(code: u16, text: &str) -> Self {
        of_close(code, text)
    }

    /// RabbitMQ closed the connection with this code and text.
    ///
    /// Other requests share the connection, so the close does not answer a single message. The gateway may send the
    /// messages again only after `CONNECTION_FORCED`, as when a node stops.
    #[must_use]
    pub fn of_connection_close(code: u16, text: &str) -> Self {
        if code == CONNECTION_FORCED { Self::lost(text) } else { lost_for_good(text.to_owned()) }
    }

    /// Whether RabbitMQ certainly refused a publish because of this exchange.
    pub(in crate::broker) fn is_over(&self, exchange: &str) -> bool {
        let name = if exchange.is_empty() { DEFAULT_EXCHANGE } else { exchange };
        self.exchange() == Some(name)
    }

    /// Whether RabbitMQ refuses every publish to the exchange: it is missing, internal, or forbidden for all routing
    /// keys.
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

    /// The property or argument that differs in the declaration, if RabbitMQ names it.
    pub(in crate::broker) fn differing_argument(&self) -> Option<&str> {
        let Self::Refused(Refusal::Differs { reason }) = self else { return None };
        words(reason).strip_prefix(INEQUIVALENT)?.split_once('\'').map(|(argument, _)| argument)
    }
}

/// Converts lapin's error for a request that was written on a channel.
///
/// A soft protocol error is RabbitMQ's answer: to this request alone, if the channel had no other user. Every other error
/// means that the answer is lost (never "not sent": lapin reports errors after it has written).
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

/// The meaning of a close by its code, and by its text if one code has several meanings.
fn of_close(code: u16, text: &str) -> Error {
    let reason = text.to_owned();
    if let Some(soft) = AMQPSoftError::from_id(code) {
        return from_soft(&soft, reason);
    }
    // RabbitMQ 3.10 closes the connection over it.
    if is_unknown_type(&reason) {
        return Error::Refused(Refusal::TypeUnknown { reason });
    }
    match AMQPHardError::from_id(code) {
        Some(AMQPHardError::NOTIMPLEMENTED) => Error::Refused(Refusal::NotSupported { reason }),
        Some(hard) if hard.get_id() != CONNECTION_FORCED => lost_for_good(reason),
        // `CONNECTION_FORCED`, or a code that is no error: the messages are not the reason.
        Some(_) | None => Error::lost(text),
    }
}

/// The connection is lost, and the gateway must not send the same message again: it may end the next connection too.
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
        // RabbitMQ uses these codes in a return, never in a close.
        AMQPSoftError::NOROUTE | AMQPSoftError::NOCONSUMERS => return lost_for_good(reason),
    };
    Error::Refused(refusal)
}

/// Whether the text is about an exchange type that RabbitMQ does not know, or that is no name of a type.
fn is_unknown_type(reason: &str) -> bool {
    ["unknown exchange type '", "invalid exchange type '"]
        .iter()
        .any(|start| words(reason).starts_with(start))
}

/// One code has several meanings, which the text distinguishes (the tests check it against 3.10 and 4.0).
fn from_precondition(reason: String) -> Refusal {
    let words = words(&reason);
    if words.starts_with("message size ") {
        Refusal::TooLarge { reason }
    } else if words.starts_with(INEQUIVALENT) {
        Refusal::Differs { reason }
    } else if is_unknown_type(&reason) {
        Refusal::TypeUnknown { reason }
    } else if ["queue '", "exchange '"].iter().any(|start| words.starts_with(start))
        && ENDS_OF_IN_USE.iter().any(|end| words.ends_with(end))
    {
        Refusal::InUse { reason }
    } else {
        Refusal::Invalid { reason }
    }
}

/// RabbitMQ's text after the name of the code. Its own words come before any name, so a name cannot be confused with
/// them.
fn words(reason: &str) -> &str {
    reason.split_once(" - ").map_or(reason, |(_, words)| words)
}

/// The parts around the separator, if it occurs exactly once.
fn split_at_only<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(separator).filter(|(_, rest)| !rest.contains(separator))
}

/// The code with which RabbitMQ closes connections that made no mistake.
const CONNECTION_FORCED: u16 = 320;

const INEQUIVALENT: &str = "inequivalent arg '";

/// The beginnings of the texts of RabbitMQ 3, and of RabbitMQ 4 if they differ.
const REFUSALS_OF_AN_EXCHANGE: [&str; 3] =
    ["access to exchange '", "write access to exchange '", "cannot publish to internal exchange '"];

/// RabbitMQ's name for the exchange with the empty name.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// From this length on the text may be cut: RabbitMQ ends a text that does not fit 255 bytes with three dots.
const CUT: usize = 252;

/// The third ending is that of a text which RabbitMQ has cut, as with a long name.
const ENDS_OF_IN_USE: [&str; 3] = [" in use", " not empty", "..."];

impl Denial {
    /// The meaning of lapin's error at login; `None` if RabbitMQ has not refused the login.
    pub(in crate::broker) fn of_login(error: &lapin::Error) -> Option<Self> {
        let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
        Self::of_close(protocol.get_id(), protocol.get_message().as_str())
    }

    /// The meaning of the close of a connection just after the login.
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
        // A name in the text can contain any of these words; RabbitMQ's own words come last.
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
