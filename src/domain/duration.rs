//! Durations as text: `500ms`, `5s`, `1m30s`; a bare number is seconds.
//!
//! Settings and `?timeout=` use the same spelling. Units go from `h` down to `ms`, each at most once, with whole numbers
//! and no spaces. [`parse`] reads the text that [`format()`] writes.

use std::time::Duration;

/// Largest accepted duration; no deadline of the gateway is useful beyond it.
pub const MAX: Duration = Duration::from_hours(24);

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text has another form.
    #[error("must be a duration such as 500ms, 5s or 1m30s; a bare number is seconds")]
    Malformed,
    /// Over [`MAX`].
    #[error("must be at most 24h")]
    TooLong,
}

/// Reads a duration of at most [`MAX`]. Zero is allowed.
///
/// # Errors
/// Any [`DurationError`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if let Some(seconds) = whole_number(text) {
        return checked(seconds?.checked_mul(1_000));
    }
    let mut rest = text;
    let mut units = UNITS.as_slice();
    let mut total = Some(0_u64);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(digits(rest));
        let number = whole_number(number).ok_or(DurationError::Malformed)??;
        let (unit, after) = after.split_at(letters(after));
        let at = units.iter().position(|(name, _)| *name == unit).ok_or(DurationError::Malformed)?;
        total = total.zip(number.checked_mul(units[at].1)).and_then(|(sum, part)| sum.checked_add(part));
        units = &units[at + 1..];
        rest = after;
    }
    if text.is_empty() { Err(DurationError::Malformed) } else { checked(total) }
}

/// Writes a duration so that [`parse`] reads it. Parts below a millisecond are cut.
#[must_use]
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in UNITS {
        if left >= size {
            text.push_str(&(left / size).to_string());
            text.push_str(unit);
            left %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn checked(milliseconds: Option<u64>) -> Result<Duration, DurationError> {
    milliseconds.map(Duration::from_millis).filter(|it| *it <= MAX).ok_or(DurationError::TooLong)
}

/// `None` if the text does not consist of digits only.
fn whole_number(text: &str) -> Option<Result<u64, DurationError>> {
    let all_digits = !text.is_empty() && digits(text) == text.len();
    all_digits.then(|| text.parse().map_err(|_| DurationError::TooLong))
}

fn digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

fn letters(text: &str) -> usize {
    text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("5", 5_000),
            ("0", 0),
            ("0ms", 0),
            ("1h", 3_600_000),
            ("1h1m1s1ms", 3_661_001),
            ("1m5ms", 60_005),
            ("24h", 86_400_000),
            ("86400", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_durations_are_refused() {
        for text in [
            "",
            " ",
            "s",
            "ms",
            "5 s",
            " 5s",
            "5s ",
            "-5s",
            "+5",
            "1.5s",
            "0.5",
            "5S",
            "5d",
            "5us",
            "30s1m",
            "5s5s",
            "1m30",
            "5sms",
            "five",
            "1e3",
            "\u{0665}s",
            "5s\u{e9}",
        ] {
            assert_eq!(parse(text), Err(DurationError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn more_than_a_day_is_refused_without_an_overflow() {
        for text in
            ["24h1ms", "86401", "18446744073709551615h", "99999999999999999999999", "9999999999999999999h1ms"]
        {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text}");
        }
    }

    #[test]
    fn durations_are_written_in_the_largest_units() {
        for (milliseconds, text) in
            [(0, "0s"), (400, "400ms"), (90_000, "1m30s"), (3_600_000, "1h"), (1_500, "1s500ms")]
        {
            assert_eq!(format(Duration::from_millis(milliseconds)), text);
        }
    }

    proptest! {
        #[test]
        fn written_durations_are_read_back(milliseconds in 0_u64..=86_400_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,20}|[0-9hms]{0,40}") {
            let _ = parse(&text);
        }
    }
}
