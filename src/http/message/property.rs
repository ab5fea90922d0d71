//! Basic properties from text, the same for HTTP headers and for the envelope.

use std::str::FromStr;

use jiff::Timestamp;

use crate::domain::message::DeliveryMode;

/// Why a text is not that property; completes "`field` …".
pub(super) type Wrong = &'static str;

/// 0 to 255.
pub(super) fn priority(text: &str) -> Result<u8, Wrong> {
    whole(text).ok_or("must be a whole number from 0 to 255")
}

/// Milliseconds, as a broker takes them: it closes the channel on anything else.
pub(super) fn expiration(text: &str) -> Result<u64, Wrong> {
    const WRONG: Wrong = "must be a whole number of milliseconds from 1 to 4294967295";
    match whole::<u32>(text) {
        Some(milliseconds) if milliseconds > 0 => Ok(milliseconds.into()),
        _ => Err(WRONG),
    }
}

/// By name, or by AMQP's number.
pub(super) fn delivery_mode(text: &str) -> Result<DeliveryMode, Wrong> {
    match text {
        "persistent" | "2" => Ok(DeliveryMode::Persistent),
        "transient" | "1" => Ok(DeliveryMode::Transient),
        _ => Err("must be \"persistent\" or \"transient\""),
    }
}

/// RFC 3339 or seconds since 1970.
pub(super) fn timestamp(text: &str) -> Result<u64, Wrong> {
    const WRONG: Wrong = "must be an RFC 3339 time or whole seconds since 1970";
    if let Some(seconds) = whole(text) {
        return Ok(seconds);
    }
    let time: Timestamp = text.parse().map_err(|_| WRONG)?;
    u64::try_from(time.as_second()).map_err(|_| WRONG)
}

/// Digits only; Rust's own parser takes a plus sign too.
fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiration_is_whole_milliseconds_from_one() {
        assert_eq!(expiration("1"), Ok(1));
        for wrong in ["0", "-1", "+5", "1.5", "", "5s", "4294967296"] {
            assert!(expiration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_timestamp_is_rfc_3339_or_seconds() {
        assert_eq!(timestamp("2026-11-24T00:00:00Z"), Ok(1_795_478_400));
        assert_eq!(timestamp("1795478400"), Ok(1_795_478_400));
        assert!(timestamp("yesterday").is_err());
        assert!(timestamp("1960-01-01T00:00:00Z").is_err());
    }
}
