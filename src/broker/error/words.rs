//! What lapin and the broker say, read as an [`Error`]: by its code, and by its words where one code has many meanings.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use super::Error;

impl Error {
    /// Whether the broker's words name the exchange over which it refused a publish, and cannot be misread.
    pub(in crate::broker) fn names_an_exchange(&self) -> bool {
        self.exchange().is_some()
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
            Self::ExchangeMissing { .. } => true,
            Self::AccessRefused { reason } => {
                let words = words(reason);
                REFUSALS_OF_AN_EXCHANGE.iter().any(|start| words.starts_with(start))
            }
            _ => false,
        }
    }

    fn exchange(&self) -> Option<&str> {
        let (Self::ExchangeMissing { reason } | Self::AccessRefused { reason }) = self else { return None };
        if reason.len() >= CUT {
            return None;
        }
        let (_, named) = split_at_only(words(reason), "exchange '")?;
        split_at_only(named, "' in vhost '").map(|(exchange, _)| exchange)
    }

    /// The property or argument in which the declaration differs, as far as the broker names it.
    pub(in crate::broker) fn differing_argument(&self) -> Option<&str> {
        let Self::Differs { reason } = self else { return None };
        words(reason).strip_prefix(INEQUIVALENT)?.split_once('\'').map(|(argument, _)| argument)
    }
}

/// What lapin said of something that had been written on a channel.
///
/// A soft protocol error is the broker's answer: to us alone, where nobody else used the channel. Everything
/// else means that the answer is lost (never "not sent": lapin reports errors after it has written).
impl From<lapin::Error> for Error {
    fn from(error: lapin::Error) -> Self {
        let ErrorKind::ProtocolError(protocol) = error.kind() else {
            return Self::Lost { reason: error.to_string(), repeatable: true };
        };
        let reason = protocol.get_message().to_string();
        match protocol.kind() {
            AMQPErrorKind::Soft(soft) => from_soft(soft, reason),
            AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED) => Self::NotSupported { reason },
            AMQPErrorKind::Hard(hard) => {
                Self::Lost { reason: error.to_string(), repeatable: *hard == AMQPHardError::CONNECTIONFORCED }
            }
        }
    }
}

fn from_soft(soft: &AMQPSoftError, reason: String) -> Error {
    match soft {
        AMQPSoftError::ACCESSREFUSED => Error::AccessRefused { reason },
        AMQPSoftError::NOTFOUND if words(&reason).starts_with("no exchange ") => {
            Error::ExchangeMissing { reason }
        }
        AMQPSoftError::NOTFOUND => Error::QueueMissing { reason },
        AMQPSoftError::RESOURCELOCKED => Error::Locked { reason },
        AMQPSoftError::CONTENTTOOLARGE => Error::TooLarge { reason },
        AMQPSoftError::PRECONDITIONFAILED => from_precondition(reason),
        // Words of a return, never of a close.
        AMQPSoftError::NOROUTE | AMQPSoftError::NOCONSUMERS => Error::Lost { reason, repeatable: false },
    }
}

/// One code for four meanings; the words tell them apart (checked against 3.10 and 4.0 by the tests).
fn from_precondition(reason: String) -> Error {
    let words = words(&reason);
    if words.starts_with("message size ") {
        Error::TooLarge { reason }
    } else if words.starts_with(INEQUIVALENT) {
        Error::Differs { reason }
    } else if words.starts_with("queue '") && ENDS_OF_IN_USE.iter().any(|end| words.ends_with(end)) {
        Error::InUse { reason }
    } else {
        Error::Invalid { reason }
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

/// Whether the broker turned the gateway away at the door, rather than being away itself.
pub(in crate::broker) fn is_login_refused(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol) if matches!(
        protocol.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word for word what RabbitMQ 3.10.8 and 4.0.5 say, which is the same.
    #[test]
    fn the_words_of_a_precondition_tell_what_it_was() {
        let precondition = |words: &str| from_precondition(format!("PRECONDITION_FAILED - {words}"));
        for words in ["queue 'q' in vhost '/' in use", "queue 'q' in vhost '/' not empty", "queue 'mmm..."] {
            assert!(matches!(precondition(words), Error::InUse { .. }), "{words}");
        }
        for words in [
            "inequivalent arg 'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
            "inequivalent arg 'x-max-length' for queue 'not empty' in vhost '/': received the value '5' of type \
             'signedint' but current is none",
        ] {
            let argument = words.split('\'').nth(1);
            assert_eq!(precondition(words).differing_argument(), argument, "{words}");
        }
        let words = "message size 17825792 is larger than configured max size 16777216";
        assert!(matches!(precondition(words), Error::TooLarge { .. }));
        for words in [
            "invalid expiration 'soon': no_integer",
            "invalid arg 'x-max-length' for queue 'in use' in vhost '/': {value_negative,-1}",
            "invalid property 'non-durable' for queue 'q' in vhost '/'",
            "user_id property set to 'bob' but authenticated user was 'guest'",
        ] {
            assert!(matches!(precondition(words), Error::Invalid { .. }), "{words}");
        }
    }

    /// A name may hold whatever comes after it in the broker's words.
    #[test]
    fn the_exchange_of_a_refusal_is_named_only_where_it_cannot_be_another() {
        let missing = |words: &str| from_soft(&AMQPSoftError::NOTFOUND, format!("NOT_FOUND - {words}"));
        let refused =
            |words: &str| from_soft(&AMQPSoftError::ACCESSREFUSED, format!("ACCESS_REFUSED - {words}"));
        for error in [
            missing("no exchange 'e' in vhost '/'"),
            refused("access to exchange 'e' in vhost '/' refused for user 'guest'"),
            refused("write access to exchange 'e' in vhost '/' refused for user 'guest'"),
            refused("cannot publish to internal exchange 'e' in vhost '/'"),
            refused("access to topic 'key' in exchange 'e' in vhost '/' refused for user 'guest'"),
        ] {
            assert!(error.is_over("e") && !error.is_over("f"), "{error}");
            assert_eq!(error.refuses_the_exchange(), !error.to_string().contains("topic"), "{error}");
        }
        let error = refused("access to exchange 'amq.default' in vhost '/' refused for user 'guest'");
        assert!(error.is_over("") && !error.is_over("e"), "{error}");
        // The end is cut off, and with it that 'e' is only the start of a name.
        let (exchange, topic) =
            ("no exchange 'e' in vhost '", "access to topic '' in exchange 'e' in vhost '");
        for error in [
            missing("no exchange 'e' in vhost 'x' in vhost '/'"),
            missing("no queue 'e' in vhost '/'"),
            refused("access to topic 'exchange 'f' in exchange 'e' in vhost '/' refused for user 'guest'"),
            refused("operation not permitted on the default exchange"),
            from_precondition("PRECONDITION_FAILED - no exchange 'e' in vhost '/'".to_owned()),
            missing(&format!("{exchange}{:x<1$}...", "", 240 - exchange.len())),
            refused(&format!("{topic}{:x<1$}...", "", 235 - topic.len())),
        ] {
            assert!(!error.names_an_exchange() && !error.is_over("e"), "{error}");
        }
    }

    #[test]
    fn a_missing_exchange_is_told_from_a_missing_queue_by_its_words() {
        let missing = |words: &str| from_soft(&AMQPSoftError::NOTFOUND, format!("NOT_FOUND - {words}"));
        assert!(matches!(missing("no exchange 'e' in vhost '/'"), Error::ExchangeMissing { .. }));
        assert!(matches!(missing("no queue 'no exchange ' in vhost '/'"), Error::QueueMissing { .. }));
    }
}
