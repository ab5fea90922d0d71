//! Writes the end of a lease.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// The time in UTC (RFC 3339), with milliseconds.
pub(in crate::http::endpoints) fn rfc3339(time: SystemTime) -> String {
    let milliseconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let time = i64::try_from(milliseconds).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
    format!("{:.3}", time.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_has_milliseconds_and_is_in_utc() {
        for (milliseconds, text) in
            [(1_795_478_460_000, "2026-11-24T00:01:00.000Z"), (1_795_478_460_007, "2026-11-24T00:01:00.007Z")]
        {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(milliseconds)), text);
        }
    }
}
