//! Basic properties from text, the same for HTTP headers and for the envelope.

use std::str::FromStr;

use jiff::Timestamp;

use crate::domain::message::{DeliveryMode, MAX_EXPIRATION, MAX_TIMESTAMP};

/// Why a text is not that property; completes "`field` …".
pub(super) type Wrong = &'static str;

/// 0 to 255.
pub(super) fn priority(text: &str) -> Result<u8, Wrong> {
    whole(text).ok_or("must be a whole number from 0 to 255")
}

/// Milliseconds, as RabbitMQ takes them: it closes the channel on anything else.
pub(super) fn expiration(text: &str) -> Result<u64, Wrong> {
    let milliseconds = whole(text).filter(|milliseconds| *milliseconds <= MAX_EXPIRATION);
    milliseconds.ok_or("must be a whole number of milliseconds from 0 to 315360000000 (ten years)")
}

/// By name.
pub(super) fn delivery_mode(text: &str) -> Result<DeliveryMode, Wrong> {
    let mode = DeliveryMode::ALL.into_iter().find(|mode| mode.name() == text);
    mode.ok_or("must be \"persistent\" or \"transient\"")
}

/// By AMQP's number.
pub(super) fn delivery_mode_number(number: i64) -> Result<DeliveryMode, Wrong> {
    let mode = DeliveryMode::ALL.into_iter().find(|mode| i64::from(mode.number()) == number);
    mode.ok_or("must be \"persistent\" (2) or \"transient\" (1)")
}

/// RFC 3339 or seconds since 1970.
pub(super) fn timestamp(text: &str) -> Result<u64, Wrong> {
    const WRONG: Wrong = "must be an RFC 3339 time or whole seconds since 1970";
    const LATE: Wrong = "is beyond the year 9999: it must be in seconds, not in milliseconds";
    let seconds = match whole(text) {
        Some(seconds) => seconds,
        None if text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit()) => return Err(LATE),
        None => {
            let time: Timestamp = text.parse().map_err(|_| WRONG)?;
            u64::try_from(time.as_second()).map_err(|_| WRONG)?
        }
    };
    if seconds <= MAX_TIMESTAMP { Ok(seconds) } else { Err(LATE) }
}

/// Digits only; Rust's own parser takes a plus sign too.
fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiration_is_whole_milliseconds_up_to_what_rabbitmq_takes() {
        for right in [0, 1, 4_294_967_296, 315_360_000_000] {
            assert_eq!(expiration(&right.to_string()), Ok(right));
        }
        for wrong in ["-1", "+5", "1.5", "", "5s", "315360000001", "99999999999999999999"] {
            assert!(expiration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_timestamp_is_rfc_3339_or_seconds() {
        assert_eq!(timestamp("2026-11-24T00:00:00Z"), Ok(1_795_478_400));
        assert_eq!(timestamp("1795478400"), Ok(1_795_478_400));
        assert!(timestamp("yesterday").is_err());
        assert!(timestamp("1960-01-01T00:00:00Z").is_err());
        assert!(timestamp("9999-12-30T00:00:00Z").is_ok() && timestamp("253402300799").is_ok());
    }

    #[test]
    fn a_timestamp_in_milliseconds_is_told_that_seconds_are_wanted() {
        for milliseconds in ["1795478400000", "253402300800", "18446744073709551616"] {
            assert!(
                timestamp(milliseconds).is_err_and(|wrong| wrong.contains("seconds, not in milliseconds"))
            );
        }
    }
}
