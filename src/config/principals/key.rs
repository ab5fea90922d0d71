//! Reads a key of a principal: its digest, or its digest with the day on which it ends.

use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use toml::Value;
use toml::value::Datetime;

use super::places::{Places, known_members};
use crate::domain::access::KeyDigest;

/// The digest, and the time before which the gateway accepts the key.
pub(super) fn read_key(
    key: &Value,
    place: &str,
    mistakes: &mut Places,
) -> Option<(KeyDigest, Option<SystemTime>)> {
    let (hash, until) = match key {
        Value::String(hash) => (hash.as_str(), None),
        Value::Table(table) => {
            known_members(table, &["hash", "until"], place, mistakes);
            (table.get("hash").and_then(Value::as_str).unwrap_or_default(), table.get("until"))
        }
        _ => {
            mistakes.about(place, "must be the hash of a key, or a table with hash and until");
            return None;
        }
    };
    let digest = hash.parse().map_err(|why| mistakes.about(place, why)).ok()?;
    let Some(until) = until else { return Some((digest, None)) };
    let end = until.as_datetime().and_then(end_of);
    if end.is_none() {
        mistakes
            .about(&format!("{place}.until"), "must be a date such as 2027-03-01, or a time with its offset");
    }
    Some((digest, Some(end?)))
}

/// The time of a date, which begins in UTC, or of a time with an offset.
fn end_of(given: &Datetime) -> Option<SystemTime> {
    match (given.date, given.time, given.offset) {
        (Some(date), None, None) => {
            let date = Date::new(
                i16::try_from(date.year).ok()?,
                i8::try_from(date.month).ok()?,
                i8::try_from(date.day).ok()?,
            );
            Some(date.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().into())
        }
        (Some(_), Some(_), Some(_)) => Some(given.to_string().parse::<jiff::Timestamp>().ok()?.into()),
        _ => None,
    }
}
