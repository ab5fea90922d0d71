//! Checks that a text is a time of RFC 3339, for attributes that the gateway passes on as they are.
//!
//! The parser for properties also accepts other forms of ISO 8601, so the form is checked here and only the calendar by jiff.

use jiff::civil::Date;

/// Whether the text has the form of RFC 3339, section 5.6, and is a day of the calendar. A second may be 60.
pub(super) fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((head, rest)) = bytes.split_at_checked(19) else { return false };
    let is_form = head.iter().zip(b"0000-00-00T00:00:00").all(|(given, form)| match form {
        b'0' => given.is_ascii_digit(),
        form => given.eq_ignore_ascii_case(form),
    });
    let is_in_range = number(head, 11) < 24 && number(head, 14) < 60 && number(head, 17) <= 60;
    let is_day = text.get(..10).is_some_and(|day| day.parse::<Date>().is_ok());
    is_form && is_in_range && is_day && is_offset(without_fraction(rest))
}

/// The number of the two digits at this place.
fn number(digits: &[u8], at: usize) -> u8 {
    let digit = |at: usize| digits.get(at).map_or(0, |digit| digit.wrapping_sub(b'0'));
    digit(at).saturating_mul(10).saturating_add(digit(at + 1))
}

/// The text after a fraction of a second. A point without digits stays.
fn without_fraction(text: &[u8]) -> &[u8] {
    let Some(fraction) = text.strip_prefix(b".") else { return text };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 { text } else { &fraction[digits..] }
}

fn is_offset(text: &[u8]) -> bool {
    match text {
        b"Z" | b"z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit())
                && number(text, 1) < 24
                && number(text, 4) < 60
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_rfc_3339_are_times() {
        for time in [
            "2018-04-05T17:31:00Z",
            "2018-04-05t17:31:00z",
            "1985-04-12T23:20:50.52Z",
            "1996-12-19T16:39:57-08:00",
            "1990-12-31T23:59:60Z",
            "1937-01-01T12:00:27.87+00:20",
            "2024-02-29T00:00:00.123456789012-00:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59+23:59",
        ] {
            assert!(is_rfc3339(time), "{time}");
        }
    }

    #[test]
    fn other_forms_and_days_that_do_not_exist_are_no_times() {
        for other in [
            "",
            "now",
            "1522949460",
            "2018-04-05",
            "2018-04-05T17:31:00",
            "2018-04-05 17:31:00Z",
            "2018-04-05T17:31Z",
            "20180405T173100Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00+0100",
            "2018-04-05T17:31:00+24:00",
            "2018-04-05T17:31:00Z[UTC]",
            "2018-04-05T17:31:00,5Z",
            "2018-02-29T17:31:00Z",
            "2018-13-05T17:31:00Z",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:61Z",
            "+018-04-05T17:31:00Z",
            "2018-04-05T17:31:00é",
        ] {
            assert!(!is_rfc3339(other), "{other}");
        }
    }
}
