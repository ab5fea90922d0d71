//! Parses basic properties, by the same rules for HTTP headers and for the envelope.

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::fmt::temporal::Pieces;

use crate::domain::message::{DeliveryMode, MAX_EXPIRATION, MAX_TIMESTAMP};

/// The reason why a text is not a valid value of the property; completes the sentence "`field` …".
pub(super) type Wrong = &'static str;

/// Parses a priority: 0 to 255.
pub(super) fn priority(text: &str) -> Result<u8, Wrong> {
    whole(text).ok_or("must be a whole number from 0 to 255")
}

/// Parses an expiration: milliseconds in RabbitMQ's form. RabbitMQ closes the channel over another form.
pub(super) fn expiration(text: &str) -> Result<u64, Wrong> {
    let milliseconds = whole(text).filter(|milliseconds| *milliseconds <= MAX_EXPIRATION);
    milliseconds.ok_or("must be a whole number of milliseconds from 0 to 315360000000 (ten years)")
}

/// Parses the name of a delivery mode.
pub(super) fn delivery_mode(text: &str) -> Result<DeliveryMode, Wrong> {
    let mode = DeliveryMode::ALL.into_iter().find(|mode| mode.name() == text);
    mode.ok_or("must be \"persistent\" or \"transient\"")
}

/// The delivery mode with this AMQP number.
pub(super) fn delivery_mode_number(number: i64) -> Result<DeliveryMode, Wrong> {
    let mode = DeliveryMode::ALL.into_iter().find(|mode| i64::from(mode.number()) == number);
    mode.ok_or("must be \"persistent\" (2) or \"transient\" (1)")
}

/// Parses a timestamp: RFC 3339, or seconds since 1970.
pub(super) fn timestamp(text: &str) -> Result<u64, Wrong> {
    const WRONG: Wrong = "must be an RFC 3339 time or whole seconds since 1970";
    const LATE: Wrong = "is after the year 9999: it must be in seconds, not in milliseconds";
    let seconds = match whole(text) {
        Some(seconds) => seconds,
        None if text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit()) => return Err(LATE),
        None => {
            let seconds = rfc3339(text).ok_or(WRONG)?;
            u64::try_from(seconds).map_err(|_| WRONG)?
        }
    };
    if seconds <= MAX_TIMESTAMP { Ok(seconds) } else { Err(LATE) }
}

/// The seconds since 1970 of an RFC 3339 time. jiff's own timestamps end some hours before the year 9999 does.
fn rfc3339(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    let pieces = Pieces::parse(text).ok()?;
    let (date, time, offset) = (pieces.date(), pieces.time()?, pieces.to_numeric_offset()?);
    let days = date.since(Date::constant(1970, 1, 1)).ok()?.get_days();
    let of_day = i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    Some(i64::from(days) * 86_400 + of_day - i64::from(offset.seconds()))
}

/// Parses a number of digits only; Rust's own parser also accepts a plus sign.
fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiration_is_whole_milliseconds_up_to_the_limit_of_rabbitmq() {
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
    fn the_error_about_a_timestamp_in_milliseconds_asks_for_seconds() {
        for milliseconds in ["1795478400000", "253402300800", "18446744073709551616"] {
            assert!(
                timestamp(milliseconds).is_err_and(|wrong| wrong.contains("seconds, not in milliseconds"))
            );
        }
    }

    #[test]
    fn a_timestamp_may_be_the_last_second_of_the_year_9999() {
        assert_eq!(timestamp("9999-12-31T23:59:59Z"), Ok(MAX_TIMESTAMP));
        assert_eq!(timestamp("9999-12-31T23:59:59+01:00"), Ok(MAX_TIMESTAMP - 3600));
        assert!(timestamp("9999-12-31T23:59:59-01:00").is_err());
    }
}
